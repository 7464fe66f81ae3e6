"""Kills a small run at random moments and compares what it comes to with one left alone.

    python -m tests.worldmodel.kills --count 20 --processes 2

Each start is a process forked from this one, so that nothing is imported anew; all of them get
SIGKILL. A run that was killed is started again with the same arguments until it is done.
"""

import argparse
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from experiment.errors import UserError
from tests.worldmodel.processes import trainer
from worldmodel.training.parallel import Ranks, joined
from worldmodel.training.saved_state import SavedStates, read_state

STEPS = 16
OUTPUT = "output.txt"


def started(run: Path, steps: int, processes: int, output: Path) -> list[int]:
    """Start the run in forked processes; return their ids."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ids = []
    for rank in range(processes):
        child = os.fork()
        if child:
            ids.append(child)
            continue
        code = 1
        try:
            with output.open("a") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            if processes > 1:
                os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                os.environ |= {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1"}
                os.environ["MASTER_PORT"] = port
            with joined():
                trainer(run, steps=steps, save_seconds=0.3).run()
            code = 0
        except BaseException as error:
            print(repr(error), flush=True)
        finally:
            os._exit(code)
    return ids


def ended(ids: Sequence[int]) -> list[int]:
    """Wait for processes; return what each ended with."""
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in ids]


def killed(
    run: Path,
    steps: int,
    processes: int,
    output: Path,
    latest: float,
    chance: random.Random,
) -> int | None:
    """Start the run, kill it at a random moment; return the step it had saved, None if done."""
    ids = started(run, steps, processes, output)
    time.sleep(chance.uniform(0.5, latest))
    for process in ids:
        os.kill(process, signal.SIGKILL)
    codes = ended(ids)
    saved = SavedStates(run, Ranks()).newest()
    step = 0 if saved is None else int(saved.name)
    return None if set(codes) == {0} else step


def same(one: Path, other: Path) -> bool:
    """Return whether two runs came to the same weights, moments and averages, bit for bit."""
    first, second = read_state(one)[0], read_state(other)[0]
    if first.keys() != second.keys():
        return False
    return all(torch.equal(first[name], second[name]) for name in first)


def said(folder: Path) -> str:
    return (folder / OUTPUT).read_text()[-1500:]


def compare(count: int, processes: int, folder: Path, steps: int, seed: int = 0) -> int:
    """Kill runs `count` times; return how often one was at work. Raises `UserError`."""
    # What is imported at first use is imported here, once.
    trainer(folder / "warm", steps=1).run()
    straight, output = folder / "straight", folder / OUTPUT
    begun = time.monotonic()
    _finish(straight, steps, processes, output)
    latest = time.monotonic() - begun
    chance, at_work, run = random.Random(seed), 0, folder / "broken-0"
    for number in range(count):
        step = killed(run, steps, processes, output, latest, chance)
        what = "it was done" if step is None else f"step {step} was saved"
        print(f"kill {number + 1} of {count}: {what}", flush=True)
        at_work += step is not None
        # The first run was slower than those are now.
        latest = max(latest / 2, 2.0) if step is None else latest
        if step is None or step > steps // 2 or number == count - 1:
            # The next kill should hit a run at work.
            _finish(run, steps, processes, output)
            if not same(straight, run):
                raise UserError(f"{run} differs from {straight}.")
            run = folder / f"broken-{number + 1}"
    return at_work


def _finish(run: Path, steps: int, processes: int, output: Path) -> None:
    codes = ended(started(run, steps, processes, output))
    if set(codes) != {0}:
        raise UserError(f"{run} ended with {codes}: {said(output.parent)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            at_work = compare(given.count, given.processes, Path(folder), given.steps)
        except UserError as error:
            sys.exit(f"error: {error}")
    print(f"{given.count} kills of {given.processes} processes, {at_work} of a run at work: equal")


if __name__ == "__main__":
    main()
