"""WindowBatch of streamed data sets, batch by batch.

The batch of a step follows from the settings, the seed, the step and the rank alone. How many
worker processes read ahead changes nothing about it, nor does stopping and going on.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiment.errors import UserError
from experiment.seeding import numpy_generator, seed_of
from worldmodel.data.batches import DataConfig
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.lanes import BatchOrder, SetOrder, Slot, lanes_of_a_process
from worldmodel.data.picture_memory import Memory
from worldmodel.data.source import AdaptedSet, joined
from worldmodel.data.statistics import Statistics, statistics
from worldmodel.data.stream import Stream
from worldmodel.data.trajectories import spread_out
from worldmodel.data.windows import WindowBatch
from worldmodel.tokenizer import Tokenizer

_AUGMENTATION, _INSTEAD, _HELD_OUT = 2, 14, 15
_ATTEMPTS = 100
_SMALLEST_BLOCK = 4


class Counted(NamedTuple):
    """Numbers of episodes and how many windows each has."""

    episodes: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class Sample:
    """A batch of windows and the records that were passed over for it, in words."""

    windows: WindowBatch
    skipped: tuple[str, ...] = ()

    def pin_memory(self, *_: object) -> "Sample":
        """Return the sample in pinned memory; called by torch's `DataLoader`."""
        return replace(self, windows=self.windows.pin_memory())


class StreamReader:
    """The windows of each step, or a fixed choice of those held out."""

    def __init__(
        self,
        stream: Stream,
        use: DataConfig,
        tokenizer: Tokenizer,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Raises `UserError` for sets that cannot be opened or hold no window."""
        self.stream, self.use, self.tokenizer, self.seed = stream, use, tokenizer, seed
        self.rank, self.world = rank, world
        self.sets = stream.open()
        found = [self._split(data) for data in self.sets]
        shares = [each.weight for each in stream.sets]
        if stream.by_size:
            shares = [
                w * int(each.counts.sum()) for w, (each, _) in zip(shares, found, strict=True)
            ]
        self._order = BatchOrder(shares, seed, use.batch_size, stream.lanes, rank, world)
        self._held_out = BatchOrder(shares, seed, 1, 1)
        self._learned, self._shown = [], []
        for number, (learned, shown) in enumerate(found):
            block = math.ceil(stream.block * shares[number] / sum(shares))
            block = min(max(block, _SMALLEST_BLOCK), stream.block)
            mine, others = seed_of(number, seed), seed_of(_HELD_OUT, number)
            self._learned.append(SetOrder(*learned, mine, block, stream.lanes * world))
            self._shown.append(SetOrder(*shown, others, block))
        # This process looks at held-out windows while the workers read.
        memory = Memory(int(stream.memory * 1e9 / (stream.workers + 1)))
        if stream.normalise:
            for data, facts in zip(self.sets, self.statistics(), strict=True):
                data.normalisation = facts.normalisation
        for data, order in zip(self.sets, self._learned, strict=True):
            at_once = min(order.parts, lanes_of_a_process(stream.lanes, stream.workers))
            # A block more than is read, so that a new one does not push out what is still read.
            data.keep(order.block * (at_once + 1), memory)

    def _split(self, data: AdaptedSet) -> tuple[Counted, Counted]:
        """Return the episodes to learn from and those held out, with the windows of each."""
        use = self.use
        counts = data.counts(use.windows, whole=not use.pad)
        learned, held_out = split(len(counts), use.held_out)
        if not counts[learned].sum():
            raise UserError(
                f"{data.source}: no episode is longer than "
                f"{max(use.windows.future) * data.stride} steps: shorten "
                "data.use.windows.future, or set data.use.pad=true."
            )
        chosen = held_out if counts[held_out].sum() else learned
        return Counted(learned, counts[learned]), Counted(chosen, counts[chosen])

    @property
    def shares(self) -> np.ndarray:
        """Return how many of a thousand windows are of each set."""
        return self._order.counts

    def __call__(self, step: int) -> Sample:
        """Return the batch of a step; raises `DamagedRecord` where records are not skipped."""
        sample = self._read(self._order(step), self._learned)
        if self.use.augmentation is None:
            return sample
        generator = numpy_generator(_AUGMENTATION, self.seed, step, self.rank)
        return replace(sample, windows=self.use.augmentation(sample.windows, generator))

    def held_out(self, count: int) -> WindowBatch:
        """Return `count` windows of the episodes held out: the same ones at every call."""
        slots = [self._held_out(step)[0] for step in range(count)]
        return self._read(slots, self._shown).windows

    def windows(self, count: int) -> WindowBatch:
        """Return `count` windows that are learned from early on, pictures unchanged."""
        each = max(1, count // self.stream.lanes)
        batches = (self._order(step)[:each] for step in itertools.count())
        slots = list(itertools.islice(itertools.chain.from_iterable(batches), count))
        return self._read(slots, self._learned).windows

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

    def _read(self, slots: Sequence[Slot], orders: Sequence[SetOrder]) -> Sample:
        found, skipped = [], []
        for number, lane, place in slots:
            data, order = self.sets[number], orders[number]
            piece, wanted = None, place
            for attempt in range(_ATTEMPTS):
                try:
                    piece = data.piece(order(lane, wanted), self.use.windows, self.tokenizer)
                    break
                except DamagedRecord as error:
                    if self.stream.on_error == "stop":
                        raise
                    skipped.append(str(error))
                    # Another window, which follows from the place as well.
                    wanted = order.another(
                        lane, (_INSTEAD, self.seed, number, lane, place, attempt)
                    )
            if piece is None:
                raise UserError(
                    f"{data.source}: {_ATTEMPTS} records in a row could not be read, the last "
                    f"one: {skipped[-1]}"
                )
            found.append(piece)
        return Sample(joined(found), tuple(skipped))


def split(episodes: int, held_out: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the episodes to learn from and of those held out, evenly spread.

    With a positive share at least one is held out of two or more.
    """
    count = max(1, round(held_out * episodes)) if held_out and episodes > 1 else 0
    return spread_out(episodes, count)
