"""A LeRobot v3.0 data set from staged episodes.

The data set's `meta/info.json` is written last, so a folder without it is one that was not
finished; assembling it again from the same episodes gives the same files.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from envs.dataset.staging import FPS, StagedEpisode, parquet_bytes
from envs.dataset.statistics import Statistics, as_columns, of_levels, of_values
from envs.dataset.true_state import NAMES
from envs.dataset.video import join
from experiment.errors import UserError
from experiment.files import disk_error, write_bytes

CODEBASE_VERSION = "v3.0"

STATE_NAMES = [
    *("x", "y", "z"),
    *("rotation_xx", "rotation_yx", "rotation_zx"),
    *("rotation_xy", "rotation_yy", "rotation_zy"),
    "finger_angle",
]
ACTION_NAMES = ["dx", "dy", "dz", "rotation_x", "rotation_y", "rotation_z", "gripper"]

_FILES_IN_CHUNK = 1000
_VIDEO_FILE_MB, _DATA_FILE_MB = 200, 100


def assemble(out: Path, episodes: Sequence[StagedEpisode], *, robot: str, fps: int = FPS) -> None:
    """Write the data set `out` from staged episodes, replacing an earlier one.

    `fps` is the control rate (Hz) that the episodes were staged with. Episodes are numbered 0, 1, …
    in the given order. Raises `UserError` when a staged file is damaged, the pictures differ in
    size, or the disk is full; the staged episodes are kept.
    """
    if not episodes or not all(episode.kept for episode in episodes):
        raise ValueError("a data set is made of at least one episode, all with their frames")
    pictures = _pictures(out, episodes)
    building = out / ".assembled"
    shutil.rmtree(building, ignore_errors=True)
    tables = [episode.frames() for episode in episodes]
    privileged = _privileged(out, episodes, tables)
    rows, tasks = _write_files(building, episodes, tables, fps)
    _write_meta(building, episodes, tables, rows, tasks)
    totals = {
        "total_episodes": len(episodes),
        "total_frames": sum(len(table) for table in tables),
        "total_tasks": len(tasks),
    }
    info = {"codebase_version": CODEBASE_VERSION, "robot_type": robot} | totals
    info |= _layout(len(episodes), fps) | {"features": _features(pictures, fps) | privileged}
    _replace(out, building, json.dumps(info, indent=4).encode())


def total_episodes(out: Path) -> int:
    """Return how many episodes the finished data set `out` holds, 0 where there is none."""
    info = out / "meta" / "info.json"
    if not info.exists():
        return 0
    try:
        return int(json.loads(info.read_bytes())["total_episodes"])
    except (ValueError, KeyError) as error:
        raise UserError(f"{info} is damaged ({error}): delete it and start again.") from error


def _write_files(
    folder: Path, episodes: Sequence[StagedEpisode], tables: Sequence[pa.Table], fps: int
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Write data and video files; return one row an episode and the numbers of the instructions."""
    tasks: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    first_frame = 0
    cameras = list(episodes[0].cameras)
    for file, members in enumerate(_files(episodes)):
        chunk, number = divmod(file, _FILES_IN_CHUNK)
        file_name = f"chunk-{chunk:03d}/file-{number:03d}"
        in_file: list[pa.Table] = []
        seconds = 0.0
        for member in members:
            table = tables[member]
            length = len(table)
            names = table["task"].to_pylist()
            numbers = [tasks.setdefault(name, len(tasks)) for name in names]
            in_file.append(_numbered(table, numbers, member, first_frame, fps))
            row = {
                "episode_index": member,
                "tasks": list(dict.fromkeys(names)),
                "length": length,
                "data/chunk_index": chunk,
                "data/file_index": number,
                "dataset_from_index": first_frame,
                "dataset_to_index": first_frame + length,
            }
            for camera in cameras:
                row |= {
                    f"videos/{camera}/chunk_index": chunk,
                    f"videos/{camera}/file_index": number,
                    f"videos/{camera}/from_timestamp": seconds,
                    f"videos/{camera}/to_timestamp": seconds + length / fps,
                }
            row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
            rows.append(row)
            first_frame += length
            seconds += length / fps
        write_bytes(folder / f"data/{file_name}.parquet", parquet_bytes(pa.concat_tables(in_file)))
        for camera in cameras:
            clips = [episodes[member].cameras[camera].video for member in members]
            write_bytes(folder / f"videos/{camera}/{file_name}.mp4", join(clips, fps))
    return rows, tasks


def _pictures(out: Path, episodes: Sequence[StagedEpisode]) -> dict[str, tuple[int, int]]:
    """Return height and width by camera, which must be the same in all episodes."""
    sizes: dict[str, tuple[int, int]] = {}
    for episode in episodes:
        episode_sizes = {name: camera.size for name, camera in episode.cameras.items()}
        sizes = sizes or episode_sizes
        if set(episode_sizes) != set(sizes):
            raise UserError(
                f"{out}: episode {episode.index} has the cameras {sorted(episode_sizes)}, others "
                f"have {sorted(sizes)}, in one data set."
            )
        if episode_sizes != sizes:
            raise UserError(
                f"{out}: pictures of several sizes {episode_sizes} and {sizes} in one data set."
            )
    return sizes


def _numbers(table: pa.Table) -> list[str]:
    """Return the columns of a staged table that are numbers."""
    return [name for name in table.column_names if name != "task"]


def _privileged(
    out: Path, episodes: Sequence[StagedEpisode], tables: Sequence[pa.Table]
) -> dict[str, Any]:
    """Return the features of what only the simulator knows, the same in all episodes."""
    for episode, table in zip(episodes, tables, strict=True):
        if table.schema != tables[0].schema:
            raise UserError(
                f"{out}: episode {episode.index} has the columns {table.column_names}, others "
                f"have {tables[0].column_names}: they were collected by different versions, give "
                "another out=FOLDER."
            )
    features = {}
    for name in _numbers(tables[0]):
        if name in NAMES:
            kind = tables[0].schema.field(name).type
            size = kind.list_size if pa.types.is_fixed_size_list(kind) else 1
            dtype = "bool" if pa.types.is_boolean(kind) else "float32"
            features[name] = {"dtype": dtype, "shape": [size], "names": list(NAMES[name])}
    return features


def _files(episodes: Sequence[StagedEpisode]) -> Iterator[list[int]]:
    """Share episodes out to files of at most `_VIDEO_FILE_MB`, one video file a data file."""
    members: list[int] = []
    size = 0
    for member, episode in enumerate(episodes):
        videos = [camera.video for camera in episode.cameras.values()]
        clip = max(video.stat().st_size if video.exists() else 0 for video in videos)
        if members and size + clip > _VIDEO_FILE_MB * 1e6:
            yield members
            members, size = [], 0
        members.append(member)
        size += clip
    yield members


def _numbered(
    table: pa.Table, tasks: Sequence[int], episode: int, first_frame: int, fps: int
) -> pa.Table:
    frames = np.arange(len(table), dtype=np.int64)
    columns = {name: table[name] for name in _numbers(table)}
    return pa.table(
        columns
        | {
            "timestamp": pa.array((frames / fps).astype(np.float32)),
            "frame_index": pa.array(frames),
            "episode_index": pa.array(np.full_like(frames, episode)),
            "index": pa.array(frames + first_frame),
            "task_index": pa.array(np.asarray(tasks, dtype=np.int64)),
        }
    )


def _write_meta(
    folder: Path,
    episodes: Sequence[StagedEpisode],
    tables: Sequence[pa.Table],
    rows: Sequence[dict[str, Any]],
    tasks: Mapping[str, int],
) -> None:
    cameras = list(episodes[0].cameras)
    table_of_episodes = [
        row
        | {f"source/{key}": value for key, value in episode.metadata.items()}
        | as_columns(_statistics([table], {c: episode.cameras[c].levels for c in cameras}))
        for row, episode, table in zip(rows, episodes, tables, strict=True)
    ]
    names = pa.table(
        {
            "task_index": pa.array(list(tasks.values()), pa.int64()),
            "task": pa.array(list(tasks), pa.string()),
        }
    )
    # LeRobot reads the instruction from the index of a pandas table.
    names = names.replace_schema_metadata({"pandas": json.dumps(_TASKS_IN_PANDAS)})
    levels = {
        c: np.sum([episode.cameras[c].levels for episode in episodes], axis=0) for c in cameras
    }
    statistics = json.dumps(_statistics(tables, levels), indent=4)
    meta = folder / "meta"
    episode_table = parquet_bytes(pa.Table.from_pylist(table_of_episodes))
    write_bytes(meta / "episodes/chunk-000/file-000.parquet", episode_table)
    write_bytes(meta / "tasks.parquet", parquet_bytes(names))
    write_bytes(meta / "stats.json", statistics.encode())


def _statistics(
    tables: Sequence[pa.Table], levels: Mapping[str, np.ndarray]
) -> dict[str, Statistics]:
    frames = sum(len(table) for table in tables)
    statistics = {camera: of_levels(counts, frames) for camera, counts in levels.items()}
    for name in _numbers(tables[0]):
        values = [np.asarray(table[name].to_pylist(), dtype=np.float64) for table in tables]
        statistics[name] = of_values(np.concatenate(values).reshape(frames, -1))
    return statistics


def _layout(episodes: int, fps: int) -> dict[str, Any]:
    return {
        "chunks_size": _FILES_IN_CHUNK,
        "data_files_size_in_mb": _DATA_FILE_MB,
        "video_files_size_in_mb": _VIDEO_FILE_MB,
        "fps": fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }


def _features(pictures: Mapping[str, tuple[int, int]], fps: int) -> dict[str, Any]:
    def feature(dtype: str, shape: list[int], names: list[str] | None = None) -> dict[str, Any]:
        return {"dtype": dtype, "shape": shape, "names": names}

    def video(height: int, width: int) -> dict[str, Any]:
        facts = {
            "video.height": height,
            "video.width": width,
            "video.channels": 3,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": fps,
            "has_audio": False,
        }
        image = feature("video", [height, width, 3], ["height", "width", "channels"])
        return image | {"info": facts}

    numbers = ("frame_index", "episode_index", "index", "task_index")
    return {
        **{camera: video(*size) for camera, size in pictures.items()},
        "observation.state": feature("float32", [10], STATE_NAMES),
        "action": feature("float32", [7], ACTION_NAMES),
        "next.success": feature("bool", [1]),
        "timestamp": feature("float32", [1]),
        **{name: feature("int64", [1]) for name in numbers},
    }


def _replace(out: Path, building: Path, info: bytes) -> None:
    """Move the new data set into place; `meta/info.json` goes first and comes last."""
    try:
        (out / "meta" / "info.json").unlink(missing_ok=True)
        for folder in ("data", "videos", "meta"):
            shutil.rmtree(out / folder, ignore_errors=True)
            (building / folder).rename(out / folder)
        building.rmdir()
    except OSError as error:
        raise disk_error(error, out) from error
    write_bytes(out / "meta" / "info.json", info)


_TASKS_IN_PANDAS = {
    "index_columns": ["task"],
    "column_indexes": [],
    "columns": [
        {
            "name": name,
            "field_name": name,
            "pandas_type": pandas_type,
            "numpy_type": numpy_type,
            "metadata": None,
        }
        for name, pandas_type, numpy_type in (
            ("task_index", "int64", "int64"),
            ("task", "unicode", "object"),
        )
    ],
    "pandas_version": "2.0.0",
}
