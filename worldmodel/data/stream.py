"""Streamed data sets: windows of one or several sets, too large to be held in memory.

The batch of a step follows from the settings, the seed, the step and the rank alone. How many
worker processes read ahead changes nothing about it, nor does stopping and going on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from worldmodel.data.adapted import AdaptedSet, joined
from worldmodel.data.adapters import Adapter
from worldmodel.data.batches import DataConfig
from worldmodel.data.episodes import DamagedRecord, Episodes
from worldmodel.data.order import BlockOrder, MixtureOrder, Place, batch_places
from worldmodel.data.statistics import Statistics, statistics
from worldmodel.data.storage import Storage
from worldmodel.data.trajectories import spread_out
from worldmodel.data.windows import Windows
from worldmodel.errors import UserError, nearest
from worldmodel.seeding import numpy_generator
from worldmodel.tokenizer.pixel import PixelTokenizer

Format = Literal["lerobot", "rlds"]
OnError = Literal["stop", "skip"]
_AUGMENTATION, _INSTEAD, _HELD_OUT = 2, 14, 15
_ATTEMPTS = 100


@dataclass(frozen=True)
class SetConfig:
    """One data set of a stream.

    root: folder, address (`gs://`, `s3://`, `hf://`, `https://`) or, of LeRobot sets, a repository
    of the hub. weight: how often it is drawn; see `Stream.by_size`. split: of an RLDS set.
    """

    root: str
    adapter: Adapter
    format: Format = "rlds"
    weight: float = 1.0
    split: str = "train"

    def __post_init__(self) -> None:
        if self.format not in get_args(Format):
            kinds = get_args(Format)
            raise UserError(f"unknown data format {self.format!r}.{nearest(self.format, kinds)}")

    def open(self, cache: str | None, download: bool, on_error: OnError) -> Episodes:
        """Open the data set; raises `UserError` where there is none."""
        kept = Path(cache) / "files" if cache and download else None
        if self.format == "lerobot":
            from worldmodel.data.lerobot import LeRobotEpisodes

            return LeRobotEpisodes(self.root, cache=None if kept is None else str(kept))
        from worldmodel.data.rlds import RldsEpisodes

        return RldsEpisodes.open(
            Storage(self.root, cache=kept),
            self.split,
            index_folder=None if cache is None else Path(cache),
            on_damage="keep" if on_error == "skip" else "stop",
        )


@dataclass(frozen=True)
class Stream:
    """What is streamed, and how.

    sets: one or more. by_size: weights multiply the sizes of the sets (as Open-X mixtures mean
    them), else they are shares of the samples. frame_rate: frames a second, None for every control
    step. on_error: stop at the first record that cannot be read, or skip and list it. workers:
    processes that read ahead. block: episodes whose windows are shuffled together. cache: folder
    for indices and statistics, and with `download` for whole copies of files from elsewhere. crop:
    pictures are cut to the tokenizer's shape instead of squeezed.
    """

    sets: Sequence[SetConfig]
    by_size: bool = True
    frame_rate: float | None = None
    on_error: OnError = "stop"
    workers: int = 2
    block: int = 64
    cache: str | None = None
    download: bool = False
    crop: bool = False

    def __post_init__(self) -> None:
        if not self.sets:
            raise UserError("data.source.sets is empty: name at least one data set.")
        if self.on_error not in get_args(OnError):
            raise UserError(
                f"unknown on_error {self.on_error!r}.{nearest(self.on_error, get_args(OnError))}"
            )
        if self.workers < 0 or self.block < 1:
            raise UserError("data.source: workers must not be negative, block at least 1.")

    @property
    def source(self) -> str:
        """The data sets' roots, for messages and checkpoints."""
        return ", ".join(each.root for each in self.sets)

    def open(self) -> list[AdaptedSet]:
        """Open every set; raises `UserError` naming the one that does not fit."""
        return [
            AdaptedSet(
                each.open(self.cache, self.download, self.on_error),
                each.adapter,
                self.frame_rate,
                self.block,
                self.crop,
            )
            for each in self.sets
        ]


@dataclass(frozen=True)
class Sample:
    """A batch of windows and the records that were passed over for it, in words."""

    windows: Windows
    skipped: tuple[str, ...] = ()


class StreamReader:
    """The windows of each step, or a fixed choice of those held out."""

    def __init__(
        self,
        stream: Stream,
        use: DataConfig,
        tokenizer: PixelTokenizer,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Raises `UserError` for sets that cannot be opened or hold no window."""
        self.stream, self.use, self.tokenizer, self.seed = stream, use, tokenizer, seed
        self.rank, self.world = rank, world
        self.sets = stream.open()
        self._orders, self._held_out = [], []
        for number, data in enumerate(self.sets):
            counts = data.counts(use.windows, whole=not use.pad)
            learned, held_out = split(len(counts), use.held_out)
            if not counts[learned].sum():
                raise UserError(
                    f"{data.source}: no episode is longer than "
                    f"{max(use.windows.future) * data.stride} steps: shorten "
                    "data.use.windows.future, or set data.use.pad=true."
                )
            mine = (number, seed)
            self._orders.append(_order(learned, counts, mine, stream.block))
            chosen = held_out if counts[held_out].sum() else learned
            self._held_out.append(_order(chosen, counts, (_HELD_OUT, number), stream.block))
        shares = [each.weight for each in stream.sets]
        if stream.by_size:
            shares = [w * o.size for w, o in zip(shares, self._orders, strict=True)]
        self.mixture = MixtureOrder(shares, seed)

    def __call__(self, step: int) -> Sample:
        """Return the batch of a step; raises `DamagedRecord` where records are not skipped."""
        places = batch_places(step, self.use.batch_size, self.rank, self.world)
        sample = self._read([int(place) for place in places], self._orders)
        if self.use.augmentation is None:
            return sample
        generator = numpy_generator(_AUGMENTATION, self.seed, step, self.rank)
        return replace(sample, windows=self.use.augmentation(sample.windows, generator))

    def held_out(self, count: int) -> Windows:
        """Return `count` windows of the episodes held out: the same ones at every call."""
        return self._read(list(range(count)), self._held_out).windows

    def windows(self, count: int) -> Windows:
        """Return the first `count` windows as they are learned from, pictures unchanged."""
        return self._read(list(range(count)), self._orders).windows

    def unreadable(self) -> list[str]:
        """Return why records were left out when the sets were opened (with on_error=skip)."""
        reasons = []
        for data in self.sets:
            for number in np.flatnonzero(np.asarray(data.episodes.lengths) == 0):
                try:
                    data.track(int(number))
                except DamagedRecord as error:
                    reasons.append(str(error))
        return reasons

    def statistics(self) -> list[Statistics]:
        """Return what each set's actions are like, measured once and cached."""
        cache = Path(self.stream.cache or ".cache")
        return [statistics(data, cache, self.stream.on_error == "skip") for data in self.sets]

    def _read(self, places: list[int], orders: Sequence[BlockOrder]) -> Sample:
        found, skipped = [], []
        for place in places:
            number, within = self.mixture(place)
            data, order = self.sets[number], orders[number]
            windows = None
            for attempt in range(_ATTEMPTS):
                try:
                    windows = self._window(data, order(within))
                    break
                except DamagedRecord as error:
                    if self.stream.on_error == "stop":
                        raise
                    skipped.append(str(error))
                    # Another window, which follows from the place as well.
                    generator = numpy_generator(_INSTEAD, self.seed, number, within, attempt)
                    within = int(generator.integers(order.size))
            if windows is None:
                raise UserError(
                    f"{data.source}: {_ATTEMPTS} records in a row could not be read, the last "
                    f"one: {skipped[-1]}"
                )
            found.append(windows)
        return Sample(joined(found), tuple(skipped))

    def _window(self, data: AdaptedSet, place: Place) -> Windows:
        return data.window(place, self.use.windows, self.tokenizer)


def _order(
    episodes: np.ndarray, counts: np.ndarray, names: tuple[int, int], block: int
) -> BlockOrder:
    seed = int(np.random.SeedSequence(names).generate_state(1)[0])
    return BlockOrder(episodes, counts[episodes], seed, block)


def split(episodes: int, held_out: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the episodes to learn from and of those held out, evenly spread.

    With a positive share at least one is held out of two or more.
    """
    count = max(1, round(held_out * episodes)) if held_out and episodes > 1 else 0
    return spread_out(episodes, count)
