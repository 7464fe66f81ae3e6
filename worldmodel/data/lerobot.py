"""Reader of LeRobot v3.0 data sets (a folder with `meta/`, `data/`, `videos/`)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worldmodel.data.frame_cache import Clip, cached_frames
from worldmodel.data.trajectories import Trajectories
from worldmodel.errors import UserError, nearest
from worldmodel.tokenizer.pixel import PixelTokenizer


@dataclass(frozen=True)
class LeRobot:
    """A data set at `root` and the names of the features that are read."""

    root: str
    image: str = "observation.images.head"
    state: str = "observation.state"
    action: str = "action"

    def read(self, tokenizer: PixelTokenizer) -> Trajectories:
        """Read all episodes, pictures at the tokenizer's size.

        Raises `UserError` naming the file that is missing, damaged or lacks a key.
        """
        root = Path(self.root)
        info = _info(root)
        features = _entry(info, "features", root / "meta/info.json")
        for name in (self.image, self.state, self.action):
            if name not in features:
                raise UserError(
                    f"{root / 'meta/info.json'} lists no feature {name!r}.{nearest(name, features)}"
                )
        episodes = _episodes(root, self.image)
        columns = [self.state, self.action, "episode_index", "task_index", "index"]
        rows = _rows(root, info, episodes, columns)
        order = np.argsort(rows["index"], kind="stable")
        lengths = np.asarray([episode["length"] for episode in episodes], dtype=np.int64)
        expected = np.repeat([episode["episode_index"] for episode in episodes], lengths)
        if not np.array_equal(rows["episode_index"][order], expected):
            raise UserError(
                f"{root / 'data'} does not hold the {len(expected)} frames that meta/episodes "
                "lists: a file is missing or from another data set; copy it again."
            )
        texts, numbers = _instructions(root, rows["task_index"][order])
        clips = _clips(root, info, episodes, self.image)
        return Trajectories(
            frames=cached_frames(root / "cache", self.image, clips, tokenizer),
            state=_finite(rows[self.state][order], self.state, root),
            action=_finite(rows[self.action][order], self.action, root),
            instruction=numbers,
            instructions=texts,
            starts=np.concatenate([[0], np.cumsum(lengths)]),
            fps=float(info["fps"]),
            source=str(root),
        )


def _info(root: Path) -> dict[str, Any]:
    path = root / "meta/info.json"
    if not path.is_file():
        raise UserError(
            f"{root} is no LeRobot data set (no meta/info.json): set data.root to a folder that "
            "envs.collect wrote."
        )
    try:
        info = json.loads(path.read_bytes())
        version = str(info["codebase_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error!r}): copy or make it again.") from error
    if not version.startswith("v3."):
        raise UserError(f"{path} says version {version}: only LeRobot v3.0 is read here.")
    for key in ("fps", "data_path", "video_path"):
        _entry(info, key, path)
    return info


def _entry(record: Mapping[str, Any], key: str, path: Path) -> Any:
    if key not in record:
        raise UserError(f"{path} has no {key!r}: it is damaged or of another format.")
    return record[key]


def _table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a parquet file, or those of its columns that are named."""
    if not path.is_file():
        raise UserError(f"{path} is missing: the data set is incomplete, copy or make it again.")
    try:
        known = pq.read_schema(path).names
        for name in columns or ():
            if name not in known:
                raise UserError(f"{path} has no column {name!r}.{nearest(name, known)}")
        return pq.read_table(path, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path} is truncated or no parquet file ({str(error).splitlines()[0]}): "
            "copy or make it again."
        ) from error


def _episodes(root: Path, image: str) -> list[dict[str, Any]]:
    """Return one record an episode, in order of frames."""
    paths = sorted((root / "meta/episodes").glob("*/*.parquet"))
    if not paths:
        raise UserError(f"{root / 'meta/episodes'} holds no table of episodes: copy it again.")
    columns = ["episode_index", "length", "dataset_from_index"]
    columns += ["data/chunk_index", "data/file_index"]
    video = [f"videos/{image}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
    rows = [row for path in paths for row in _table(path, columns + video).to_pylist()]
    if not rows:
        raise UserError(f"{root} holds no episode: collect some first.")
    return sorted(rows, key=lambda row: row["dataset_from_index"])


def _rows(
    root: Path, info: Mapping[str, Any], episodes: Sequence[dict[str, Any]], columns: list[str]
) -> dict[str, np.ndarray]:
    """Return the columns of all data files, end to end."""
    files = dict.fromkeys((row["data/chunk_index"], row["data/file_index"]) for row in episodes)
    tables = []
    for chunk, file in files:
        path = root / info["data_path"].format(chunk_index=chunk, file_index=file)
        tables.append(_table(path, columns))
    table = pa.concat_tables(tables)
    return {name: _array(table[name], len(table)) for name in columns}


def _array(column: pa.ChunkedArray, rows: int) -> np.ndarray:
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
        return np.asarray(column.combine_chunks().flatten(), dtype=np.float32).reshape(rows, -1)
    return column.to_numpy()


def _finite(values: np.ndarray, name: str, root: Path) -> np.ndarray:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise UserError(f"{root}: {name!r} is not finite in frame {bad[0]}: collect it again.")
    return values


def _instructions(root: Path, numbers: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the instructions and, for each frame, which one holds."""
    path = root / "meta/tasks.parquet"
    table = _table(path)
    # pandas stores an index without a name as __index_level_0__.
    column = next((n for n in ("task", "__index_level_0__") if n in table.column_names), None)
    if column is None or "task_index" not in table.column_names:
        raise UserError(f"{path} needs the columns 'task' and 'task_index'.")
    known = table["task_index"].to_pylist()
    missing = set(np.unique(numbers).tolist()) - set(known)
    if missing:
        raise UserError(f"{path} lacks the instruction number {min(missing)} that frames refer to.")
    place = {number: row for row, number in enumerate(known)}
    return tuple(table[column].to_pylist()), np.asarray([place[n] for n in numbers.tolist()])


def _clips(
    root: Path, info: Mapping[str, Any], episodes: Sequence[dict[str, Any]], image: str
) -> list[Clip]:
    """Return where in which video file each episode's frames lie."""
    clips = []
    for row in episodes:
        path = root / info["video_path"].format(
            video_key=image,
            chunk_index=row[f"videos/{image}/chunk_index"],
            file_index=row[f"videos/{image}/file_index"],
        )
        first = round(row[f"videos/{image}/from_timestamp"] * info["fps"])
        clips.append(Clip(path, first, row["length"]))
    return clips
