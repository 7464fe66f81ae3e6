"""LeRobot data sets by episode, for random access."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from experiment.errors import UserError, nearest
from worldmodel.data.formats.episode import Column, DamagedRecord
from worldmodel.data.formats.lerobot.index import (
    LeRobotIndex,
    read_facts,
    read_index,
    read_instructions,
)
from worldmodel.data.formats.lerobot.metadata import columns, read_info, video_cameras
from worldmodel.data.formats.lerobot.tables import Tables, as_numbers, as_picture, as_text
from worldmodel.data.formats.lerobot.video import Videos
from worldmodel.data.formats.storage import MissingFile, Storage

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_OUR_FOLDERS = ("datasets", "runs")
"""What our commands write into: no user of the hub has such a name."""
_HUB = "hf://datasets/"


class LeRobotEpisodes:
    """The episodes of a LeRobot data set, v3.0, v2.1 or v2.0; follows the protocol `Episodes`.

    `source` is a folder, an address such as `hf://datasets/org/name`, or a repository of the hub
    as `org/name` where there is no such folder. `revision` is its branch, tag or commit. `cache` is
    a folder where files from elsewhere are kept; without it they are read where they lie.

    `columns` are the features under LeRobot's names and `task`, the instruction of each step.
    Raises `UserError` naming the file that is missing, damaged or of another version.
    """

    def __init__(
        self, source: str, *, revision: str | None = None, cache: str | None = None
    ) -> None:
        address = _address(source, revision)
        self.storage = Storage(address, Path(cache) if cache else None)
        self.source = address
        try:
            info = read_info(self.storage)
        except UserError as error:
            if "://" in source or "://" not in address:
                raise
            raise UserError(
                f"{source} is no folder here, and as a repository of the hub: {error}"
            ) from error
        self.columns: Mapping[str, Column] = columns(info)
        cameras = [camera for camera in video_cameras(info) if camera in self.columns]
        self.index: LeRobotIndex = read_index(self.storage, info, cameras)
        self.instructions: Mapping[int, str] = read_instructions(self.storage, info)
        self.lengths: np.ndarray = self.index.lengths
        self.fps: float | None = info.fps
        self.robot: str | None = info.robot
        self.tables = Tables(self.storage, info)
        self.videos = Videos(self.storage)

    def __len__(self) -> int:
        return len(self.lengths)

    def facts(self, names: Sequence[str]) -> dict[str, list[Any]] | None:
        """Return columns of `meta/episodes`, a value an episode; None where one is missing."""
        return read_facts(self.storage, self.index.info, names)

    def __getitem__(self, number: int) -> "LeRobotEpisode":
        """Return an episode; raises `DamagedRecord` if it is empty."""
        if not 0 <= number < len(self):
            raise IndexError(f"{self.source} has {len(self)} episodes, there is no {number}")
        return LeRobotEpisode(self, int(number))


def _address(source: str, revision: str | None) -> str:
    if "://" not in source:
        first = source.split("/", 1)[0]
        # Not Path.exists, which raises an error where a folder may not be looked into.
        here = os.path.exists(source) or os.path.isdir(first) or first in _OUR_FOLDERS  # noqa: PTH110, PTH112
        if here or not _REPOSITORY.fullmatch(source):
            return source
        source = _HUB + source
    source = source.rstrip("/")
    return f"{source}@{revision}" if revision and source.startswith(_HUB) else source


class LeRobotEpisode:
    """One episode; files are read when a column is asked for."""

    def __init__(self, episodes: LeRobotEpisodes, row: int) -> None:
        index = episodes.index
        self._episodes, self._index, self._row = episodes, index, row
        self._number, self._length = int(index.numbers[row]), int(index.lengths[row])
        self.name = f"{episodes.source} episode {self._number}"
        if self._length == 0:
            raise DamagedRecord(f"{self.name} is empty: leave it out.")
        self._path = index.data_path(row)
        self._file = episodes.storage.where(self._path)
        self._timed = False  # whether the timestamps were checked

    def __len__(self) -> int:
        return self._length

    def array(self, column: str) -> np.ndarray:
        """Return a column of numbers `(t, ...)`.

        Raises `DamagedRecord` where a value is missing, not finite, or of another type or shape.
        """
        described = self._column(column, "array")
        shape = tuple(size or 0 for size in described.shape)
        with self._named():
            values = as_numbers(self._read(column), shape, described.dtype, self._file, column)
            bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
            if len(bad):
                raise DamagedRecord(f"{self._file}: {column!r} is not finite in step {bad[0]}.")
        return values

    def text(self, column: str) -> list[str]:
        """Return a column of text, a string a step; `task` is the instruction."""
        self._column(column, "text")
        with self._named():
            if column != "task":
                return as_text(self._read(column), self._file, column)
            rows = self._read("task_index")
            numbers = as_numbers(rows, (1,), "int64", self._file, "task_index")[:, 0].tolist()
            instructions = self._episodes.instructions
            if missing := set(numbers) - set(instructions):
                raise DamagedRecord(
                    f"{self._file} refers to the instruction number {min(missing)} that is not "
                    "among meta/tasks: copy it again."
                )
            return [instructions[number] for number in numbers]

    def images(self, column: str, steps: np.ndarray | None = None) -> np.ndarray:
        """Return the pictures of `steps` (all by default, any order), uint8 `(n, h, w, 3)`.

        Raises `DamagedRecord` where a picture is missing, damaged or of another size.
        """
        described = self._column(column, "image")
        steps = np.arange(self._length) if steps is None else np.asarray(steps, dtype=np.int64)
        if steps.ndim != 1 or ((steps < 0) | (steps >= self._length)).any():
            raise IndexError(f"{self.name} has {self._length} steps, not all of {steps.tolist()}")
        height, width = (size or 0 for size in described.shape[:2])
        if not len(steps):
            return np.zeros((0, height, width, 3), dtype=np.uint8)
        with self._named():
            if column in self._index.videos:
                return self._from_video(column, (height, width), steps)
            return self._from_table(column, (height, width), steps)

    def _from_video(self, camera: str, size: tuple[int, int], steps: np.ndarray) -> np.ndarray:
        path, start = self._index.video(self._row, camera)
        self._check_times()
        fps = self._index.info.fps
        return self._episodes.videos.frames(path, start + steps / fps, fps, size)

    def _check_times(self) -> None:
        """Raise `DamagedRecord` unless the timestamps keep to the frame rate, as the video does."""
        if self._timed or "timestamp" not in self._episodes.columns:
            return
        times = as_numbers(self._read("timestamp"), (1,), "float64", self._file, "timestamp")[:, 0]
        fps, expected = self._index.info.fps, np.arange(self._length) / self._index.info.fps
        off = np.flatnonzero(~(np.abs(times - expected) <= 0.25 / fps))
        if len(off):
            raise DamagedRecord(
                f"{self._file}: step {off[0]} has the timestamp {times[off[0]]:.4f} s where "
                f"{fps:g} steps a second make {expected[off[0]]:.4f} s: make it again."
            )
        self._timed = True

    def _from_table(self, column: str, size: tuple[int, int], steps: np.ndarray) -> np.ndarray:
        first = int(steps.min())
        rows = self._read(column, first, int(steps.max()) + 1)
        pictures = {
            step: as_picture(rows[step - first], size, f"{self._file}: {column!r}, step {step}")
            for step in np.unique(steps).tolist()
        }
        return np.stack([pictures[step] for step in steps.tolist()])

    def _read(self, column: str, first: int = 0, end: int | None = None) -> pa.ChunkedArray:
        """Return the rows of a column from step `first` to `end`."""
        tables = self._episodes.tables
        start, stop = tables.rows(self._path, self._number, self._length)
        return tables.read(self._path, column, start + first, stop if end is None else start + end)

    def _column(self, column: str, kind: str) -> Column:
        columns = self._episodes.columns
        if column not in columns:
            raise UserError(f"{self._episodes.source} has no {column!r}.{nearest(column, columns)}")
        if columns[column].kind != kind:
            raise UserError(
                f"{self._episodes.source}: {column!r} is of the kind {columns[column].kind}, "
                f"not {kind}."
            )
        return columns[column]

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Give errors the episode's name; a file that is missing is damage to this episode."""
        try:
            yield
        except (DamagedRecord, MissingFile) as error:
            raise DamagedRecord(f"{self.name}: {error}") from error
