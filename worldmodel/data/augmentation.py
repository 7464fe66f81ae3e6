"""Random changes to the pictures of a window, the same for all its frames, and to its words."""

from dataclasses import dataclass

import numpy as np

from experiment.errors import UserError
from worldmodel.data.windows import WindowBatch
from worldmodel.text.noise import noisy


@dataclass(frozen=True)
class Augmentation:
    """Shifts of up to `shift` pixels; `brightness` and `contrast` changes of up to these shares;
    `words`: the share of instructions whose words are noisy (`worldmodel.text.noise`).
    """

    shift: int = 3
    brightness: float = 0.1
    contrast: float = 0.15
    words: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.words <= 1:
            raise UserError(f"data.use.augmentation.words={self.words}: give a share in [0, 1].")
        if self.shift < 0 or not (0 <= self.brightness < 1 and 0 <= self.contrast < 1):
            raise UserError(
                "data.augmentation: shift must not be negative, brightness and contrast in [0, 1)."
            )

    def __call__(
        self, windows: WindowBatch, generator: np.random.Generator, rank: int = 0, world: int = 1
    ) -> None:
        """Change pictures and instructions of the windows in place; where pictures shift, their
        edge is repeated.

        The windows are the `rank`-th of `world` equal shares of a batch, for all of which numbers
        are drawn: the changes are those of the batch as a whole.
        """
        all_of = [windows.frame.numpy(), windows.future.numpy()]
        if windows.start is not None:
            all_of.append(windows.start.numpy())
        if windows.past is not None:
            all_of.append(windows.past.numpy())
        count, height, width, _ = windows.frame.shape
        own = slice(rank * count, (rank + 1) * count)
        shifts = generator.integers(-self.shift, self.shift + 1, size=(count * world, 2))[own]
        tables = self._tables(count * world, generator)[own]
        for of_window, (down, right), table in zip(
            zip(*all_of, strict=True), shifts.tolist(), tables, strict=True
        ):
            for pictures in of_window:
                # Many times faster than an index array for each of three changes.
                changed = pictures.tobytes().translate(table.tobytes())
                moved = np.frombuffer(changed, np.uint8).reshape(pictures.shape)
                moved = moved.take(np.clip(np.arange(height) + down, 0, height - 1), axis=-3)
                _move(moved, min(max(right, 1 - width), width - 1), pictures)
        if self.words:  # drawn last: the pictures are those that come without
            chosen = generator.random(count * world)[own] < self.words
            seeds = generator.integers(2**63, size=count * world)[own]
            for row in np.flatnonzero(chosen):
                noise = np.random.default_rng(seeds[row])
                windows.instructions[row] = noisy(windows.instructions[row], noise)

    def _tables(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Return uint8 `(count, 256)`: the new level of each level."""
        slope = 1 + generator.uniform(-self.contrast, self.contrast, size=(count, 1))
        offset = 255 * generator.uniform(-self.brightness, self.brightness, size=(count, 1))
        levels = 127.5 + slope * (np.arange(256) - 127.5) + offset
        return levels.round().clip(0, 255).astype(np.uint8)


def _move(pictures: np.ndarray, right: int, out: np.ndarray) -> None:
    """Fill `out` with what lies `right` columns beside; pictures `(..., h, w, 3)`."""
    if right >= 0:
        edge = pictures.shape[-2] - right
        out[..., :edge, :] = pictures[..., right:, :]
        out[..., edge:, :] = pictures[..., -1:, :]
    else:
        out[..., -right:, :] = pictures[..., :right, :]
        out[..., :-right, :] = pictures[..., :1, :]
