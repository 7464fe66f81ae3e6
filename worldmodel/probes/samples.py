"""What probes are fitted on: windows, and the state that their data set recorded beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiment.errors import UserError, nearest
from worldmodel.data.action_map import ColumnSlice
from worldmodel.data.dataset import DataSet
from worldmodel.data.order import WindowIndex
from worldmodel.data.reader import DataConfig
from worldmodel.data.source import DataSource
from worldmodel.data.windows import WindowBatch, WindowConfig, stack
from worldmodel.tokenizer import Tokenizer

_RECORDED = "privileged."
_POSITION = {7: "[0:3]"}  # of a pose: turns are no place on a line


@dataclass(frozen=True)
class Target:
    """A state to read: `values` `(n, m)` at `steps` after the window's frame; `binary` if 0 or 1.

    `name` is that of its column.
    """

    name: str
    steps: int
    values: np.ndarray
    binary: bool

    @property
    def title(self) -> str:
        return f"{self.name} {f'+{self.steps} steps' if self.steps else 'now'}"


@dataclass(frozen=True)
class Samples:
    """`windows`, the `episodes` `(n,)` they are from, and what is to be read of them."""

    windows: WindowBatch
    episodes: np.ndarray
    targets: tuple[Target, ...]


def read(
    source: DataSource,
    tokenizer: Tokenizer,
    windows: WindowConfig,
    columns: Sequence[str] | None,
    count: int,
) -> Samples:
    """Read up to `count` windows, evenly spread, with the state now and at their last frame.

    `columns` such as `privileged.object_pose[0:3]`; None: all that the simulator's state was
    recorded in. Raises `UserError` for a column that is missing or holds no numbers, and for fewer
    than four episodes, of which some train and others test a probe.
    """
    if len(source.chosen()) != 1:
        raise UserError("probes read one data set: set data.source.only to it.")
    use = DataConfig(windows=windows, augmentation=None)
    (data,) = source.open(use, tokenizer.picture, video_only=True)
    slices = [_slice(data, name) for name in (recorded(data) if columns is None else columns)]
    places = [
        WindowIndex(number, step)
        for number, steps in enumerate(data.counts.tolist())
        for step in range(steps)
    ]
    chosen = np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int)
    places = [places[place] for place in dict.fromkeys(chosen.tolist())]
    episodes = np.array([place.episode for place in places], dtype=np.int64)
    if len(np.unique(episodes)) < 4:
        raise UserError(
            f"{data.source}: probes train on some episodes and are tested on others; at least four "
            "episodes with windows are needed."
        )
    reach = max(windows.future) * data.stride
    targets = [_target(data, each, places, steps) for each in slices for steps in (0, reach)]
    return Samples(stack([data.window(place) for place in places]), episodes, tuple(targets))


def recorded(data: DataSet) -> list[str]:
    """Return the columns of the simulator's state, of poses the positions; raises `UserError`."""
    names = [name for name in data.episodes.columns if name.startswith(_RECORDED)]
    if not names:
        numbers = [n for n, column in data.episodes.columns.items() if column.kind == "array"]
        raise UserError(
            f"{data.source} has no column {_RECORDED}...: collect it anew with envs.collect, which "
            f"records the simulator's state, or set targets to some of {', '.join(numbers)}."
        )
    sizes = {name: data.episodes.columns[name].shape[0] for name in names}
    return [name + _POSITION.get(sizes[name] or 0, "") for name in names]


def _slice(data: DataSet, name: str) -> ColumnSlice:
    chosen = ColumnSlice.of(name)
    column = data.episodes.columns.get(chosen.column)
    if column is None:
        numbers = [n for n, each in data.episodes.columns.items() if each.kind == "array"]
        raise UserError(
            f"targets: {data.source} has no column {chosen.column!r}."
            f"{nearest(chosen.column, numbers)}"
        )
    if column.kind != "array":
        raise UserError(f"targets: column {chosen.column!r} holds {column.kind}, not numbers.")
    if not chosen.size(column):
        raise UserError(f"targets: {name!r} names no number of a column of shape {column.shape}.")
    return chosen


def _target(
    data: DataSet, column: ColumnSlice, places: Sequence[WindowIndex], steps: int
) -> Target:
    first, by_episode = data.adapter.skip_first, {}
    for number in dict.fromkeys(place.episode for place in places):
        by_episode[number] = column.read(data.episodes[number])
    rows = [by_episode[place.episode][place.step + first + steps] for place in places]
    values = np.stack(rows)
    binary = values.shape[1] == 1 and set(np.unique(values).tolist()) <= {0.0, 1.0}
    return Target(column.text.removeprefix(_RECORDED), steps, values, binary)
