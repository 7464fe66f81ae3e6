"""Random changes to the pictures of a window, the same for all its frames."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from experiment.errors import UserError
from worldmodel.data.windows import WindowBatch


@dataclass(frozen=True)
class Augmentation:
    """Shifts of up to `shift` pixels; `brightness` and `contrast` changes of up to these shares."""

    shift: int = 3
    brightness: float = 0.1
    contrast: float = 0.15

    def __post_init__(self) -> None:
        if self.shift < 0 or not (0 <= self.brightness < 1 and 0 <= self.contrast < 1):
            raise UserError(
                "data.augmentation: shift must not be negative, brightness and contrast in [0, 1)."
            )

    def __call__(self, windows: WindowBatch, generator: np.random.Generator) -> WindowBatch:
        """Return the windows with changed pictures; the edge is repeated where they shift."""
        count, height, width, _ = windows.frame.shape
        shifts = generator.integers(-self.shift, self.shift + 1, size=(count, 2))
        tables = self._tables(count, generator)
        before = windows.frame.numpy(), windows.future.numpy()
        frames, futures = np.empty_like(before[0]), np.empty_like(before[1])
        for i, ((down, right), table) in enumerate(zip(shifts, tables, strict=True)):
            rows = np.clip(np.arange(height) + down, 0, height - 1)
            columns = np.clip(np.arange(width) + right, 0, width - 1)
            frames[i] = table[before[0][i][rows[:, None], columns]]
            futures[i] = table[before[1][i][:, rows[:, None], columns]]
        return replace(windows, frame=torch.from_numpy(frames), future=torch.from_numpy(futures))

    def _tables(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Return uint8 `(count, 256)`: the new level of each level."""
        slope = 1 + generator.uniform(-self.contrast, self.contrast, size=(count, 1))
        offset = 255 * generator.uniform(-self.brightness, self.brightness, size=(count, 1))
        levels = 127.5 + slope * (np.arange(256) - 127.5) + offset
        return levels.round().clip(0, 255).astype(np.uint8)
