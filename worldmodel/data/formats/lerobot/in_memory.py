"""A whole LeRobot data set in memory, pictures in a cache on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from experiment.errors import UserError, nearest
from worldmodel.data.formats.lerobot.frame_cache import Clip, cached_frames
from worldmodel.data.formats.lerobot.index import Index, read_index, read_instructions
from worldmodel.data.formats.lerobot.metadata import read_info
from worldmodel.data.formats.lerobot.tables import as_numbers, read_table
from worldmodel.data.formats.storage import Storage
from worldmodel.data.trajectories import Trajectories
from worldmodel.tokenizer import Tokenizer

COUNTERS = ("frame_index", "episode_index", "index", "task_index")


@dataclass(frozen=True)
class LeRobot:
    """A data set (v3.0 or v2.1) in the folder `root`, and the names of the features to read."""

    root: str
    image: str = "observation.images.head"
    state: str = "observation.state"
    action: str = "action"

    def read(self, tokenizer: Tokenizer) -> Trajectories:
        """Read all episodes, pictures at the tokenizer's size.

        Raises `UserError` naming the file that is missing, damaged or lacks a key.
        """
        root = Path(self.root)
        files = Storage(str(root))
        info = read_info(files)
        for name in (self.image, self.state, self.action):
            if name not in info.features:
                hint = nearest(name, info.features)
                raise UserError(f"{info.name} lists no feature {name!r}.{hint}")
        if info.features[self.image].get("dtype", "video") != "video":
            raise UserError(
                f"{info.name}: {self.image!r} is no video: choose one of the cameras that is."
            )
        index = read_index(files, info, [self.image])
        columns = [self.state, self.action, "episode_index", "task_index", "index"]
        rows = _rows(files, index, columns)
        order = np.argsort(rows["index"], kind="stable")
        expected = np.repeat(index.numbers, index.lengths)
        if not np.array_equal(rows["episode_index"][order], expected):
            raise UserError(
                f"{root / 'data'} does not hold the {len(expected)} frames that meta/episodes "
                "lists: a file is missing or from another data set; copy it again."
            )
        known = read_instructions(files, info)
        state = _finite(rows[self.state][order], self.state, root)
        action = _finite(rows[self.action][order], self.action, root)
        numbers = _places(root, rows["task_index"][order], known)
        clips = _clips(root, index, self.image)
        return Trajectories(
            frames=cached_frames(root / "cache", self.image, clips, tokenizer),
            state=state,
            action=action,
            instruction=numbers,
            instructions=tuple(known.values()),
            starts=np.concatenate([[0], np.cumsum(index.lengths)]),
            fps=info.fps,
            source=str(root),
        )


def _rows(files: Storage, index: Index, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the columns of all data files, end to end: vectors float32, counters int64."""
    paths = dict.fromkeys(index.data_path(episode) for episode in range(len(index.lengths)))
    found: dict[str, list[np.ndarray]] = {name: [] for name in columns}
    for path in paths:
        table, name = read_table(files, path), files.where(path)
        for column in columns:
            if column not in table.column_names:
                raise UserError(f"{name} has no column {column!r}.")
            if column in COUNTERS:
                found[column].append(as_numbers(table[column], (1,), "int64", name, column)[:, 0])
            else:
                found[column].append(_vectors(table[column], name, column))
    for column, parts in found.items():
        if len({part.shape[1:] for part in parts}) > 1:
            raise UserError(
                f"{files.address}: {column!r} differs in length between the data files."
            )
    return {column: np.concatenate(parts) for column, parts in found.items()}


def _vectors(values: pa.ChunkedArray, name: str, column: str) -> np.ndarray:
    first = values[0].as_py() if len(values) else None
    shape = (len(first),) if isinstance(first, list) else (1,)
    return as_numbers(values, shape, "float32", name, column)


def _finite(values: np.ndarray, name: str, root: Path) -> np.ndarray:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise UserError(f"{root}: {name!r} is not finite in frame {bad[0]}: collect it again.")
    return values


def _places(root: Path, numbers: np.ndarray, known: Mapping[int, str]) -> np.ndarray:
    """Return for each frame the place of its instruction."""
    place = {number: row for row, number in enumerate(known)}
    missing = set(np.unique(numbers).tolist()) - set(place)
    if missing:
        raise UserError(
            f"{root / 'meta'} lacks the instruction number {min(missing)} that frames refer to."
        )
    return np.asarray([place[number] for number in numbers.tolist()])


def _clips(root: Path, index: Index, image: str) -> list[Clip]:
    """Return where in which video file each episode's frames lie."""
    spans = [index.video(episode, image) for episode in range(len(index.lengths))]
    return [
        Clip(root / path, round(start * index.info.fps), length)
        for (path, start), length in zip(spans, index.lengths.tolist(), strict=True)
    ]
