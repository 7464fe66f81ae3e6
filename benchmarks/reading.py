"""Frames and windows a second of the readers, beside those of TFDS and of lerobot.

    python -m benchmarks.reading rlds FOLDER --other tfds/bin/python
    python -m benchmarks.reading lerobot FOLDER --other lerobot/bin/python

FOLDER is an RLDS set with RT-1's columns, or a LeRobot v3.0 set that `envs.collect` wrote; how to
make one of any length: `tests/data/make_rollouts.py`. `--other` is a Python that has
tensorflow-datasets, or lerobot. Both sides take turns, are held to as many cores as they have
workers, and are measured when they are warm: frames are whole episodes in order, windows are
shuffled batches of 16 of 7 frames each. Last, the memory of all processes while `--count` windows
are read twice over.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from experiment.settings import CONFIGS, build
from worldmodel.data.adapter import Adapter
from worldmodel.data.loader import Loader, Reader
from worldmodel.data.reader import DataConfig, Sample
from worldmodel.data.source import DataSource, Format, SetConfig
from worldmodel.data.windows import Empty, WindowConfig, empty_pictures

What = Literal["frames", "windows"]
ADAPTERS: dict[Format, str] = {"rlds": "fractal20220817_data", "lerobot": "simpler_google_robot"}
OTHERS: dict[Format, tuple[str, str]] = {
    "rlds": ("TFDS", "reading_tfds.py"),
    "lerobot": ("lerobot", "reading_lerobot.py"),
}
LENGTH, BATCH, AHEAD = 7, 16, 8
WHOLE, SMALL = (256, 320), (96, 96)
CASES: tuple[tuple[What, tuple[int, int]], ...] = (
    ("frames", WHOLE),
    ("windows", WHOLE),
    ("windows", SMALL),
)


class Episodes:
    """Whole episodes in order: the batch of step i is the pictures of episode i."""

    def __init__(self, source: SetConfig) -> None:
        self._episodes = source.open(None, download=False, on_error="stop")
        self._image = source.adapted(self._episodes).image

    def __call__(self, step: int, empty: Empty = empty_pictures) -> Sample[torch.Tensor]:  # noqa: ARG002
        """Return uint8 `(t, h, w, 3)`."""
        episode = self._episodes[step % len(self._episodes.lengths)]
        return Sample(torch.from_numpy(episode.images(self._image)))


class WindowsOnly:
    """The pictures of a stream's batches."""

    def __init__(self, source: SetConfig, workers: int, size: tuple[int, int]) -> None:
        use = DataConfig(
            batch_size=BATCH,
            held_out=0.0,
            augmentation=None,
            windows=WindowConfig(future=tuple(range(1, LENGTH)), chunk=LENGTH),
        )
        # Small blocks, so that a small set is not cached as a whole.
        data = DataSource(sets=[source], workers=workers, shards=2, block=4)
        sets = data.open(use, size, video_only=True)
        self._reader = data.window_reader(sets, use, seed=0)

    def __call__(self, step: int, empty: Empty = empty_pictures) -> Sample[torch.Tensor]:
        """Return uint8 `(b, t, h, w, 3)`."""
        return Sample(self._reader(step, empty).batch.future)


def ours(options: argparse.Namespace) -> dict[str, object]:
    """Read without measuring, then as much again with the clock running; note the memory."""
    torch.set_num_threads(1)
    adapter = build(OmegaConf.load(CONFIGS / f"adapter/{ADAPTERS[options.kind]}.yaml"), Adapter)  # type: ignore[arg-type]
    source = SetConfig(options.folder, adapter, options.kind)
    reader: Reader[torch.Tensor] = Episodes(source)
    if options.what == "windows":
        reader = WindowsOnly(source, options.workers, tuple(options.size))
    ahead = Loader(reader, options.workers, AHEAD)
    steps = itertools.count()

    def read(count: int) -> int:
        done = 0
        while done < count:
            done += len(ahead(next(steps)))
        return done

    read(options.count)
    started = time.perf_counter()
    count = read(options.count)
    seconds = time.perf_counter() - started
    held = []
    for _ in range(20 if options.memory else 0):
        read(options.count // 10)
        held.append(memory())
    ahead.close()
    return {"count": count, "seconds": seconds, "megabytes": held}


def memory() -> float:
    """Return the megabytes that this process and its workers hold, shared pages counted once."""
    this = os.getpid()
    children = Path(f"/proc/{this}/task/{this}/children").read_text().split()
    total = 0
    for process in (str(this), *children):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1000


def run(command: list[str], cores: int) -> dict[str, Any]:
    """Return what a measurement on `cores` cores printed."""
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )
    if ran.returncode:
        sys.exit(f"error: {' '.join(command)} failed:\n{ran.stderr[-2000:]}")
    return dict(json.loads(ran.stdout.strip().splitlines()[-1]))


def compare(options: argparse.Namespace) -> None:
    """Print both sides' rates, their ratio and the memory of ours."""
    name, script = OTHERS[options.kind]
    other_command = [options.other, str(Path(__file__).with_name(script))]
    module = ["-m", "benchmarks.reading"]
    our_command = [sys.executable, *module, options.kind, options.folder, "--only"]
    threads = "--threads" if options.kind == "rlds" else "--workers"
    rates: dict[tuple[What, tuple[int, int], int, str], list[float]] = {}
    held: list[float] = []
    todo = list(itertools.product(range(options.rounds), CASES, options.workers))
    for rounds, (what, size), workers in tqdm(todo, unit="pair"):
        common = [what, str(options.count), "--size", *map(str, size)]
        looks = ["--memory"] if rounds == 0 and (what, size) == ("windows", WHOLE) else []
        our_result = run([*our_command, *common, "--workers", str(workers), *looks], workers)
        held = our_result["megabytes"] or held
        other_result = run(
            [*other_command, options.folder, *common, threads, str(workers)], workers
        )
        for side, result in (("here", our_result), (name, other_result)):
            rate = result["count"] / result["seconds"]
            rates.setdefault((what, size, workers, side), []).append(rate)
    table = Table("", "pictures", "workers", "here /s", f"{name} /s", "ratio (least to greatest)")
    for (what, size), workers in itertools.product(CASES, options.workers):
        here, there = (rates[what, size, workers, side] for side in ("here", name))
        ratios = [a / b for a, b in zip(here, there, strict=True)]
        table.add_row(
            what,
            f"{size[0]} x {size[1]}",
            str(workers),
            f"{statistics.median(here):,.0f}",
            f"{statistics.median(there):,.0f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        )
    Console(width=100).print(table)
    quarters = np.linspace(0, len(held) - 1, 5).astype(int)
    shown = ", ".join(f"{held[i]:,.0f}" for i in quarters) if held else "too short to tell"
    print(f"MB held by all processes here, windows at full size, start to end: {shown}")


def main() -> None:
    """Measure one side, or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=tuple(ADAPTERS))
    parser.add_argument("folder")
    parser.add_argument("--other", help="a Python that has tensorflow-datasets, or lerobot")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs=2, metavar=("WHAT", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=6000, help="frames or windows")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--size", type=int, nargs=2, default=WHOLE, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        options.what, options.count = options.only[0], int(options.only[1])
        options.workers = options.workers[0]
        print(json.dumps(ours(options)))
        return
    if not options.other:
        parser.error("--other: give a Python that has the other reader")
    compare(options)


if __name__ == "__main__":
    main()
