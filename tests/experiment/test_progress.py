"""Progress is readable in a terminal of any width, in a pipe and in a log."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

from experiment.settings import ROOT

# Time as the bars see it passes at once, so that nothing here waits.
_SCRIPT = """
import itertools, sys, time
ticks = itertools.count(step=float(sys.argv[1]))
time.time = lambda: next(ticks)
import tqdm.std
from experiment import progress
with progress.bar(desc="training", unit="step", total=20) as bar:
    for number in range(20):
        bar.set_postfix({"loss": number / 10}, refresh=False)
        bar.update()
for _ in progress.each(range(3), "a description that is a little longer", "thing"):
    pass
print("done", file=sys.stderr)
"""


def command(seconds: float) -> list[str]:
    return [sys.executable, "-c", _SCRIPT, str(seconds)]


def in_a_pipe(seconds: float) -> str:
    run = subprocess.run(command(seconds), cwd=ROOT, capture_output=True, timeout=120)
    assert run.returncode == 0, run.stderr.decode()
    return run.stderr.decode()


def in_a_terminal(columns: int) -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "dumb", "NO_COLOR": "1"}
    with subprocess.Popen(command(1), cwd=ROOT, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while read := os.read(ours, 65536):
                shown += read
        except OSError:  # the other end is closed
            pass
        assert process.wait(120) == 0
    os.close(ours)
    return shown.decode()


def test_a_log_has_whole_lines_now_and_then() -> None:
    lines = in_a_pipe(11).split("\n")
    assert "\r" not in "".join(lines)
    training = [line for line in lines if line.startswith("training: ")]
    assert 3 <= len(training) <= 10
    assert training[-1].startswith("training: 20/20 steps [")
    assert training[-1].endswith("loss=1.9]")
    assert lines[-2:] == ["done", ""]


def test_short_work_leaves_nothing_in_a_log() -> None:
    assert in_a_pipe(0.001) == "done\n"


def test_a_narrow_terminal_is_not_overrun() -> None:
    for columns in (40, 120):
        drawn = [part for line in in_a_terminal(columns).split("\n") for part in line.split("\r")]
        assert max(len(part) for part in drawn) <= columns
        assert any("20/20" in part for part in drawn)
