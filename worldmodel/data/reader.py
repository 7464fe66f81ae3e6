"""Batches of windows, step by step.

The batch of a step follows from the settings, the seed and the step alone. How many worker
processes read ahead changes nothing about it, nor do the number of ranks, a stop and a restart.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar, get_args

import numpy as np

from experiment.errors import UserError, nearest
from experiment.seeding import numpy_generator, seed_of
from worldmodel.data.augmentation import Augmentation
from worldmodel.data.dataset import DataSet
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.order import BatchOrder, SetOrder, Slot, WindowIndex, shards_of_a_process
from worldmodel.data.pictures import Memory
from worldmodel.data.windows import (
    AfterDeparture,
    AfterEnd,
    Empty,
    Window,
    WindowBatch,
    WindowConfig,
    empty_pictures,
    stack,
)

T = TypeVar("T")
_AUGMENTATION, _HELD_OUT = 2, 15
_ATTEMPTS = 100
_SMALLEST_BLOCK = 4
_MOST_BYTES = 2**34


@dataclass(frozen=True)
class DataConfig:
    """How data sets are used.

    held_out: share of the episodes not learned from, 0 for none. episodes: of each set only the
    first so many are learned from, None for all. after_end: see `AfterEnd`. after_departure: see
    `AfterDeparture`.
    """

    batch_size: int = 64
    held_out: float = 0.03
    episodes: int | None = None
    after_end: AfterEnd = "drop"
    after_departure: AfterDeparture = "keep"
    windows: WindowConfig = field(default_factory=WindowConfig)
    augmentation: Augmentation | None = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.batch_size < 1 or not 0 <= self.held_out < 1:
            raise UserError("data.use: batch_size must be at least 1 and held_out in [0, 1).")
        if self.episodes is not None and self.episodes < 1:
            raise UserError(f"data.use.episodes={self.episodes} must be at least 1, null for all.")
        for name, kind in (("after_end", AfterEnd), ("after_departure", AfterDeparture)):
            value, known = getattr(self, name), get_args(kind)
            if value not in known:
                raise UserError(f"unknown data.use.{name} {value!r}.{nearest(value, known)}")

    def split(self, episodes: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the episodes of a set to learn from, and of those held out."""
        learned, held_out = split(episodes, self.held_out)
        return learned[: self.episodes], held_out

    def check_size(self, sample_bytes: int) -> None:
        """Raise `UserError` where a batch of so many bytes a window cannot be meant."""
        if self.batch_size * sample_bytes > _MOST_BYTES:
            raise UserError(
                f"data.use.batch_size={self.batch_size}: a batch would take "
                f"{self.batch_size * sample_bytes / 1e9:,.0f} GB; at most "
                f"{_MOST_BYTES // sample_bytes} windows of this size fit."
            )


@dataclass(frozen=True)
class Reading:
    """How data is read, which changes nothing about what is learned but the order.

    on_error: stop at the first record that cannot be read, or skip and list it. workers: processes
    that read ahead. ahead: batches that each of them has ready. shards: parts of the data that
    steps take in turn; each is read by one process where `workers` divides it. parts: of a batch,
    each from another shard, so that as many ranks read different records; a batch is the same for
    any number of ranks. block: episodes of all sets together whose windows are shuffled together,
    in each shard. memory: gigabytes of decoded pictures that are kept while their block lasts, all
    processes of a rank together.
    """

    on_error: str = "stop"
    workers: int = 2
    ahead: int = 4
    shards: int = 4
    parts: int = 1
    block: int = 64
    memory: float = 2.0

    @property
    def skips(self) -> bool:
        """Whether records that cannot be read are skipped."""
        return self.on_error == "skip"

    def shards_at_once(self, world: int) -> int:
        """Return from how many shards one process of one of `world` ranks reads."""
        return shards_of_a_process(self.shards, self.workers, self.parts, world)


@dataclass(frozen=True)
class Sample(Generic[T]):
    """A batch and the records that were skipped for it, in words."""

    batch: T
    skipped: tuple[str, ...] = ()

    def pin_memory(self, *_: object) -> "Sample[T]":
        """Return the sample in pinned memory; called by torch's `DataLoader`."""
        return Sample(self.batch.pin_memory(), self.skipped)  # type: ignore[attr-defined]


class WindowReader:
    """The windows of each step, or a fixed choice of those held out."""

    def __init__(
        self,
        sets: Sequence[DataSet],
        weights: Sequence[float],
        reading: Reading,
        use: DataConfig,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Args: `weights` are the shares of the sets in the samples; `rank` of `world` has its rows
        of each batch, which are the same for any `world`.

        Raises `UserError` for sets that hold no window.
        """
        self.sets, self.reading, self.use = list(sets), reading, use
        self._seed, self._rank, self._world = seed, rank, world
        for data in self.sets:
            data.state_width = max(each.state_size for each in self.sets)
        height, width = sets[0].size
        use.check_size(height * width * 3 * use.windows.pictures)
        self.episodes = 0
        """How many are learned from."""
        self._order = BatchOrder(
            weights, seed, use.batch_size, reading.shards, rank, world, reading.parts
        )
        self._held_out_order = BatchOrder(weights, seed, 1, 1)
        self._learned: list[SetOrder] = []
        self._held_out: list[SetOrder] = []
        self._unreadable: list[set[int]] = [set() for _ in sets]
        # This process reads held-out windows while the workers read.
        memory = Memory(int(reading.memory * 1e9 / (reading.workers + 1)))
        for number, (data, share) in enumerate(zip(self.sets, self.shares, strict=True)):
            learned, held_out = use.split(len(data.counts))
            block = min(max(math.ceil(reading.block * share), _SMALLEST_BLOCK), reading.block)
            order = SetOrder(
                learned, data.counts[learned], seed_of(number, seed), block, reading.shards
            )
            if not order.size:
                raise UserError(
                    f"{data.source}: no episode is longer than "
                    f"{max(use.windows.future) * data.stride} steps: shorten "
                    "data.use.windows.future, or set data.use.after_end=mask."
                )
            shown = seed_of(_HELD_OUT, number)
            self.episodes += len(learned)
            self._learned.append(order)
            self._held_out.append(SetOrder(held_out, data.counts[held_out], shown, block))
            at_once = min(order.shards, reading.shards_at_once(world))
            # A block more than is read, so that a new one does not push out what is still read.
            data.keep(order.block * (at_once + 1), memory)

    @property
    def shares(self) -> np.ndarray:
        """The share of each set in the samples."""
        return self._order.shares

    @property
    def source(self) -> str:
        """The data sets' roots, for messages and checkpoints."""
        return ", ".join(data.source for data in self.sets)

    def __call__(self, step: int, empty: Empty = empty_pictures) -> Sample[WindowBatch]:
        """Return the batch of a step, its pictures in memory of `empty`.

        Raises `DamagedRecord` where records are not skipped.
        """
        skipped: list[str] = []
        windows = [self._window(slot, skipped) for slot in self._order(step)]
        batch = stack(windows, empty)
        if self.use.augmentation is not None:
            # Drawn for the whole batch, whoever has its other rows; 0 is what one rank alone had.
            generator = numpy_generator(_AUGMENTATION, self._seed, step, 0)
            self.use.augmentation(batch, generator, self._rank, self._world)
        return Sample(batch, tuple(skipped))

    def held_out(
        self, count: int, numbers: Sequence[int] | None = None, now_only: bool = False
    ) -> Sample[WindowBatch | None]:
        """Return up to `count` windows of the episodes held out: the same ones at every call.

        They are of the sets `numbers`, or of all; with `now_only` without the future frames. The
        batch is None where there is none that can be read. Raises `DamagedRecord` where records
        are not skipped.
        """
        windows: list[Window] = []
        skipped: list[str] = []
        for chosen, index in self._held_out_windows(numbers):
            if len(windows) == count:
                break
            window = self._read(chosen, index, skipped)
            if window is not None and now_only:
                window = replace(window, pictures=window.pictures[:1])
            if window is not None:
                windows.append(window)
        return Sample(stack(windows) if windows else None, tuple(skipped))

    def examples(self, count: int) -> WindowBatch:
        """Return `count` windows that are learned from early on, pictures unchanged."""
        each = max(1, count // self.reading.shards)
        batches = (self._order(step)[:each] for step in itertools.count())
        slots = itertools.islice(itertools.chain.from_iterable(batches), count)
        return stack([self._window(slot, []) for slot in slots])

    def unreadable(self) -> list[str]:
        """Return why records were left out when the sets were opened (with on_error=skip)."""
        reasons: list[str] = []
        for number, data in enumerate(self.sets):
            for episode in np.flatnonzero(np.asarray(data.episodes.lengths) == 0).tolist():
                self._unreadable[number].add(episode)
                try:
                    data.canonical(episode)
                except DamagedRecord as error:
                    reasons.append(str(error))
        return reasons

    def _held_out_windows(self, numbers: Sequence[int] | None) -> Iterator[tuple[int, WindowIndex]]:
        """Yield set and index of every held-out window, those of a mixture by their shares."""
        if numbers is not None and len(numbers) == 1:
            (number,) = numbers
            order = self._held_out[number]
            yield from ((number, order(0, place)) for place in range(order.size))
            return
        for step in range(sum(order.size for order in self._held_out)):
            (slot,) = self._held_out_order(step)
            wanted = numbers is None or slot.number in numbers
            if wanted and self._held_out[slot.number].size:
                yield slot.number, self._held_out[slot.number](0, slot.place)

    def _window(self, slot: Slot, skipped: list[str]) -> Window:
        """Return the window of a slot, or one of the same shard instead."""
        order = self._learned[slot.number]
        window = self._read(slot.number, order(slot.shard, slot.place), skipped)
        for attempt in range(_ATTEMPTS):
            if window is not None:
                return window
            index = order.instead(slot.shard, slot.place, attempt)
            window = self._read(slot.number, index, skipped)
        reasons = f", the last one: {skipped[-1]}" if skipped else "."
        raise UserError(
            f"{self.sets[slot.number].source}: none of {_ATTEMPTS} windows drawn could be read"
            f"{reasons}"
        )

    def _read(self, number: int, index: WindowIndex, skipped: list[str]) -> Window | None:
        """Return a window; None, and why, where its record is damaged and to be skipped."""
        if index.episode in self._unreadable[number]:
            return None
        try:
            return self.sets[number].window(index)
        except DamagedRecord as error:
            if not self.reading.skips:
                raise
            self._unreadable[number].add(index.episode)
            skipped.append(str(error))
            return None


def split(episodes: int, held_out: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the episodes to learn from and of those held out, evenly spread.

    With a positive share at least one is held out of two or more.
    """
    count = max(1, round(held_out * episodes)) if held_out and episodes > 1 else 0
    chosen = np.unique(np.linspace(0, episodes - 1, count + 2)[1:-1].astype(np.int64))
    return np.setdiff1d(np.arange(episodes), chosen), chosen
