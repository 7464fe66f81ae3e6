"""How an entry point ends: one sentence for bad input, nothing where the reader has left."""

import signal
import subprocess
import sys

import pytest

from experiment.errors import UserError, exit_on_user_error

PRINTS_MUCH = """
from experiment.errors import exit_on_user_error

@exit_on_user_error
def main():
    for _ in range(100_000):
        print("a line of settings")

main()
"""


WAITS = """
import time
from experiment.command import command

@command("encode", "")
def main(config):
    print("waiting", flush=True)
    time.sleep(60)

main([])
"""


def test_bad_input_ends_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    @exit_on_user_error
    def main() -> None:
        raise UserError("size=0 must be at least 1.")

    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: size=0 must be at least 1.\n"


def test_a_reader_that_leaves_early_leaves_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PRINTS_MUCH], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"a line of settings\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_another_pipe_that_breaks_is_not_passed_over() -> None:
    @exit_on_user_error
    def main() -> None:
        raise BrokenPipeError("a worker is gone")

    with pytest.raises(BrokenPipeError, match="a worker is gone"):
        main()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_says_so(stop: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        process.send_signal(stop)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said.strip()) == (130, b"interrupted")
