"""Pictures of episodes that were decoded and resized once, while memory allows."""

from collections.abc import Iterable

import numpy as np


class Memory:
    """Bytes that are left for pictures; the data sets of a process share one."""

    def __init__(self, size: int) -> None:
        self.free = size

    def take(self, size: int) -> bool:
        """Take `size` bytes, if they are left."""
        if size > self.free:
            return False
        self.free -= size
        return True


class Frames:
    """Pictures uint8 `(h, w, 3)` of one episode by step; `release` gives their memory back."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self._taken = memory, 0
        self._pictures: dict[int, np.ndarray] = {}

    def put(self, steps: Iterable[int], pictures: np.ndarray) -> dict[int, np.ndarray]:
        """Return the pictures `(n, h, w, 3)` of `steps` by step; keep them while there is room."""
        found = dict(zip(steps, pictures, strict=True))
        if found and self._memory.take(pictures.nbytes):
            self._taken += pictures.nbytes
            self._pictures |= found
        return found

    def get(self, steps: Iterable[int]) -> dict[int, np.ndarray]:
        """Return the pictures of those of `steps` that are kept."""
        return {step: self._pictures[step] for step in steps if step in self._pictures}

    def release(self) -> None:
        """Forget the pictures."""
        self._memory.free += self._taken
        self._pictures, self._taken = {}, 0
