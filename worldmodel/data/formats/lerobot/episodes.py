"""LeRobot data sets by episode, for random access."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from experiment.errors import UserError, nearest
from worldmodel.data.formats.episode import Column, DamagedRecord
from worldmodel.data.formats.lerobot.files import Files
from worldmodel.data.formats.lerobot.hub import open_files
from worldmodel.data.formats.lerobot.index import Index, read_index, read_instructions
from worldmodel.data.formats.lerobot.metadata import columns, read_info, video_cameras
from worldmodel.data.formats.lerobot.pictures import decode, encoded
from worldmodel.data.formats.lerobot.tables import Tables, as_numbers, as_text
from worldmodel.data.formats.lerobot.video import Videos

_Result = TypeVar("_Result")


class LeRobotEpisodes:
    """The episodes of a LeRobot data set, v3.0 or v2.1; follows the protocol `Episodes`.

    `source` is a folder, an address such as `hf://datasets/org/name`, or a repository of the hub
    as `org/name` where there is no such folder. `revision` is its branch, tag or commit. `cache` is
    a folder where files from elsewhere are kept; without it they are read where they lie.

    `columns` are the features under LeRobot's names and `task`, the instruction of each step.
    Raises `UserError` naming the file that is missing, damaged or of another version.
    """

    def __init__(
        self, source: str, *, revision: str | None = None, cache: str | None = None
    ) -> None:
        self.files: Files = open_files(source, revision=revision, cache=cache)
        self.source = self.files.source
        info = read_info(self.files)
        self.columns: Mapping[str, Column] = columns(info)
        cameras = [camera for camera in video_cameras(info) if camera in self.columns]
        self.index: Index = read_index(self.files, info, cameras)
        self.instructions: Mapping[int, str] = read_instructions(self.files, info)
        self.lengths: np.ndarray = self.index.lengths
        self.fps: float | None = info.fps
        self.robot: str | None = info.robot
        self.tables = Tables(self.files)
        self.videos = Videos(self.files)

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self.lengths)

    def __getitem__(self, number: int) -> "LeRobotEpisode":
        """Return the episode in place `number`; raises `DamagedRecord` where it is empty."""
        if not 0 <= number < len(self):
            raise IndexError(f"{self.source} has {len(self)} episodes, there is no {number}")
        return LeRobotEpisode(self, int(number))


class LeRobotEpisode:
    """One episode; files are looked into when a column is asked for."""

    def __init__(self, episodes: LeRobotEpisodes, place: int) -> None:
        index = episodes.index
        self.name = f"{episodes.source} episode {index.numbers[place]}"
        self._episodes, self._index, self._place = episodes, index, place
        self._length = int(index.lengths[place])
        if self._length == 0:
            raise DamagedRecord(f"{self.name} is empty: leave it out.")
        self._path = index.data_path(place)
        self._file = episodes.files.name(self._path)

    def __len__(self) -> int:
        """Return the number of steps."""
        return self._length

    def array(self, column: str) -> np.ndarray:
        """Return a column of numbers `(t, ...)`.

        Raises `DamagedRecord` where a value is missing, not finite, or of another type or shape.
        """
        facts = self._column(column, "array")
        return self._named(lambda: self._numbers(column, facts))

    def text(self, column: str) -> list[str]:
        """Return a column of text, a string a step; `task` is the instruction."""
        self._column(column, "text")
        return self._named(lambda: self._tasks() if column == "task" else self._texts(column))

    def images(self, column: str, steps: np.ndarray | None = None) -> np.ndarray:
        """Return the pictures of `steps` (all by default, any order), uint8 `(n, h, w, 3)`.

        Raises `DamagedRecord` where a picture is missing, damaged or of another size.
        """
        facts = self._column(column, "image")
        wanted = np.arange(self._length) if steps is None else np.asarray(steps, dtype=np.int64)
        if wanted.ndim != 1 or ((wanted < 0) | (wanted >= self._length)).any():
            raise IndexError(f"{self.name} has {self._length} steps, there are not all of {steps}")
        if not len(wanted):
            return np.zeros((0, *(size or 0 for size in facts.shape)), dtype=np.uint8)
        if column in self._index.videos:
            return self._named(lambda: self._from_video(column, facts, wanted))
        return self._named(lambda: self._from_table(column, facts, wanted))

    def _from_video(self, column: str, facts: Column, steps: np.ndarray) -> np.ndarray:
        span = self._index.span(self._place, column)
        fps = self._index.info.fps
        times = span.start + self._times()[steps]
        return self._episodes.videos.frames(span.path, times, fps, facts.shape[:2])  # type: ignore[arg-type]

    def _from_table(self, column: str, facts: Column, steps: np.ndarray) -> np.ndarray:
        start, _ = self._rows()
        first, end = int(steps.min()), int(steps.max()) + 1
        rows = self._episodes.tables.read(self._path, column, start + first, start + end)
        place = f"{self._file}: {column!r}"
        pictures = {
            step: decode(encoded(rows[step - first], place, step), facts.shape[:2], place, step)  # type: ignore[arg-type]
            for step in np.unique(steps).tolist()
        }
        return np.stack([pictures[step] for step in steps.tolist()])

    def _tasks(self) -> list[str]:
        numbers = self._raw("task_index", (1,), "int64")[:, 0].tolist()
        missing = set(numbers) - set(self._episodes.instructions)
        if missing:
            raise DamagedRecord(
                f"{self._file} refers to the instruction number {min(missing)} that is not among "
                "meta/tasks: copy it again."
            )
        return [self._episodes.instructions[number] for number in numbers]

    def _texts(self, column: str) -> list[str]:
        return as_text(self._read(column), self._file, column)

    def _numbers(self, column: str, facts: Column) -> np.ndarray:
        found = self._raw(column, tuple(size or 0 for size in facts.shape), facts.dtype)
        bad = np.flatnonzero(~np.isfinite(found.reshape(len(found), -1)).all(axis=1))
        if len(bad):
            raise DamagedRecord(f"{self._file}: {column!r} is not finite in step {bad[0]}.")
        return found

    def _times(self) -> np.ndarray:
        """Return the seconds of the steps since the episode's first."""
        fps = self._index.info.fps
        expected = np.arange(self._length) / fps
        if "timestamp" in self._episodes.columns:
            found = self._raw("timestamp", (1,), "float64")[:, 0]
            off = np.flatnonzero(~(np.abs(found - expected) <= 0.25 / fps))
            if len(off):
                raise DamagedRecord(
                    f"{self._file}: step {off[0]} has the timestamp {found[off[0]]:.4f} s where "
                    f"{fps:g} steps a second make {expected[off[0]]:.4f} s: make it again."
                )
        return expected

    def _raw(self, column: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return as_numbers(self._read(column), shape, dtype, self._file, column)

    def _read(self, column: str):  # type: ignore[no-untyped-def]
        return self._episodes.tables.read(self._path, column, *self._rows())

    def _rows(self) -> tuple[int, int]:
        """Return the rows of the episode in its file, having looked that they are all of them."""
        tables = self._episodes.tables
        start, end = tables.rows_of(self._path, int(self._index.numbers[self._place]))
        if end - start != self._length:
            raise DamagedRecord(
                f"{self._file} holds {end - start} of the {self._length} steps that meta/episodes "
                "lists: copy or make it again."
            )
        if "frame_index" in self._episodes.columns:
            rows = tables.read(self._path, "frame_index", start, end)
            frames = as_numbers(rows, (1,), "int64", self._file, "frame_index")[:, 0]
            if not np.array_equal(frames, np.arange(self._length)):
                raise DamagedRecord(
                    f"{self._file}: 'frame_index' does not count the episode's steps from 0: "
                    "copy or make it again."
                )
        return start, end

    def _column(self, column: str, kind: str) -> Column:
        known = self._episodes.columns
        if column not in known:
            raise UserError(f"{self._episodes.source} has no {column!r}.{nearest(column, known)}")
        if known[column].kind != kind:
            raise UserError(
                f"{self._episodes.source}: {column!r} is of the kind {known[column].kind}, "
                f"not {kind}."
            )
        return known[column]

    def _named(self, action: Callable[[], _Result]) -> _Result:
        """Return what `action` does, its errors with the episode's name."""
        try:
            return action()
        except DamagedRecord as error:
            raise DamagedRecord(f"{self.name}: {error}") from error
