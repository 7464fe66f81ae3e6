"""A data set in tables and pictures: what a person looks at before training on it."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from rich.table import Column, Table

from experiment.errors import UserError
from experiment.files import write_bytes
from worldmodel.data.reader import StreamReader
from worldmodel.data.statistics import BINS, Statistics
from worldmodel.data.windows import WindowBatch

DIMENSIONS = ("x (m)", "y (m)", "z (m)", "rot x (rad)", "rot y (rad)", "rot z (rad)", "gripper")


@dataclass(frozen=True)
class Shown:
    """How much is shown: `windows` on the contact sheet."""

    windows: int = 8

    def __post_init__(self) -> None:
        if self.windows < 1:
            raise UserError("shown.windows must be at least 1.")


def table(reader: StreamReader, found: Sequence[Statistics]) -> Table:
    """Return one row a data set and the shares of a mixture."""
    rest = ("robot", "episodes", "steps", "steps/episode", "Hz", "frames/s", "share")
    shown = Table(Column("data set", no_wrap=True), *rest)
    for number, (data, facts) in enumerate(zip(reader.sets, found, strict=True)):
        shortest, _, median, _, longest = facts.lengths
        share = reader.shares[number] / reader.shares.sum()
        shown.add_row(
            data.name,
            data.adapter.robot,
            f"{facts.episodes:,}",
            f"{facts.steps:,}",
            f"{median:.0f} ({shortest:.0f} to {longest:.0f})",
            f"{data.adapter.rate:g}",
            f"{data.adapter.rate / data.stride:g}",
            f"{share:.1%}",
        )
    return shown


def ranges(facts: Statistics) -> Table:
    """Return the quantiles and extremes of each action dimension."""
    shown = Table("action", "least", "1 %", "99 %", "greatest")
    low, high = facts.normalisation.low, facts.normalisation.high
    for number, (name, extremes) in enumerate(zip(DIMENSIONS, facts.extremes, strict=True)):
        inner = (low[number], high[number]) if number < 6 else (np.nan, np.nan)
        values = (extremes[0], *inner, extremes[1])
        shown.add_row(name, *("-" if np.isnan(v) else f"{v:.4g}" for v in values))
    return shown


def save(figure: Figure, path: Path) -> None:
    """Write a picture in one stroke."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # An instruction may be in any script; what the font lacks becomes a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=100)
    write_bytes(path, buffer.getvalue())


def histograms(names: Sequence[str], found: Sequence[Statistics], path: Path) -> None:
    """Draw how often each value of each action dimension occurs; one row a data set."""
    figure = Figure(figsize=(14, 2.2 * len(found) + 0.4), layout="constrained")
    axes = figure.subplots(len(found), 7, squeeze=False)
    for row, name, facts in zip(axes, names, found, strict=True):
        for axis, title, counts, (low, high) in zip(
            row, DIMENSIONS, facts.histogram, facts.edges, strict=True
        ):
            middles = low + (np.arange(BINS) + 0.5) * (high - low) / BINS
            axis.bar(middles, np.asarray(counts) / facts.steps, (high - low) / BINS)
            axis.set_title(title, fontsize=8)
            axis.set_yscale("log")
            axis.tick_params(labelsize=6)
        row[0].set_ylabel(name[:24], fontsize=7)
    save(figure, path)


def contact_sheet(windows: WindowBatch, future: Sequence[int], path: Path) -> None:
    """Draw a row a window: the frames, and the actions that lead through them."""
    frames, futures = windows.frame.numpy(), windows.future.numpy()
    count, columns = len(windows.frame), 2 + windows.future.shape[1]
    figure = Figure(figsize=(1.9 * (columns + 1), 1.9 * count), layout="constrained")
    axes = figure.subplots(count, columns, squeeze=False)
    colours = mpl.colormaps["tab10"]
    for i, row in enumerate(axes):
        pictures = [frames[i], *futures[i]]
        valid = [True, *windows.future_valid[i].tolist()]
        for axis, picture, inside, distance in zip(
            row[:-1], pictures, valid, (0, *future), strict=True
        ):
            axis.imshow(picture if inside else picture // 4)
            if distance:  # above the first stands the instruction
                axis.set_title(f"+{distance}" if inside else "after the end", fontsize=7)
            axis.axis("off")
        text = windows.instructions[i] or "(no instruction)"
        row[0].set_title(text[:60], fontsize=7, loc="left")
        for dimension, name in enumerate(DIMENSIONS):
            scale = 10.0 if dimension < 3 else 1.0
            values = np.where(
                windows.action_valid[i].numpy(), windows.action[i, :, dimension], np.nan
            )
            row[-1].plot(values * scale, color=colours(dimension), label=name)
        row[-1].set_xlim(-0.3, windows.action.shape[1] - 0.7)
        row[-1].set_ylim(-1.6, 1.6)
        row[-1].tick_params(labelsize=6)
        row[-1].set_title("actions (translation in dm)", fontsize=7)
    axes[0][-1].legend(fontsize=4, ncol=2)
    save(figure, path)
