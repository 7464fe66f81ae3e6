"""Which window comes when: a function of (seed, place) alone, whoever asks and from wherever.

Every window comes once an epoch. Episodes are shuffled and taken in blocks; within a block the
windows of all its episodes are shuffled together. So a reader keeps one block of records at hand
and reads each record once an epoch, and any place can be found without going through those before.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiment.errors import UserError
from experiment.seeding import numpy_generator

_EPISODES, _WINDOWS, _SOURCES = 11, 12, 13


class Place(NamedTuple):
    """Where a window begins: episode number and step."""

    episode: int
    step: int


class BlockOrder:
    """The order of the windows of one data set."""

    def __init__(
        self,
        episodes: np.ndarray,
        counts: np.ndarray,
        seed: int,
        block: int,
        firsts: np.ndarray | None = None,
    ) -> None:
        """Args: `episodes` `(n,)` numbers, `counts` `(n,)` windows of each; `block` episodes;
        `firsts` `(n,)` the step of the first window of each, 0 if it is not said."""
        used = counts > 0
        self._episodes, self._counts = episodes[used], counts[used].astype(np.int64)
        self._firsts = np.zeros_like(self._counts) if firsts is None else firsts[used]
        self._seed, self._block = seed, block
        self.size = int(self._counts.sum())
        self._epoch: tuple[int, np.ndarray, np.ndarray] | None = None
        self._windows: tuple[tuple[int, int], np.ndarray] | None = None

    def __call__(self, place: int) -> Place:
        """Return the window at `place`, counted over all epochs."""
        epoch, within = divmod(place, self.size)
        shuffled, ends = self._shuffled(epoch)
        block = int(np.searchsorted(ends, within, side="right"))
        members = shuffled[block * self._block : (block + 1) * self._block]
        first = int(ends[block - 1]) if block else 0
        number = int(self._permutation(epoch, block, int(ends[block]) - first)[within - first])
        bounds = np.cumsum(self._counts[members])
        row = int(np.searchsorted(bounds, number, side="right"))
        step = number - (int(bounds[row - 1]) if row else 0) + int(self._firsts[members[row]])
        return Place(int(self._episodes[members[row]]), step)

    def _shuffled(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the order of the episodes and the windows up to the end of each block."""
        if self._epoch is None or self._epoch[0] != epoch:
            generator = numpy_generator(_EPISODES, self._seed, epoch)
            order = generator.permutation(len(self._episodes))
            starts = np.arange(0, len(order), self._block)
            ends = np.cumsum(np.add.reduceat(self._counts[order], starts))
            self._epoch = (epoch, order, ends)
        return self._epoch[1], self._epoch[2]

    def _permutation(self, epoch: int, block: int, count: int) -> np.ndarray:
        if self._windows is None or self._windows[0] != (epoch, block):
            generator = numpy_generator(_WINDOWS, self._seed, epoch, block)
            self._windows = ((epoch, block), generator.permutation(count))
        return self._windows[1]


class MixtureOrder:
    """Which data set a place of a mixture belongs to, and which place of that set it is.

    Every `period` places hold each set's share exactly (rounded to one place), in an order shuffled
    anew each period; so shares hold over any stretch and need no counting from the beginning.
    """

    period = 1000

    def __init__(self, shares: Sequence[float], seed: int) -> None:
        """Args: `shares` of the sets, positive, of any sum."""
        if not shares or min(shares) <= 0 or not np.isfinite(shares).all():
            raise UserError("the weights of a mixture must be positive numbers.")
        exact = np.asarray(shares, dtype=np.float64) / np.sum(shares) * self.period
        self.counts = np.maximum(np.floor(exact).astype(np.int64), 1)
        while self.counts.sum() < self.period:  # largest remainders first
            self.counts[np.argmax(exact - self.counts)] += 1
        while self.counts.sum() > self.period:
            self.counts[np.argmax(self.counts - exact)] -= 1
        self._seed = seed
        self._pattern: tuple[int, np.ndarray, np.ndarray] | None = None

    def __call__(self, place: int) -> tuple[int, int]:
        """Return the number of the set and the place in it."""
        period, within = divmod(place, self.period)
        if self._pattern is None or self._pattern[0] != period:
            sets = np.repeat(np.arange(len(self.counts)), self.counts)
            sets = numpy_generator(_SOURCES, self._seed, period).permutation(sets)
            earlier = np.zeros(self.period, dtype=np.int64)
            for number in range(len(self.counts)):
                mine = sets == number
                earlier[mine] = np.arange(mine.sum())
            self._pattern = (period, sets, earlier)
        _, sets, earlier = self._pattern
        number = int(sets[within])
        return number, period * int(self.counts[number]) + int(earlier[within])
