"""A worker process in another interpreter, and the messages to and from it (see `worker.py`)."""

import contextlib
import json
import os
import re
import selectors
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiment.errors import UserError

WORKER = Path(__file__).with_name("worker.py")
# The first message imports SAPIEN and builds a scene; a reset builds one again.
TIMEOUT = 180.0
"""Seconds to wait for an answer."""
_PACKAGES = {
    "mani_skill2_real2sim": "SimplerEnv's ManiSkill2_real2sim",
    "sapien": "sapien==2.2.2",
    "numpy": "'numpy<2'",
    "pkg_resources": "'setuptools<80'",
    "cv2": "opencv-python",
}
_FOLDER = "MS2_REAL2SIM_ASSET_DIR"


class Pipe:
    """The worker process and the messages to and from it."""

    def __init__(self, python: str, worker: Path = WORKER, timeout: float = TIMEOUT) -> None:
        """Raises: `UserError` when the interpreter cannot be started."""
        self.python, self.timeout = python, timeout
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
        self._deadline = 0.0
        self._closed = False

    def ask(self, message: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray | None]:
        """Send a message and return the answer and its picture; raises `UserError`."""
        assert self._process.stdin is not None
        if self._closed:
            raise UserError(
                f"the original simulator ({self.python}) has ended: make the environment again."
            )
        self._deadline = time.monotonic() + self.timeout
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            line = self._read_line()
            answer = json.loads(line)
            data = self._read(int(answer["bytes"]))
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            last = self._last_line()
            self.close()
            why = self._ended() if isinstance(error, BrokenPipeError) else str(error) or repr(error)
            why += f", after: {last}" if last else ""
            raise UserError(self._sentence("broke off", message["op"], why)) from error
        except BaseException:
            # Interrupted in the middle of an answer: the next one would be taken for this one.
            self.close()
            raise
        if "error" in answer:
            raise UserError(self._sentence("failed", message["op"], answer["error"]))
        picture = np.frombuffer(data, np.uint8).reshape(answer["shape"]) if data else None
        return answer, picture

    def _sentence(self, what: str, when: str, why: str) -> str:
        return (
            f"the original simulator ({self.python}) {what} at {when!r}: {_with_fix(why)} "
            "(docs/original.md: how to set it up)."
        )

    def close(self) -> None:
        """End the process; may be called twice."""
        if self._closed:
            return
        self._closed = True
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            if self._process.poll() is None:
                self._process.stdin.write(b'{"op": "close"}\n')
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._selector.close()
        self._process.stdout.close()
        self._log.close()

    def _ended(self) -> str:
        return f"it ended with code {self._process.wait()}"

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
        if not self._selector.select(timeout=max(0.0, self._deadline - time.monotonic())):
            self._process.kill()
            raise EOFError(f"no answer for {self.timeout:.0f} s")
        assert self._process.stdout is not None
        data = os.read(self._process.stdout.fileno(), 1 << 20)
        if not data:
            raise EOFError(self._ended())
        self._buffer += data

    def _last_line(self) -> str:
        """The last line that the worker wrote to stderr."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


def _with_fix(why: str) -> str:
    """The reason, with what to install or set where that is known."""
    missing = re.search(r"No module named '([^'.]+)", why)
    if missing:
        return f"{why}; install {_PACKAGES.get(missing[1], missing[1])} there"
    if _FOLDER in why:  # the original's own advice is a paragraph
        return f"{why.partition(' is not found')[0]} is missing; set {_FOLDER} to its data folder"
    return why.rstrip(".")


def _clean_environment() -> dict[str, str]:
    """This process's variables without those that would lead Python to our packages."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
