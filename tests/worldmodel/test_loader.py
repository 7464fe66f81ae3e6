"""Reading ahead in processes: the same batches, no process left behind, Ctrl-C left to the run."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from experiment.errors import UserError
from tests.worldmodel.toy_streams import reader, same
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.loader import HeldOut, Loader
from worldmodel.data.reader import Sample
from worldmodel.data.shared_memory import RECEIVED

ROOTS = ("9,9,12,8,10", "20,30,8")


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_workers_change_nothing(workers: int) -> None:
    alone = [reader(*ROOTS)(step).batch for step in range(6)]
    loader = Loader(reader(*ROOTS), workers)
    for step in (0, 1, 2, 5, 3, 4):  # also out of turn, as where a run is resumed
        assert same(loader(step), alone[step])
    loader.close()


def test_batches_that_are_kept_stay_as_they_are() -> None:
    loader = Loader(reader(*ROOTS), 1, ahead=2)
    kept = [loader(step) for step in range(12)]
    loader.close()
    fresh = reader(*ROOTS)
    assert all(same(batch, fresh(step).batch) for step, batch in enumerate(kept))


def test_shared_memory_is_used_again_and_given_back() -> None:
    others = set(RECEIVED)
    loader = Loader(reader(*ROOTS), 1, ahead=2)
    frame = loader(0).frame[1:]
    future = loader(1).future[:1, 0]
    later = [loader(step).samples for step in range(2, 40)]
    (name,) = set(RECEIVED) - others
    assert len(later) == 38
    assert 1 <= len(RECEIVED[name]) <= 6
    assert torch.equal(frame, reader(*ROOTS)(0).batch.frame[1:])
    assert torch.equal(future, reader(*ROOTS)(1).batch.future[:1, 0])
    loader.close()
    assert name not in RECEIVED


def test_errors_of_workers_arrive_as_one_sentence() -> None:
    loader = Loader(reader("9,9!0,1"), workers=1)
    with pytest.raises(DamagedRecord, match=r"^toy record \d is damaged\.$"):
        loader(0)
    loader.close()


def test_skipped_records_are_listed_once(tmp_path: Path) -> None:
    loader = Loader(reader("9,9,12,8,10!1,3", on_error="skip"), 0, skipped=tmp_path / "skipped")
    for step in range(12):
        loader(step)
    assert len((tmp_path / "skipped").read_text().splitlines()) == 2


def test_that_nothing_is_held_out_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    listed: list[str] = []
    held_out = HeldOut(lambda _: Sample(None, ("record 3 is damaged",)), listed.extend)
    assert held_out(4) is None
    assert held_out(4) is None
    assert capsys.readouterr().err.count("none of the held-out episodes can be read") == 1
    assert listed


PROGRAM = textwrap.dedent("""
    import signal, sys, time
    from tests.worldmodel.toy_streams import reader
    from worldmodel.data.loader import Loader

    stopped = []
    signal.signal(signal.SIGINT, lambda *_: stopped.append(1))
    loader = Loader(reader("9,9,12,8,10"), workers=2)
    step = 0
    print("ready", loader(0).samples, flush=True)
    while not stopped:
        step += 1
        loader(step)
        time.sleep(0.01)
    print("read on", loader(step + 1).samples, flush=True)
""")


def children(pid: int) -> list[int]:
    """Return the processes that `pid` started and that live."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def program() -> subprocess.Popen[str]:
    """Return a process that reads with two workers, in a group of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ready")
    return process


@pytest.mark.slow
def test_no_worker_outlives_a_killed_process(program: subprocess.Popen[str]) -> None:
    workers = children(program.pid)
    assert len(workers) >= 2
    program.kill()
    program.wait()
    end = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, workers))


@pytest.mark.slow
def test_workers_leave_ctrl_c_to_the_process_that_started_them(
    program: subprocess.Popen[str],
) -> None:
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does
    output, _ = program.communicate(timeout=60)
    assert "read on 4" in output
    assert program.returncode == 0


@pytest.mark.slow
def test_a_worker_that_is_killed_is_one_sentence() -> None:
    loader = Loader(reader(*ROOTS), 1)
    loader(0)
    for worker in children(os.getpid()):
        if "resource_tracker" not in Path(f"/proc/{worker}/cmdline").read_text():
            os.kill(worker, signal.SIGKILL)
    with pytest.raises(UserError, match="a process that reads data was ended from outside"):
        list(map(loader, range(1, 20)))
    loader.close()
