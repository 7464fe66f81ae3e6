"""Entry point: look at a data set before spending hours on it.

    python -m worldmodel.data.inspect data=fractal data.root=/folder

Prints counts, lengths, rates and the range of every action dimension, and writes to a folder
`actions.png` (histograms), `contact_sheet.png` (random windows with their instruction and actions)
and `statistics.json`.
"""

import io
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Column, Table

from experiment.command import command
from experiment.errors import UserError
from experiment.files import write_bytes
from experiment.settings import build
from worldmodel.data.encoded import TokenReader
from worldmodel.data.reader import DataConfig, WindowReader
from worldmodel.data.source import DataSource, Source
from worldmodel.data.statistics import BINS, Statistics, statistics, statistics_of
from worldmodel.data.windows import WindowBatch
from worldmodel.tokenizer import Tokenizer

DIMENSIONS = ("x (m)", "y (m)", "z (m)", "rot x (rad)", "rot y (rad)", "rot z (rad)", "gripper")


@dataclass(frozen=True)
class Facts:
    """What `inspect` reports about one data set."""

    name: str
    source: str
    robot: str
    rate: str
    frame_rate: str
    share: float
    statistics: Statistics


def facts_of(reader: WindowReader, source: DataSource) -> list[Facts]:
    """Return the facts of each set, its statistics measured or from the cache."""
    cache = Path(source.cache or ".cache")
    return [
        Facts(
            data.name,
            data.source,
            data.adapter.robot or "-",
            "-" if data.rate is None else f"{data.rate:g}",
            "-" if data.rate is None else f"{data.rate / data.stride:g}",
            float(share),
            statistics([data], cache, source.skips),
        )
        for data, share in zip(reader.sets, reader.shares, strict=True)
    ]


def facts_of_tokens(reader: TokenReader) -> list[Facts]:
    """Return the facts of encoded windows: of each the first action; files count as episodes."""
    shards = [reader.shard(number) for number in range(len(reader.files))]
    actions = [shard.tensors["action"][:, 0].numpy() for shard in shards]
    states = [shard.tensors["state"].numpy() for shard in shards]
    texts = {text for shard in shards for text in shard.instructions}
    measured = statistics_of(actions, states, texts, [])
    return [Facts("tokens", str(reader.root), "-", "-", "-", 1.0, measured)]


def table(facts: Sequence[Facts]) -> Table:
    """Return one row a data set and the shares of a mixture."""
    rest = ("robot", "episodes", "steps", "steps/episode", "Hz", "frames/s", "share")
    shown = Table(Column("data set", no_wrap=True), *rest)
    for each in facts:
        measured = each.statistics
        shortest, _, median, _, longest = measured.lengths
        shown.add_row(
            each.name,
            each.robot,
            f"{measured.episodes:,}",
            f"{measured.steps:,}",
            f"{median:.0f} ({shortest:.0f} to {longest:.0f})",
            each.rate,
            each.frame_rate,
            f"{each.share:.1%}",
        )
    return shown


def ranges(measured: Statistics) -> Table:
    """Return the quantiles and extremes of each action dimension."""
    shown = Table("action", "least", "1 %", "99 %", "greatest")
    low, high = measured.normalisation.low, measured.normalisation.high
    for number, extremes in enumerate(measured.extremes):
        inner = (low[number], high[number]) if number < 6 else (np.nan, np.nan)
        values = (extremes[0], *inner, extremes[1])
        shown.add_row(DIMENSIONS[number], *("-" if np.isnan(v) else f"{v:.4g}" for v in values))
    return shown


def save(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # An instruction may be in any script; what the font lacks becomes a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=100)
    write_bytes(path, buffer.getvalue())


def histograms(facts: Sequence[Facts], path: Path) -> None:
    """Draw how often each value of each action dimension occurs; one row a data set."""
    figure = Figure(figsize=(14, 2.2 * len(facts) + 0.4), layout="constrained")
    axes = figure.subplots(len(facts), 7, squeeze=False)
    for row, each in zip(axes, facts, strict=True):
        measured = each.statistics
        for axis, title, counts, (low, high) in zip(
            row, DIMENSIONS, measured.histogram, measured.edges, strict=True
        ):
            middles = low + (np.arange(BINS) + 0.5) * (high - low) / BINS
            axis.bar(middles, np.asarray(counts) / measured.steps, (high - low) / BINS)
            axis.set_title(title, fontsize=8)
            axis.set_yscale("log")
            axis.tick_params(labelsize=6)
        row[0].set_ylabel(each.name[:24], fontsize=7)
    save(figure, path)


def contact_sheet(windows: WindowBatch, future: Sequence[int], path: Path) -> None:
    """Draw a row a window: the frames, and the actions that lead through them."""
    frames, futures = windows.frame.numpy(), windows.future.numpy()
    count, columns = len(frames), 2 + futures.shape[1]
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
        for dimension in range(windows.action.shape[2]):
            scale = 10.0 if dimension < 3 else 1.0
            values = windows.action[i, :, dimension].where(windows.action_valid[i], torch.nan)
            row[-1].plot(values * scale, color=colours(dimension), label=DIMENSIONS[dimension])
        row[-1].set_xlim(-0.3, windows.action.shape[1] - 0.7)
        row[-1].set_ylim(-1.6, 1.6)
        row[-1].tick_params(labelsize=6)
        row[-1].set_title("actions (translation in dm)", fontsize=7)
    if windows.action.shape[2]:
        axes[0][-1].legend(fontsize=4, ncol=2)
    save(figure, path)


@command("inspect", __doc__)
def main(config: DictConfig) -> None:
    source: Source = build(config.data.source)
    use = build(config.data.use, DataConfig)
    if config.shown.windows < 1:
        raise UserError("shown.windows must be at least 1.")
    tokenizer = build(config.tokenizer, Tokenizer)  # type: ignore[type-abstract]
    reader: Any
    if isinstance(source, DataSource):
        reader = source.window_reader(source.open(use, tokenizer.picture), use, config.seed)
        facts = facts_of(reader, source)
    else:
        reader = source.reader(use, tokenizer, config.seed)
        facts = facts_of_tokens(reader)
    # A file or a pipe has no width of its own.
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(table(facts))
    out = Path(config.out or "runs/inspect")
    listed = {each.name: each.statistics.section() for each in facts}
    settings = {"windows": asdict(use.windows), "seed": config.seed, "data": reader.source}
    windows = reader.examples(config.shown.windows)
    write_bytes(out / "statistics.json", json.dumps(settings | {"sets": listed}, indent=1).encode())
    contact_sheet(windows, use.windows.future, out / "contact_sheet.png")
    files = ["statistics.json", "contact_sheet.png"]
    for each in facts:
        console.print(f"{each.name}: {each.source}", highlight=False)
        if each.statistics.extremes:
            console.print(ranges(each.statistics))
        else:
            console.print("  video only: no adapter says what its actions mean", highlight=False)
        for reason in each.statistics.damaged[:5]:
            console.print(f"  not readable: {reason}", highlight=False)
    with_actions = [each for each in facts if each.statistics.extremes]
    if with_actions:
        histograms(with_actions, out / "actions.png")
        files.append("actions.png")
    console.print(f"{out}: {', '.join(files)}", highlight=False)


if __name__ == "__main__":
    main()
