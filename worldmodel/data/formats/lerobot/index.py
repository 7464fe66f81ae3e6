"""Where each episode lies: rows of which parquet file, seconds of which video file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiment.errors import UserError
from experiment.files import write_bytes
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.formats.lerobot.metadata import Info
from worldmodel.data.formats.lerobot.tables import as_numbers, as_text, read_table
from worldmodel.data.formats.storage import Storage

_EPISODES, _EPISODES_LINES = "meta/episodes", "meta/episodes.jsonl"
_TASKS, _TASKS_LINES = "meta/tasks.parquet", "meta/tasks.jsonl"


@dataclass(frozen=True)
class LeRobotIndex:
    """Episodes in the order of their frames.

    `numbers` are the data set's own and `lengths` steps, int64 `(e,)`; `data` and `videos[camera]`
    are int64 `(e, 2)`, the numbers that fill in the path of the file; `seconds[camera]` float64
    `(e, 2)` the begin and end of the episode in its video file, `shared[camera]` bool `(e,)`
    whether another episode has some of its frames there.
    """

    info: Info
    numbers: np.ndarray
    lengths: np.ndarray
    data: np.ndarray
    videos: Mapping[str, np.ndarray]
    seconds: Mapping[str, np.ndarray]
    shared: Mapping[str, np.ndarray]

    def data_path(self, episode: int) -> str:
        return self.info.path(self.info.data_path, self.data[episode])

    def video(self, episode: int, camera: str) -> tuple[str, float]:
        """Return the video file of an episode and where it begins there (s)."""
        if self.info.video_path is None:
            raise UserError(f"{self.info.name} has no 'video_path' but a camera {camera!r}.")
        path = self.info.path(self.info.video_path, self.videos[camera][episode], camera)
        if self.shared[camera][episode]:
            raise DamagedRecord(
                f"{path}: meta/episodes gives some of the episode's frames to another one too: "
                "copy or make the data set again."
            )
        length, (start, stop) = int(self.lengths[episode]), self.seconds[camera][episode].tolist()
        if stop - start < (length - 0.5) / self.info.fps:
            raise DamagedRecord(
                f"{path}: meta/episodes gives the episode {stop - start:.4f} s of video for "
                f"{length} steps: copy or make the data set again."
            )
        return path, start


def read_index(storage: Storage, info: Info, cameras: Sequence[str]) -> LeRobotIndex:
    """Read where the episodes lie, and their video of `cameras`.

    Raises `UserError` naming a file that is missing, damaged or contradicts itself.
    """
    index = (_from_tables if info.is_v3 else _from_lines)(storage, info, cameras)
    source = storage.address
    if not len(index.lengths):
        raise UserError(f"{source} holds no episode: collect some first.")
    if len(np.unique(index.numbers)) < len(index.numbers):
        raise UserError(f"{source}: two episodes have one number in meta/episodes: copy it again.")
    if (index.lengths < 0).any() or (index.lengths > 2**31).any():
        raise UserError(f"{source}: meta/episodes lists a negative length: copy it again.")
    counted = {"total_episodes": len(index.lengths), "total_frames": int(index.lengths.sum())}
    for key, total in info.totals.items():
        if total != counted[key]:
            raise UserError(
                f"{info.name} says {key} {total} where meta/episodes lists {counted[key]}: "
                "a file is missing or from another data set; copy it again."
            )
    return index


def read_instructions(storage: Storage, info: Info) -> dict[int, str]:
    """Return the instructions by their number; they may be empty, in any script."""
    if info.is_v3:
        name = storage.where(_TASKS)
        table = read_table(storage, _TASKS)
        # pandas stores an index without a name as __index_level_0__.
        columns = table.column_names
        column = next((n for n in ("task", "__index_level_0__") if n in columns), None)
        if column is None or "task_index" not in columns:
            raise UserError(f"{name} needs the columns 'task' and 'task_index'.")
        numbers = as_numbers(table["task_index"], (1,), "int64", name, "task_index")[:, 0].tolist()
        texts = as_text(table[column], name, column)
    else:
        name = storage.where(_TASKS_LINES)
        lines = list(_lines(storage, _TASKS_LINES, {"task_index": int, "task": str}))
        numbers, texts = [line[0] for line in lines], [line[1] for line in lines]
    if len(set(numbers)) < len(numbers):
        raise UserError(f"{name} gives one number to two instructions: copy it again.")
    return dict(zip(numbers, texts, strict=True))


def read_facts(storage: Storage, info: Info, names: Sequence[str]) -> dict[str, list[Any]] | None:
    """Return further columns of the table of episodes, in the order of the index.

    None where one of them is missing, and for v2, which has no such table.
    """
    if not info.is_v3:
        return None
    tables = [read_table(storage, path) for path in _tables(storage)]
    if any(name not in table.column_names for name in names for table in tables):
        return None
    first = [v for table in tables for v in table["dataset_from_index"].to_pylist()]
    order = np.argsort(np.asarray(first), kind="stable").tolist()
    listed = {name: [v for t in tables for v in t[name].to_pylist()] for name in names}
    return {name: [values[row] for row in order] for name, values in listed.items()}


def _from_tables(storage: Storage, info: Info, cameras: Sequence[str]) -> LeRobotIndex:
    """Read the tables of episodes of v3.0."""
    tables = [(storage.where(path), read_table(storage, path)) for path in _tables(storage)]

    def column(name: str, dtype: str = "int64") -> np.ndarray:
        chunks = []
        for file, table in tables:
            if name not in table.column_names:
                raise UserError(f"{file} has no column {name!r}: copy or make it again.")
            chunks.append(as_numbers(table[name], (1,), dtype, file, name))
        return np.concatenate(chunks)[:, 0]

    def file_numbers(prefix: str) -> np.ndarray:
        pair = [column(f"{prefix}/{key}")[order] for key in ("chunk_index", "file_index")]
        return np.stack(pair, axis=1)

    order = np.argsort(column("dataset_from_index"), kind="stable")
    lengths = column("length")[order]
    videos = {camera: file_numbers(f"videos/{camera}") for camera in cameras}
    seconds = {}
    for camera in cameras:
        begin, end = (f"videos/{camera}/{side}_timestamp" for side in ("from", "to"))
        first = column(begin, "float64")[order]
        if not (np.isfinite(first).all() and (np.abs(first) < 1e9).all()):
            raise UserError(f"{storage.where(_EPISODES)}: {begin!r} is not finite: copy it again.")
        has_end = all(end in table.column_names for _, table in tables)
        last = column(end, "float64")[order] if has_end else first + lengths / info.fps
        seconds[camera] = np.stack([first, last], axis=1)
    return LeRobotIndex(
        info=info,
        numbers=column("episode_index")[order],
        lengths=lengths,
        data=file_numbers("data"),
        videos=videos,
        seconds=seconds,
        shared={
            camera: _overlapping(seconds[camera][:, 0], lengths, videos[camera], info.fps)
            for camera in cameras
        },
    )


def _tables(storage: Storage) -> list[str]:
    """Return the names of the tables of episodes; a cache keeps them, to work without a network."""
    kept = None
    if storage.cache is not None and not storage.is_local:
        kept = storage.cache / f"lerobot-{storage.digest}.json"
    if kept is not None and kept.is_file():
        try:
            return [str(name) for name in json.loads(kept.read_bytes())]
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{kept} is damaged ({error}): delete it.") from error
    names = [name for name in storage.find(_EPISODES) if name.endswith(".parquet")]
    if not names:
        raise UserError(f"{storage.where(_EPISODES)} holds no table of episodes: copy it again.")
    if kept is not None:
        write_bytes(kept, json.dumps(names).encode())
    return names


def _from_lines(storage: Storage, info: Info, cameras: Sequence[str]) -> LeRobotIndex:
    """Read the lines of episodes of v2, one file of each kind an episode."""
    rows = list(_lines(storage, _EPISODES_LINES, {"episode_index": int, "length": int}))
    table = np.asarray(rows, dtype=np.int64).reshape(-1, 2)
    numbers, lengths = table[np.argsort(table[:, 0], kind="stable")].T
    file_numbers = np.stack([numbers // info.chunks_size, numbers], axis=1)
    seconds = np.stack([np.zeros(len(lengths)), lengths / info.fps], axis=1)
    return LeRobotIndex(
        info=info,
        numbers=numbers,
        lengths=lengths,
        data=file_numbers,
        videos=dict.fromkeys(cameras, file_numbers),
        seconds=dict.fromkeys(cameras, seconds),
        shared=dict.fromkeys(cameras, np.zeros(len(lengths), dtype=bool)),
    )


def _lines(storage: Storage, path: str, kinds: Mapping[str, type]) -> Iterator[list[Any]]:
    """Yield the fields `kinds` of each line of a file of JSON lines."""
    # Not splitlines(): a text may hold other line breaks than this one.
    for number, line in enumerate(storage.read(path).split(b"\n"), start=1):
        if not line.strip():
            continue
        name = f"{storage.where(path)}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{name} is no JSON ({error}): copy or make it again.") from error
        if not isinstance(record, dict):
            raise UserError(f"{name} is no record: copy or make it again.")
        for key, kind in kinds.items():
            value = record.get(key)
            fits = isinstance(value, kind) and not isinstance(value, bool)
            if not fits or (isinstance(value, int) and not -(2**62) < value < 2**62):
                raise UserError(f"{name} has {key!r} as {value!r:.60}: copy or make it again.")
        yield [record[key] for key in kinds]


def _overlapping(
    starts: np.ndarray, lengths: np.ndarray, file_numbers: np.ndarray, fps: float
) -> np.ndarray:
    """Return for each episode whether it shares frames of a video file with another."""
    order = np.lexsort((starts, file_numbers[:, 1], file_numbers[:, 0]))
    same = (file_numbers[order][1:] == file_numbers[order][:-1]).all(axis=1)
    gap = np.diff(starts[order]) - lengths[order][:-1] / fps
    bad = same & (gap < -0.5 / fps)
    overlapping = np.zeros(len(file_numbers), dtype=bool)
    overlapping[order[1:][bad]] = True
    overlapping[order[:-1][bad]] = True
    return overlapping
