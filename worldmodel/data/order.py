"""The order of windows: a function of (seed, step) alone.

Every window comes once an epoch. Episodes are shuffled and taken in blocks; within a block the
windows of all its episodes are shuffled together. So a reader caches one block of records
and reads each record once an epoch, and any place is found without computing those before it.

Steps take turns over shards, and every shard owns a share of each data set. A process that makes
every n-th batch, n a divisor of the number of shards, reads only the records of its own shards; a
batch does not depend on the process that makes it, nor on the number of ranks that share it out.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from experiment.errors import UserError
from experiment.seeding import numpy_generator, seed_of

_EPISODES, _WINDOWS, _SETS, _SHARDS, _INSTEAD = 11, 12, 13, 16, 14


class WindowIndex(NamedTuple):
    """Where a window begins: episode number and step."""

    episode: int
    step: int


class Slot(NamedTuple):
    """Where a window of a batch comes from: number of the set, place within the shard, shard."""

    number: int
    place: int
    shard: int


class EpochOrder:
    """The windows of one shard of a data set, each once an epoch."""

    def __init__(
        self,
        episodes: np.ndarray,
        counts: np.ndarray,
        seed: int,
        block: int,
        firsts: np.ndarray | None = None,
    ) -> None:
        """Args: `episodes` `(n,)` numbers, `counts` `(n,)` windows of each; `block` episodes;
        `firsts` `(n,)` the step of the first window of each, 0 without."""
        used = counts > 0
        self._episodes, self._counts = episodes[used], counts[used].astype(np.int64)
        self._firsts = np.zeros_like(self._counts) if firsts is None else firsts[used]
        self._seed, self._block = seed, block
        self.size = int(self._counts.sum())
        self._epoch: tuple[int, np.ndarray, np.ndarray] | None = None
        self._windows: tuple[tuple[int, int], np.ndarray, np.ndarray] | None = None

    def __call__(self, place: int) -> WindowIndex:
        """Return the window at `place`, counted over all epochs."""
        epoch, within = divmod(place, self.size)
        shuffled, ends = self._shuffled(epoch)
        block = int(np.searchsorted(ends, within, side="right"))
        members = shuffled[block * self._block : (block + 1) * self._block]
        first = int(ends[block - 1]) if block else 0
        windows, bounds = self._block_windows(epoch, block, members)
        number = int(windows[within - first])
        row = int(np.searchsorted(bounds, number, side="right"))
        step = number - (int(bounds[row - 1]) if row else 0) + int(self._firsts[members[row]])
        return WindowIndex(int(self._episodes[members[row]]), step)

    def _shuffled(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the order of the episodes and the windows up to the end of each block."""
        if self._epoch is None or self._epoch[0] != epoch:
            generator = numpy_generator(_EPISODES, self._seed, epoch)
            order = generator.permutation(len(self._episodes))
            starts = np.arange(0, len(order), self._block)
            ends = np.cumsum(np.add.reduceat(self._counts[order], starts))
            self._epoch = (epoch, order, ends)
        return self._epoch[1], self._epoch[2]

    def _block_windows(
        self, epoch: int, block: int, members: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the windows of a block in order, and the windows up to the end of each episode."""
        if self._windows is None or self._windows[0] != (epoch, block):
            generator = numpy_generator(_WINDOWS, self._seed, epoch, block)
            bounds = np.cumsum(self._counts[members])
            self._windows = ((epoch, block), generator.permutation(int(bounds[-1])), bounds)
        return self._windows[1], self._windows[2]


def shards_of(
    episodes: np.ndarray, counts: np.ndarray, shards: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield episodes, windows of each and the first of them, for shards of equally many windows.

    Shards hold all windows between them and none twice; only an episode at a border is in two.
    """
    order = numpy_generator(_SHARDS, seed).permutation(len(episodes))
    episodes, ends = episodes[order], np.cumsum(counts[order])
    starts = ends - counts[order]
    cuts = [int(ends[-1]) * shard // shards for shard in range(shards + 1)]
    for low, high in itertools.pairwise(cuts):
        inside = (ends > low) & (starts < high)
        firsts = np.maximum(low - starts[inside], 0)
        yield episodes[inside], np.minimum(ends[inside], high) - starts[inside] - firsts, firsts


class SetOrder:
    """The windows of one data set in the order of each shard."""

    def __init__(
        self, episodes: np.ndarray, counts: np.ndarray, seed: int, block: int, shards: int = 1
    ) -> None:
        """Args: as of `EpochOrder`; a set of few blocks is cut into fewer shards than `shards`."""
        used = counts > 0
        episodes, counts = episodes[used], counts[used].astype(np.int64)
        fit = [n for n in range(1, shards + 1) if shards % n == 0 and n * block <= len(episodes)]
        self.size, self.shards, self.block = int(counts.sum()), max(fit, default=1), block
        self._sharers, self._seed = shards // self.shards, seed
        if self.shards == 1:
            self._orders = [EpochOrder(episodes, counts, seed, block)]
            return
        seeds = np.random.SeedSequence(seed).generate_state(self.shards)
        cut = shards_of(episodes, counts, self.shards, seed)
        self._orders = [
            EpochOrder(numbers, windows, int(shard_seed), block, firsts)
            for shard_seed, (numbers, windows, firsts) in zip(seeds, cut, strict=True)
        ]

    def __call__(self, shard: int, place: int) -> WindowIndex:
        """Return the window at a shard's `place`, counted over all epochs."""
        # Where a set has fewer shards than there are, several take its windows in turn.
        sharer, number = divmod(shard, self.shards)
        return self._orders[number](place * self._sharers + sharer)

    def instead(self, shard: int, place: int, attempt: int) -> WindowIndex:
        """Return a window of the shard for one that cannot be read; another each attempt."""
        size = max(1, self._orders[shard % self.shards].size // self._sharers)
        drawn = numpy_generator(_INSTEAD, self._seed, shard, place, attempt).integers(size)
        return self(shard, int(drawn))


class Mixture:
    """Which data set a place of a mixture belongs to, and which place of that set it is.

    Places come in periods of about 1,000. After any number of periods each set has had its share of
    them, rounded down or up to one; within a period the order is shuffled.
    """

    period = 1000

    def __init__(self, shares: Sequence[float], seed: int) -> None:
        """Args: `shares` of the sets, positive, of any sum. Raises `UserError`."""
        if not shares or min(shares) <= 0 or not np.isfinite(shares).all():
            raise UserError("the weights of a mixture must be positive numbers.")
        self.shares = np.asarray(shares, dtype=np.float64) / np.sum(shares)
        # Sets of small shares should not all come in the same periods.
        self._offsets = numpy_generator(_SETS, seed).random(len(shares))
        if len(shares) == 1:
            self._offsets[:] = 0.0
        self._seed = seed
        self._first, self._sets, self._places = 0, np.zeros(0, int), np.zeros(0, int)

    def __call__(self, place: int) -> tuple[int, int]:
        """Return the number of the set and the place in it."""
        if not 0 <= place - self._first < len(self._sets):
            self._shuffle_around(place)
        return int(self._sets[place - self._first]), int(self._places[place - self._first])

    def _shuffle_around(self, place: int) -> None:
        """Look up the sets of the period that holds `place`."""
        period = place // self.period
        while self._before(period).sum() > place:
            period -= 1
        while self._before(period + 1).sum() <= place:
            period += 1
        before, end = self._before(period), self._before(period + 1)
        self._first = int(before.sum())
        sets = np.repeat(np.arange(len(before)), end - before)
        self._sets = numpy_generator(_SETS, self._seed, period).permutation(sets)
        self._places = np.empty(len(sets), dtype=np.int64)
        for number in range(len(before)):
            self._places[self._sets == number] = np.arange(before[number], end[number])

    def _before(self, period: int) -> np.ndarray:
        """Return how many places of each set come before a period."""
        return np.floor(period * self.period * self.shares + self._offsets).astype(np.int64)


class BatchOrder:
    """The slots of the batch of each step, or of the rows of it that one of several ranks has."""

    def __init__(
        self,
        shares: Sequence[float],
        seed: int,
        size: int,
        shards: int,
        rank: int = 0,
        world: int = 1,
        parts: int = 1,
    ) -> None:
        """Args: `shares` of the sets, `size` windows a batch, of orders over `shards` shards.

        A batch consists of `parts` equal parts, each of another shard; rank r of `world` has the
        r-th of equally many successive rows. So a batch is the same for any number of ranks, and
        with as many parts as ranks each rank reads shards of its own. Raises `UserError` for bad
        shares or ranks, and where the rows do not divide.
        """
        if not 0 <= rank < world:
            raise UserError(f"rank {rank} is not one of {world}.")
        if size % world:
            raise UserError(
                f"data.use.batch_size={size} cannot be shared out among {world} processes: make "
                "it a multiple of that."
            )
        if parts < 1 or size % parts:
            raise UserError(
                f"data.source.parts={parts} must divide data.use.batch_size={size} evenly."
            )
        self._rows = range(rank * size // world, (rank + 1) * size // world)
        self._parts, self._part = parts, size // parts
        self._mixtures = [Mixture(shares, seed_of(_SETS, seed, shard)) for shard in range(shards)]
        self.shares = self._mixtures[0].shares

    def __call__(self, step: int) -> list[Slot]:
        slots = []
        for row in self._rows:
            part, within = divmod(row, self._part)
            turn, shard = divmod(step * self._parts + part, len(self._mixtures))
            slots.append(Slot(*self._mixtures[shard](turn * self._part + within), shard))
        return slots


def shards_of_a_process(shards: int, workers: int, parts: int = 1, world: int = 1) -> int:
    """Return how many shards one of `workers` processes of a rank sees, that make batches in turn.

    A rank has its share of the `parts` of each batch, at least one of them.
    """
    turns = shards // math.gcd(shards, max(workers, 1) * parts)
    return min(shards, turns * max(1, -(-parts // world)))
