"""The values in tests/data/rlds, which follow from data set, episode, step and column."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent / "rlds"
INSTRUCTIONS = ("pick coke can", "", "place the apple → 上の引き出し, 너무 좋다 🤖")


def values(shape: tuple[int, ...], dtype: Any, *key: Any) -> Any:
    """Return numbers that follow from `key` alone."""
    generator = np.random.default_rng(zlib.crc32(repr(key).encode()))
    if np.issubdtype(dtype, np.bool_):
        return generator.integers(0, 2, shape).astype(bool)
    if np.issubdtype(dtype, np.integer):
        return generator.integers(0 if dtype == np.uint8 else -9, 10, shape).astype(dtype)
    return generator.normal(size=shape).astype(dtype)


def picture(height: int, width: int, channels: int, *key: Any) -> np.ndarray:
    """Return a smooth uint8 picture `(h, w, c)` with one edge that moves."""
    phase = zlib.crc32(repr(key).encode()) % 97
    y, x = np.mgrid[:height, :width]
    waves = [np.sin((x + 2 * y) / (9 + c) + phase + c) for c in range(channels)]
    image = 128 + 90 * np.stack(waves, axis=-1)
    image[y + x < phase] = 20
    return image.astype(np.uint8)
