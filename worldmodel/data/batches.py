"""Batches of windows, in an order that follows from the seed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from experiment.errors import UserError
from experiment.seeding import numpy_generator
from worldmodel.data.augmentation import Augmentation
from worldmodel.data.trajectories import Trajectories, cut
from worldmodel.data.windows import WindowBatch, WindowConfig

_ORDER, _AUGMENTATION = 1, 2


class Order:
    """Which windows make up the batch of a step: each once an epoch, a function of (seed, step)."""

    def __init__(self, indices: np.ndarray, batch_size: int, seed: int) -> None:
        self._indices, self._size, self._seed = indices, batch_size, seed
        self._shuffled: dict[int, np.ndarray] = {}

    def __call__(self, step: int) -> np.ndarray:
        """Return `(batch_size,)` frame numbers."""
        places = step * self._size + np.arange(self._size)
        epochs, places = np.divmod(places, len(self._indices))
        wanted = set(epochs.tolist())
        self._shuffled = {epoch: self._epoch(epoch) for epoch in wanted}
        return np.asarray(
            [self._shuffled[e][p] for e, p in zip(epochs.tolist(), places.tolist(), strict=True)]
        )

    def _epoch(self, epoch: int) -> np.ndarray:
        if epoch in self._shuffled:
            return self._shuffled[epoch]
        return numpy_generator(_ORDER, self._seed, epoch).permutation(self._indices)


@dataclass(frozen=True)
class Batches:
    """The training windows of each step: ordered, cut, augmented."""

    trajectories: Trajectories
    order: Order
    windows: WindowConfig
    augmentation: Augmentation | None
    seed: int

    def __call__(self, step: int) -> WindowBatch:
        """Return the windows of `step`."""
        windows = cut(self.trajectories, self.order(step), self.windows)
        if self.augmentation is not None:
            windows = self.augmentation(windows, numpy_generator(_AUGMENTATION, self.seed, step))
        return windows


@dataclass(frozen=True)
class DataConfig:
    """How a data set is used: what a window is, how pictures are changed, what is held out.

    pad: whether windows may run beyond the end of an episode (what lies there is masked).
    """

    batch_size: int = 64
    held_out: float = 0.03
    pad: bool = False
    windows: WindowConfig = field(default_factory=WindowConfig)
    augmentation: Augmentation | None = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.batch_size < 1 or not 0 <= self.held_out < 1:
            raise UserError("data: batch_size must be at least 1 and held_out in [0, 1).")


def usable(
    trajectories: Trajectories, episodes: Sequence[int] | np.ndarray, reach: int
) -> np.ndarray:
    """Return the frames of `episodes` with `reach` frames after them; at least one."""
    indices = trajectories.frames_of(np.asarray(episodes), reach)
    if not len(indices):
        raise UserError(
            f"no episode of {trajectories.source} is longer than {reach} frames: "
            "shorten data.windows.future or collect other episodes."
        )
    return indices
