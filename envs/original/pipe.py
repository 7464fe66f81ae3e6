"""A worker process in another interpreter, and the messages to and from it (see `worker.py`)."""

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from envs.errors import UserError

WORKER = Path(__file__).with_name("worker.py")
# The first message imports SAPIEN and builds a scene; a reset builds one again.
PATIENCE = 180.0
"""Seconds to wait for an answer."""


class Pipe:
    """The worker process and the messages to and from it."""

    def __init__(self, python: str, worker: Path = WORKER, patience: float = PATIENCE) -> None:
        """Raises: `UserError` when the interpreter cannot be started."""
        self.python, self.patience = python, patience
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - kept as long as the process
        try:
            self._process = subprocess.Popen(
                [python, str(worker)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                bufsize=0,
                env=_clean_environment(),
            )
        except OSError as error:
            raise UserError(
                f"original.python={python} cannot be started ({error.strerror}): name the python "
                "of an environment that has SimplerEnv, see docs/original.md."
            ) from error
        assert self._process.stdout is not None
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._buffer = b""

    def ask(self, message: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray | None]:
        """Send a message and return the answer and its picture; raises `UserError`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            line = self._read_line()
            answer = json.loads(line)
            data = self._read(int(answer["bytes"]))
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            last = self._said()
            self.close()
            raise UserError(
                f"the original simulator ({self.python}) broke off at {message['op']!r}: "
                f"{last or repr(error)} (docs/original.md says how it is set up)."
            ) from error
        if "error" in answer:
            raise UserError(
                f"the original simulator ({self.python}) failed at {message['op']!r}: "
                f"{answer['error']} (docs/original.md says how it is set up)."
            )
        picture = np.frombuffer(data, np.uint8).reshape(answer["shape"]) if data else None
        return answer, picture

    def close(self) -> None:
        """End the process; twice does no harm."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                assert self._process.stdin is not None
                self._process.stdin.write(b'{"op": "close"}\n')
                self._process.stdin.close()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._selector.close()

    def _read_line(self) -> bytes:
        while b"\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._more()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def _more(self) -> None:
        started = time.monotonic()
        while not self._selector.select(timeout=1.0):
            if time.monotonic() - started > self.patience:
                self._process.kill()
                raise EOFError(f"no answer for {self.patience:.0f} s")
        assert self._process.stdout is not None
        data = os.read(self._process.stdout.fileno(), 1 << 20)
        if not data:
            self._process.wait()
            raise EOFError(f"it ended with code {self._process.returncode}")
        self._buffer += data

    def _said(self) -> str:
        """The last line that the worker wrote to stderr."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def _clean_environment() -> dict[str, str]:
    """This process's variables without those that would lead Python to our packages."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
