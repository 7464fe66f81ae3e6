"""kill -9 at random moments; `python -m tests.worldmodel.kills` is the long form."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_runs_come_to_the_weights_of_one_left_alone(processes: int) -> None:
    # A process of its own: it forks, which one with many threads should not.
    ended = subprocess.run(
        [sys.executable, "-m", "tests.worldmodel.kills", "--count=2", f"--processes={processes}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith(": equal\n")
