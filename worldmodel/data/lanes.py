"""Which windows make up the batch of a step, rank by rank.

Steps take turns over lanes, and every lane owns a part of each data set. A process that makes every
n-th batch, n a divisor of the number of lanes, so reads the records of its own lanes alone; which
process makes a batch changes nothing about it.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from experiment.errors import UserError
from experiment.seeding import numpy_generator
from worldmodel.data.order import BlockOrder, MixtureOrder, Place

_PARTS = 16


class Slot(NamedTuple):
    """Where a window of a batch comes from: number of the set, lane, place within the lane."""

    number: int
    lane: int
    place: int


def shared_out(
    episodes: np.ndarray, counts: np.ndarray, parts: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield episodes, windows of each and the first of them, for parts of equally many windows.

    Parts hold all windows between them and none twice; only an episode at a border is in two.
    """
    order = numpy_generator(_PARTS, seed).permutation(len(episodes))
    episodes, ends = episodes[order], np.cumsum(counts[order])
    starts = ends - counts[order]
    cuts = [int(ends[-1]) * part // parts for part in range(parts + 1)]
    for low, high in itertools.pairwise(cuts):
        mine = (ends > low) & (starts < high)
        firsts = np.maximum(low - starts[mine], 0)
        yield episodes[mine], np.minimum(ends[mine], high) - starts[mine] - firsts, firsts


class SetOrder:
    """The windows of one data set in the order of each lane."""

    def __init__(
        self, episodes: np.ndarray, counts: np.ndarray, seed: int, block: int, lanes: int = 1
    ) -> None:
        """Args: as of `BlockOrder`; a set of few blocks has fewer parts than there are lanes."""
        used = counts > 0
        episodes, counts = episodes[used], counts[used].astype(np.int64)
        fit = [n for n in range(1, lanes + 1) if lanes % n == 0 and n * block <= len(episodes)]
        self.parts, self.block = max(fit, default=1), block
        self._sharers = lanes // self.parts
        if self.parts == 1:
            self._orders = [BlockOrder(episodes, counts, seed, block)]
            return
        seeds = np.random.SeedSequence(seed).generate_state(self.parts)
        shared = shared_out(episodes, counts, self.parts, seed)
        self._orders = [
            BlockOrder(mine, windows, int(own), block, firsts)
            for own, (mine, windows, firsts) in zip(seeds, shared, strict=True)
        ]

    def __call__(self, lane: int, place: int) -> Place:
        """Return the window at a lane's `place`, counted over all epochs."""
        # Lanes that share a part take its places in turn.
        sharer, part = divmod(lane, self.parts)
        return self._orders[part](place * self._sharers + sharer)

    def another(self, lane: int, key: tuple[int, ...]) -> int:
        """Return a place of the lane drawn by `key`, for a window that cannot be read."""
        size = self._orders[lane % self.parts].size
        return int(numpy_generator(*key).integers(max(1, size // self._sharers)))


class BatchOrder:
    """The windows of each step of one rank."""

    def __init__(
        self,
        shares: Sequence[float],
        seed: int,
        size: int,
        lanes: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Args: `size` windows a batch; `lanes` of each of the `world` ranks.

        `shares` are those of the sets, which are orders over `lanes * world` lanes. Raises
        `UserError` for bad shares or ranks.
        """
        if not 0 <= rank < world:
            raise UserError(f"rank {rank} is not one of {world}.")
        self._size = size
        self._mine = [lane * world + rank for lane in range(lanes)]
        seeds = np.random.SeedSequence(seed).generate_state(lanes * world)
        self._mixtures = [MixtureOrder(shares, int(seeds[lane])) for lane in self._mine]
        self.counts = self._mixtures[0].counts

    def __call__(self, step: int) -> list[Slot]:
        """Return the slots of the batch of `step`."""
        turn, lane = divmod(step, len(self._mine))
        places = range(turn * self._size, (turn + 1) * self._size)
        mixture, own = self._mixtures[lane], self._mine[lane]
        return [Slot(number, own, place) for number, place in (mixture(place) for place in places)]


def lanes_of_a_process(lanes: int, workers: int) -> int:
    """Return how many lanes one of `workers` processes sees that make batches in turn."""
    return lanes // math.gcd(lanes, max(workers, 1))
