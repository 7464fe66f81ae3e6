"""Figures: error against horizon, the effect of actions, inverse dynamics."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiment.files import write_bytes
from worldmodel.imagination.errors import Counterfactuals, psnr
from worldmodel.imagination.inverse import DIMENSIONS, UNITS, ActionErrors
from worldmodel.imagination.noise_levels import NoiseLevel

_COLOURS = {
    "frame and actions": "C0",
    "frame alone": "C1",
    "actions of another clip": "C3",
    "nothing moves": "0.5",
}


def save(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_bytes(path, buffer.getvalue())


def horizon(
    path: Path,
    times: Sequence[int],
    errors: Mapping[str, np.ndarray],
    window: int,
    rate: float | None,
) -> None:
    """Draw error against horizon, `errors` `(clips, t)` by what was dreamed from.

    `window` are the control steps after which a dream goes on from its own last frame.
    """
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, values in errors.items():
        colour = _COLOURS.get(name)
        mean, spread = values.mean(0), 1.96 * values.std(0) / max(len(values), 1) ** 0.5
        left.plot(times, 1e3 * mean, "o-", ms=3, color=colour, label=name)
        left.fill_between(
            times, 1e3 * (mean - spread), 1e3 * (mean + spread), color=colour, alpha=0.15
        )
        right.plot(times, psnr(mean), "o-", ms=3, color=colour, label=name)
    left.set_ylabel("mean squared error x 1000 (pixels in [0, 1])")
    right.set_ylabel("PSNR of the mean error (dB)")
    left.set_ylim(bottom=0)
    for axis in (left, right):
        axis.set_xlabel("horizon (control steps)" + (f", {rate:g} a second" if rate else ""))
        for edge in range(window, max(times), window):
            axis.axvline(edge, color="0.85", lw=0.8, zorder=0)
        axis.grid(alpha=0.25)
    left.legend(fontsize=8, title="dreamed from", title_fontsize=8)
    count = len(next(iter(errors.values())))
    figure.suptitle(
        f"{count} clips, mean and 95 % interval; grey lines: it goes on from its own last frame",
        fontsize=9,
    )
    save(figure, path)


def effect_of_actions(
    path: Path, bars: Mapping[str, float], found: Counterfactuals | None, words: Sequence[str]
) -> None:
    """Draw errors by which actions a dream was given; and dreams against the truths of others."""
    columns = 1 if found is None else 2
    figure = Figure(figsize=(5.2 * columns, 4.4), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    names = list(bars)
    axes[0].bar(
        range(len(names)),
        [1e3 * bars[name] for name in names],
        color=[_COLOURS.get(name, "C2") for name in names],
    )
    axes[0].set_xticks(range(len(names)), [n.replace(" ", "\n", 1) for n in names], fontsize=8)
    axes[0].set_ylabel("mean squared error x 1000 (pixels in [0, 1])")
    axes[0].set_title("demonstrations: dreamed from", fontsize=9)
    axes[0].grid(axis="y", alpha=0.25)
    if found is not None:
        _matrix(axes[1], found)
    figure.suptitle("\n".join(words), fontsize=9)
    save(figure, path)


def _matrix(axis: object, found: Counterfactuals) -> None:
    table = 1e3 * np.nanmean(found.errors, axis=0)
    axis.imshow(table, cmap="viridis_r")  # type: ignore[attr-defined]
    kinds = range(len(found.kinds))
    middle = (np.nanmin(table) + np.nanmax(table)) / 2
    for row in kinds:
        for column in kinds:
            value = table[row, column]
            weight = "bold" if row == column else "normal"
            colour = "white" if value > middle else "black"
            axis.text(  # type: ignore[attr-defined]
                column, row, f"{value:.1f}", ha="center", va="center", color=colour, weight=weight
            )
    axis.set_xticks(kinds, found.kinds, fontsize=8)  # type: ignore[attr-defined]
    axis.set_yticks(kinds, found.kinds, fontsize=8)  # type: ignore[attr-defined]
    axis.set_xlabel("truth of the actions")  # type: ignore[attr-defined]
    axis.set_ylabel("dreamed with the actions")  # type: ignore[attr-defined]
    axis.set_title(  # type: ignore[attr-defined]
        "from one state: error x 1000 (bold: the same actions)", fontsize=9
    )


def noise_levels(path: Path, levels: Sequence[NoiseLevel], windows: int) -> None:
    """Draw what is left to foresee and what actions are worth there, by the video's time."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    places = range(len(levels))
    for axis, chosen, colour in (
        (left, [level.error for level in levels], "C0"),
        (right, [level.other for level in levels], "C3"),
    ):
        there = [(place, each) for place, each in zip(places, chosen, strict=True) if each]
        at = [place for place, _ in there]
        axis.plot(at, [each.value for _, each in there], "o-", ms=4, color=colour)
        low, high = ([getattr(each, end) for _, each in there] for end in ("low", "high"))
        axis.fill_between(at, low, high, color=colour, alpha=0.15)
        axis.axhline(1.0, color="0.6", lw=0.8)
        axis.set_xticks(places, [f"{level.time:g}" for level in levels])
        axis.set_xlabel("time of the video's tokens (1 is noise)")
        axis.grid(alpha=0.25)
    left.set_ylim(bottom=0)
    left.set_ylabel("error over that of nothing moves")
    left.set_title("what is left to foresee", fontsize=9)
    right.set_ylabel("error with other actions over error")
    right.set_title("what the actions are worth", fontsize=9)
    figure.suptitle(f"one denoising step, {windows} windows, 95 % interval", fontsize=9)
    save(figure, path)


def inverse_dynamics(path: Path, tables: Mapping[str, Mapping[str, ActionErrors]]) -> None:
    """Draw the action error of each method by dimension; a row for each kind of clips."""
    figure = Figure(figsize=(10, 2.9 * len(tables) + 0.5), layout="constrained")
    axes = figure.subplots(len(tables), 3, width_ratios=(3, 3, 1.6), squeeze=False)
    for row, (title, errors) in zip(axes, tables.items(), strict=True):
        width = 0.8 / len(errors)
        for place, (name, error) in enumerate(errors.items()):
            shift = (place - (len(errors) - 1) / 2) * width
            for axis, part in ((row[0], slice(0, 3)), (row[1], slice(3, 6))):
                axis.bar(np.arange(3) + shift, error.by_dimension[part], width, label=name)
            row[2].bar(shift, error.gripper_accuracy, width)
        for axis, part, kind in (
            (row[0], slice(0, 3), "translation"),
            (row[1], slice(3, 6), "rotation"),
        ):
            axis.set_xticks(range(3), [n.removeprefix("rotation ") for n in DIMENSIONS[part]])
            axis.set_ylabel(f"mean absolute error ({UNITS[part][0]})")
            axis.set_title(f"{title}: {kind}", fontsize=9)
            axis.grid(axis="y", alpha=0.25)
        row[2].set_xticks([])
        row[2].set_ylim(0, 1)
        row[2].set_title("gripper", fontsize=9)
        row[2].set_ylabel("share right")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle("inverse dynamics: the actions between a window's frames", fontsize=10)
    save(figure, path)
