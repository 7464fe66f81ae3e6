"""Where each episode lies: rows of which parquet file, seconds of which video file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiment.errors import UserError
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.formats.lerobot.files import Files
from worldmodel.data.formats.lerobot.metadata import Info
from worldmodel.data.formats.lerobot.tables import as_numbers, as_text, has_column, read_table

_EPISODES, _EPISODES_LINES = "meta/episodes", "meta/episodes.jsonl"
_TASKS, _TASKS_LINES = "meta/tasks.parquet", "meta/tasks.jsonl"


@dataclass(frozen=True)
class Span:
    """Seconds `start` to `stop` of the video file `path`."""

    path: str
    start: float
    stop: float


@dataclass(frozen=True)
class Index:
    """Episodes in the order of their frames.

    `numbers` are the data set's own and `lengths` steps, int64 `(e,)`; `data` and `videos[camera]`
    are int64 `(e, 2)`, the numbers that fill in the path of the file; `seconds[camera]` float64
    `(e, 2)` from where to where the episode lies in its video file, `shared[camera]` bool `(e,)`
    whether some of its frames there are also another episode's.
    """

    info: Info
    numbers: np.ndarray
    lengths: np.ndarray
    data: np.ndarray
    videos: Mapping[str, np.ndarray]
    seconds: Mapping[str, np.ndarray]
    shared: Mapping[str, np.ndarray]

    def data_path(self, episode: int) -> str:
        """Return the parquet file of an episode."""
        return self.info.place(self.info.data_path, self.data[episode])

    def span(self, episode: int, camera: str) -> Span:
        """Return the video of an episode."""
        if self.info.video_path is None:
            raise UserError(f"{self.info.name} has no 'video_path' but a camera {camera!r}.")
        places, seconds = self.videos[camera], self.seconds[camera]
        path = self.info.place(self.info.video_path, places[episode], camera)
        if self.shared[camera][episode]:
            raise DamagedRecord(
                f"{path}: meta/episodes gives some of the episode's frames to another one too: "
                "copy or make the data set again."
            )
        length, (start, stop) = int(self.lengths[episode]), seconds[episode].tolist()
        if stop - start < (length - 0.5) / self.info.fps:
            raise DamagedRecord(
                f"{path}: meta/episodes gives the episode {stop - start:.4f} s of video for "
                f"{length} steps: copy or make the data set again."
            )
        return Span(path, start, stop)


def read_index(files: Files, info: Info, cameras: Sequence[str]) -> Index:
    """Read where the episodes lie, and their video of `cameras`.

    Raises `UserError` naming a file that is missing, damaged or contradicts itself.
    """
    index = (_of_tables if info.of_many else _of_lines)(files, info, cameras)
    source = files.source
    if not len(index.lengths):
        raise UserError(f"{source} holds no episode: collect some first.")
    if len(np.unique(index.numbers)) < len(index.numbers):
        raise UserError(f"{source}: two episodes have one number in meta/episodes: copy it again.")
    if (index.lengths < 0).any() or (index.lengths > 2**31).any():
        raise UserError(f"{source}: meta/episodes lists a negative length: copy it again.")
    found = {"total_episodes": len(index.lengths), "total_frames": int(index.lengths.sum())}
    for key, total in info.totals.items():
        if total != found[key]:
            raise UserError(
                f"{info.name} says {key} {total} where meta/episodes lists {found[key]}: "
                "a file is missing or from another data set; copy it again."
            )
    return index


def read_instructions(files: Files, info: Info) -> dict[int, str]:
    """Return the instructions by their number; they may be empty, in any script."""
    if info.of_many:
        name = files.name(_TASKS)
        table = read_table(files, _TASKS)
        # pandas stores an index without a name as __index_level_0__.
        known = table.column_names
        column = next((n for n in ("task", "__index_level_0__") if n in known), None)
        if column is None or "task_index" not in known:
            raise UserError(f"{name} needs the columns 'task' and 'task_index'.")
        numbers = as_numbers(table["task_index"], (1,), "int64", name, "task_index")[:, 0].tolist()
        texts = as_text(table[column], name, column)
    else:
        name = files.name(_TASKS_LINES)
        wanted = {"task_index": int, "task": str}
        lines = [_fields(*line, wanted) for line in _lines(files, _TASKS_LINES)]
        numbers, texts = [line[0] for line in lines], [line[1] for line in lines]
    if len(set(numbers)) < len(numbers):
        raise UserError(f"{name} gives one number to two instructions: copy it again.")
    return dict(zip(numbers, texts, strict=True))


def _of_tables(files: Files, info: Info, cameras: Sequence[str]) -> Index:
    """Read the tables of episodes of v3.0."""
    paths = files.tables(_EPISODES)
    if not paths:
        place = files.name(_EPISODES)
        raise UserError(f"{place} holds no table of episodes: copy it again.")
    whole = ["episode_index", "length", "dataset_from_index"]
    whole += ["data/chunk_index", "data/file_index"]
    whole += [f"videos/{c}/{k}" for c in cameras for k in ("chunk_index", "file_index")]
    starts = [f"videos/{camera}/from_timestamp" for camera in cameras]
    ends = [f"videos/{camera}/to_timestamp" for camera in cameras]
    ends = [end for end in ends if all(has_column(files, path, end) for path in paths)]
    wanted = whole + starts + ends
    tables = [(files.name(path), read_table(files, path, wanted)) for path in paths]

    def column(name: str, dtype: str = "int64") -> np.ndarray:
        parts = [as_numbers(table[name], (1,), dtype, place, name) for place, table in tables]
        return np.concatenate(parts)[:, 0]

    order = np.argsort(column("dataset_from_index"), kind="stable")
    lengths = column("length")[order]
    seconds = {}
    for camera, start in zip(cameras, starts, strict=True):
        first = column(start, "float64")[order]
        if not (np.isfinite(first).all() and (np.abs(first) < 1e9).all()):
            raise UserError(f"{files.name(_EPISODES)}: {start!r} is not finite: copy it again.")
        end = start.replace("from_", "to_")
        last = column(end, "float64")[order] if end in ends else first + lengths / info.fps
        seconds[camera] = np.stack([first, last], axis=1)

    def places(prefix: str) -> np.ndarray:
        pair = [column(f"{prefix}/{key}")[order] for key in ("chunk_index", "file_index")]
        return np.stack(pair, axis=1)

    videos = {camera: places(f"videos/{camera}") for camera in cameras}
    return Index(
        info=info,
        numbers=column("episode_index")[order],
        lengths=lengths,
        data=places("data"),
        videos=videos,
        seconds=seconds,
        shared={
            camera: _overlapping(seconds[camera][:, 0], lengths, videos[camera], info.fps)
            for camera in cameras
        },
    )


def _of_lines(files: Files, info: Info, cameras: Sequence[str]) -> Index:
    """Read the lines of episodes of v2.1, one file of each kind an episode."""
    wanted = {"episode_index": int, "length": int}
    rows = [_fields(*line, wanted) for line in _lines(files, _EPISODES_LINES)]
    table = np.asarray(rows, dtype=np.int64).reshape(-1, 2)
    numbers, lengths = table[np.argsort(table[:, 0], kind="stable")].T
    places = np.stack([numbers // info.chunks_size, numbers], axis=1)
    seconds = np.stack([np.zeros(len(lengths)), lengths / info.fps], axis=1)
    return Index(
        info=info,
        numbers=numbers,
        lengths=lengths,
        data=places,
        videos=dict.fromkeys(cameras, places),
        seconds=dict.fromkeys(cameras, seconds),
        shared=dict.fromkeys(cameras, np.zeros(len(lengths), dtype=bool)),
    )


def _lines(files: Files, path: str) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each line of a file of JSON lines."""
    name = files.name(path)
    with files.open(path) as file:
        data = file.read()
    # Not splitlines(): a text may hold other line breaks than this one.
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            try:
                yield f"{name}:{number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(
                    f"{name}:{number} is no JSON ({error}): copy or make it again."
                ) from error


def _fields(name: str, record: Any, kinds: Mapping[str, type]) -> list[Any]:
    if not isinstance(record, dict):
        raise UserError(f"{name} is no record: copy or make it again.")
    for key, kind in kinds.items():
        value = record.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise UserError(f"{name} has {key!r} as {value!r:.60}: copy or make it again.")
        if isinstance(value, int) and not -(2**62) < value < 2**62:
            raise UserError(f"{name} has {key!r} as {value!r:.60}: copy or make it again.")
    return [record[key] for key in kinds]


def _overlapping(
    starts: np.ndarray, lengths: np.ndarray, places: np.ndarray, fps: float
) -> np.ndarray:
    """Return for each episode whether it shares frames of a video file with another."""
    order = np.lexsort((starts, places[:, 1], places[:, 0]))
    same = (places[order][1:] == places[order][:-1]).all(axis=1)
    gap = np.diff(starts[order]) - lengths[order][:-1] / fps
    bad = same & (gap < -0.5 / fps)
    found = np.zeros(len(places), dtype=bool)
    found[order[1:][bad]] = True
    found[order[:-1][bad]] = True
    return found
