"""The statistics that LeRobot keeps of every feature, per episode and for the whole data set."""

from collections.abc import Mapping
from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
"""LeRobot's names for the quantiles it keeps."""

Statistics = dict[str, Any]
"""`min max mean std q01 q10 q50 q90 q99` as nested lists in the feature's shape, `count` `[n]`."""


def of_values(values: np.ndarray) -> Statistics:
    """Return the statistics of `values` `(t, d)`; flags count as 0 and 1."""
    numbers = np.asarray(values, dtype=np.float64)
    statistics = {
        "min": numbers.min(0),
        "max": numbers.max(0),
        "mean": numbers.mean(0),
        "std": numbers.std(0),
        **{name: np.quantile(numbers, q, axis=0) for name, q in QUANTILES.items()},
    }
    return {name: value.tolist() for name, value in statistics.items()} | {"count": [len(numbers)]}


def count_levels(frames: np.ndarray) -> np.ndarray:
    """Count how often each of the 256 levels occurs in frames `(t, h, w, c)`: int64 `(c, 256)`.

    Counts of episodes add up, so the statistics of all pictures are exact without keeping them.
    """
    channels = range(frames.shape[-1])
    return np.stack([np.bincount(frames[..., c].ravel(), minlength=256) for c in channels])


def of_levels(counts: np.ndarray, frames: int) -> Statistics:
    """Return the statistics of pictures from their level counts `(c, 256)`, as `(c, 1, 1)` lists.

    Levels are given in [0, 1], as LeRobot has them; `frames` is the number of pictures.
    """
    levels = np.arange(256) / 255.0
    total = counts.sum(1)
    cumulative = counts.cumsum(1)
    mean = counts @ levels / total
    statistics = {
        "min": levels[(counts > 0).argmax(1)],
        "max": levels[255 - (counts[:, ::-1] > 0).argmax(1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(counts @ levels**2 / total - mean**2, 0.0)),
        **{
            name: levels[(cumulative >= q * total[:, None]).argmax(1)]
            for name, q in QUANTILES.items()
        },
    }
    shaped: Statistics = {name: value[:, None, None].tolist() for name, value in statistics.items()}
    return shaped | {"count": [frames]}


def as_columns(statistics: Mapping[str, Statistics]) -> dict[str, Any]:
    """Flatten to the `stats/feature/name` columns of LeRobot's table of episodes."""
    return {
        f"stats/{feature}/{name}": value
        for feature, values in statistics.items()
        for name, value in values.items()
    }
