"""Scores by layer as in Fig. 4b of the paper, a panel for each target and time."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiment.files import write_bytes
from worldmodel.probes.scores import Curve

_PANEL = (2.7, 2.1)


def draw(path: Path, curves: Mapping[str, Sequence[Curve]], count: int, splits: int) -> None:
    """Draw the curves of each model by its name; rows are times, columns targets.

    `count` windows and `splits` are told below the picture.
    """
    every = [curve for several in curves.values() for curve in several]
    times = list(dict.fromkeys(curve.time for curve in every))
    targets = list(dict.fromkeys(curve.target for curve in every))
    figure = Figure(
        figsize=(_PANEL[0] * len(targets) + 0.6, _PANEL[1] * len(times) + 0.9),
        layout="constrained",
    )
    axes = figure.subplots(len(times), len(targets), squeeze=False, sharex=True)
    for number, (name, several) in enumerate(curves.items()):
        for curve in several:
            axis = axes[times.index(curve.time)][targets.index(curve.target)]
            layers, mean, spread = np.asarray(curve.layers), curve.mean, curve.spread
            colour = f"C{number}"
            axis.plot(layers, mean, "o-", ms=3, color=colour, label=name)
            axis.fill_between(layers, mean - spread, mean + spread, color=colour, alpha=0.18)
            axis.axhline(mean[0], color=colour, lw=0.8, ls=":")
            axis.axhline(np.nanmean(curve.chance), color="0.5", lw=0.8, ls="--")
            axis.set_ylabel(curve.measure, fontsize=8)
    for axis, target in zip(axes[0], targets, strict=True):
        axis.set_title(target, fontsize=8)
    for row, time in zip(axes, times, strict=True):
        for axis in row:
            axis.tick_params(labelsize=7)
            axis.grid(alpha=0.25)
            low, high = axis.get_ylim()
            axis.set_ylim(max(low, -0.25), min(max(high, 0.1), 1.03))
        seen = "clean" if time == 0 else f"time {time:g}"
        row[0].annotate(
            f"video {seen}", (-0.42, 0.5), xycoords="axes fraction", rotation=90,
            va="center", ha="right", fontsize=9, weight="bold",
        )  # fmt: skip
    for axis in axes[-1]:
        axis.set_xlabel("layer (0: what goes in)", fontsize=8)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=8)
    figure.supxlabel(
        f"{count} windows, {splits} splits by episode: mean and 95 % range; dotted: layer 0; "
        "dashed: shuffled targets",
        fontsize=8,
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_bytes(path, buffer.getvalue())
