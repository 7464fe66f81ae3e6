"""Child processes that end with the process that started them."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PATIENCE = 20.0
_START = (
    "import runpy, sys; from experiment.processes import die_with_parent; "
    "die_with_parent(int(sys.argv.pop(1))); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def start(module: str, settings: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start `python -m module settings` in a session of its own; it ends with this process.

    Ctrl-C is for this process alone, which calls `end`. `options` are those of `Popen`.
    """
    command = [sys.executable, "-c", _START, str(os.getpid()), module, *settings]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that `start` started, and those it started itself: first as Ctrl-C does."""
    for sign, patience in ((signal.SIGTERM, _PATIENCE), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, sign)
            process.wait(patience)
        except ProcessLookupError:
            process.wait()
            return
        except subprocess.TimeoutExpired:
            continue
        return


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent, process id `parent`, is gone.

    To be called in a child, first thing. Linux only; elsewhere a child notices by its closed pipe.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the call.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
