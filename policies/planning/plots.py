"""A picture of a value."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


def draw(path: Path, truth: np.ndarray, read: np.ndarray) -> None:
    """Draw the steps left that are read beside the true ones, both `(n,)`."""
    figure = Figure(figsize=(4.4, 4.0), layout="constrained")
    axis = figure.subplots()
    axis.plot(truth, read, ".", ms=3, alpha=0.4)
    top = float(max(truth.max(), 1.0))
    axis.plot([0, top], [0, top], color="0.5", lw=0.8)
    axis.set(xlabel="control steps left", ylabel="read off the pictures", xlim=(0, top))
    axis.grid(alpha=0.25)
    figure.savefig(path, dpi=110)
