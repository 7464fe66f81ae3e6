"""What the reader of LeRobot episodes says about damaged data sets."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiment.errors import UserError
from tests.data import make_lerobot as made
from tests.worldmodel.fuzz_lerobot import fuzz
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.formats.lerobot import LeRobotEpisodes

DATA_V3 = "data/chunk-000/file-000.parquet"
INDEX_V3 = "meta/episodes/chunk-000/file-000.parquet"
DATA_V2 = "data/chunk-000/episode_000001.parquet"
VIDEO_V2 = f"videos/chunk-000/{made.WRIST}/episode_000001.mp4"


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit_table(path: Path, change: Callable[[dict[str, list[Any]]], object]) -> None:
    columns = pq.read_table(path).to_pydict()
    change(columns)
    pq.write_table(pa.table(columns), path)


def edit_info(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    change(info)
    (root / "meta/info.json").write_text(json.dumps(info))


def edit_episodes(root: Path, number: int, **values: object) -> None:
    path = root / INDEX_V3
    table = pq.read_table(path)
    for name, value in values.items():
        column = table[name.replace("__", "/")].to_pylist()
        column[number] = value
        place = table.column_names.index(name.replace("__", "/"))
        table = table.set_column(place, name.replace("__", "/"), [column])
    pq.write_table(table, path)


def put(column: str, row: int, value: object) -> Callable[[dict[str, list[Any]]], None]:
    def change(columns: dict[str, list[Any]]) -> None:
        columns[column][row] = value

    return change


def rewrite_video(path: Path, frames: int, fps: int = made.FPS, size: int = 64) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width, stream.pix_fmt = size, 80, "yuv420p"
        for step in range(frames):
            picture = made.picture(1, 1, step)[:size]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def read_all(root: Path, number: int) -> None:
    episode = LeRobotEpisodes(str(root))[number]
    for column in ("action", "observation.state"):
        episode.array(column)
    episode.text("task")
    for camera in made.CAMERAS:
        episode.images(camera)


WHOLE_SET: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no folder": ("v3.0", shutil.rmtree, "is no LeRobot data set"),
    "another version": (
        "v3.0",
        lambda r: edit_info(r, lambda i: i.update(codebase_version="v1.6")),
        r"info.json says version v1.6: LeRobot v2.0, v2.1, v3.0 are read",
    ),
    "info no object": (
        "v2.1",
        lambda r: (r / "meta/info.json").write_text("[]"),
        "info.json is damaged",
    ),
    "rate zero": ("v2.1", lambda r: edit_info(r, lambda i: i.update(fps=0)), "'fps' as 0.0"),
    "path with a trap": (
        "v3.0",
        lambda r: edit_info(r, lambda i: i.update(data_path="{chunk_index:99999999d}")),
        "info.json: the path .* cannot be filled in",
    ),
    "path outside": (
        "v3.0",
        lambda r: edit_info(r, lambda i: i.update(data_path="../{chunk_index}")),
        "'../{chunk_index}' is not a file inside the data set",
    ),
    "shape no list": (
        "v3.0",
        lambda r: edit_info(r, lambda i: i["features"]["action"].update(shape=7)),
        "info.json: the feature 'action' has the shape 7",
    ),
    "total wrong": (
        "v2.1",
        lambda r: edit_info(r, lambda i: i.update(total_frames=31)),
        "info.json says total_frames 31 where meta/episodes lists 30",
    ),
    "lines cut": ("v2.1", lambda r: cut_short(r / "meta/episodes.jsonl"), r"jsonl:\d is no JSON"),
    "length no number": (
        "v2.1",
        lambda r: (r / "meta/episodes.jsonl").write_text('{"episode_index": 0, "length": "8"}'),
        "episodes.jsonl:1 has 'length' as '8'",
    ),
    "tasks gone": ("v2.1", lambda r: (r / "meta/tasks.jsonl").unlink(), "tasks.jsonl is missing"),
    "start not finite": (
        "v3.0",
        lambda r: edit_episodes(r, 1, **{f"videos__{made.HEAD}__from_timestamp": float("nan")}),
        "from_timestamp' is not finite",
    ),
    "table of another type": (
        "v3.0",
        lambda r: edit_table(r / INDEX_V3, lambda c: c.update(length=["8", "12", "10"])),
        "column 'length' holds string where",
    ),
}


@pytest.mark.parametrize("name", WHOLE_SET)
def test_a_damaged_data_set_is_named(name: str, tmp_path: Path) -> None:
    version, damage, sentence = WHOLE_SET[name]
    root = Path(shutil.copytree(made.FOLDERS[version], tmp_path / "set"))
    damage(root)
    with pytest.raises(UserError, match=sentence):
        LeRobotEpisodes(str(root))


V2_RECORD: dict[str, tuple[Callable[[Path], object], str]] = {
    "parquet cut": (lambda r: cut_short(r / DATA_V2), "000001.parquet is truncated"),
    "parquet gone": (lambda r: (r / DATA_V2).unlink(), "000001.parquet is missing"),
    "column gone": (
        lambda r: edit_table(r / DATA_V2, lambda c: c.pop("action")),
        "000001.parquet has no column 'action'",
    ),
    "column of text": (
        lambda r: edit_table(r / DATA_V2, lambda c: c.update(action=["x"] * 12)),
        "column 'action' holds string where meta/info.json lists float32",
    ),
    "a short row": (
        lambda r: edit_table(r / DATA_V2, put("action", 3, [1.0] * 6)),
        "column 'action' holds rows of 6 numbers where",
    ),
    "a row missing": (
        lambda r: edit_table(r / DATA_V2, put("action", 3, None)),
        "column 'action' holds missing values",
    ),
    "not finite": (
        lambda r: edit_table(r / DATA_V2, put("action", 4, [0.0] * 6 + [float("nan")])),
        "'action' is not finite in step 4",
    ),
    "steps missing": (
        lambda r: edit_table(r / DATA_V2, lambda c: c.update({k: v[:-1] for k, v in c.items()})),
        "holds 11 of the 12 steps",
    ),
    "another episode's steps": (
        lambda r: edit_table(r / DATA_V2, put("episode_index", 5, 0)),
        "holds 11 of the 12 steps",
    ),
    "rows out of order": (
        lambda r: edit_table(r / DATA_V2, lambda c: c["frame_index"].reverse()),
        "'frame_index' that does not count",
    ),
    "unknown instruction": (
        lambda r: edit_table(r / DATA_V2, put("task_index", 2, 9)),
        "refers to the instruction number 9",
    ),
    "time off": (
        lambda r: edit_table(r / DATA_V2, put("timestamp", 2, 0.5)),
        r"step 2 has the timestamp 0.5000 s where 5 steps a second make 0.4000 s",
    ),
    "video gone": (lambda r: (r / VIDEO_V2).unlink(), "000001.mp4 is missing"),
    "video cut": (lambda r: cut_short(r / VIDEO_V2), "000001.mp4 is truncated"),
    "video too short": (
        lambda r: rewrite_video(r / VIDEO_V2, 11),
        r"000001.mp4 has no frame at 2.2000 s",
    ),
    "video of another rate": (
        lambda r: rewrite_video(r / VIDEO_V2, 12, fps=7),
        r"000001.mp4 has no frame at 0.2000 s",
    ),
    "video of another size": (
        lambda r: rewrite_video(r / VIDEO_V2, 12, size=48),
        r"000001.mp4 has frames of 48x80 where meta/info.json lists 64x80",
    ),
}


V3_RECORD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a step elsewhere": (
        lambda r: edit_table(
            r / DATA_V3, lambda c: c.update({k: v[:8] + v[9:] + v[8:9] for k, v in c.items()})
        ),
        "holds the episode in several pieces",
    ),
    "steps missing": (
        lambda r: edit_table(
            r / DATA_V3, lambda c: c.update({k: v[:10] + v[11:] for k, v in c.items()})
        ),
        "file-000.parquet holds 11 of the 12 steps",
    ),
    "not finite": (
        lambda r: edit_table(r / DATA_V3, put("observation.state", 9, [float("inf")] * 10)),
        "'observation.state' is not finite in step 1",
    ),
    "no such file": (
        lambda r: edit_episodes(r, 1, data__file_index=7),
        "file-007.parquet is missing",
    ),
}


RECORD = {"v2.1": V2_RECORD, "v3.0": V3_RECORD}


@pytest.mark.parametrize(("version", "name"), [(v, name) for v in RECORD for name in RECORD[v]])
def test_a_damaged_episode_is_named_and_the_others_are_read(
    version: str, name: str, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(made.FOLDERS[version], tmp_path / "set"))
    damage, sentence = RECORD[version][name]
    damage(root)
    with pytest.raises(DamagedRecord, match=rf"set episode 1: .*{sentence}"):
        read_all(root, 1)
    read_all(root, 0)
    read_all(root, 2)


def test_an_empty_episode_is_named(v2: Path) -> None:
    path = v2 / "meta/episodes.jsonl"
    path.write_text(path.read_text().replace('"length": 12', '"length": 0'))
    edit_info(v2, lambda i: i.update(total_frames=18))
    with pytest.raises(DamagedRecord, match="episode 1 is empty"):
        read_all(v2, 1)
    read_all(v2, 2)


def test_episodes_that_share_frames_are_named(v3: Path) -> None:
    edit_episodes(v3, 1, **{f"videos__{made.HEAD}__from_timestamp": 0.4})
    for number in (0, 1):
        with pytest.raises(DamagedRecord, match=f"episode {number}: .*frames to another one"):
            read_all(v3, number)
    read_all(v3, 2)


def test_too_little_video_for_the_steps_is_named(v3: Path) -> None:
    edit_episodes(v3, 2, **{f"videos__{made.HEAD}__from_timestamp": 4.2})
    with pytest.raises(DamagedRecord, match=r"episode 2: .*1.8000 s of video for 10 steps"):
        read_all(v3, 2)
    read_all(v3, 1)


def test_a_damaged_picture_in_a_table_is_named(tmp_path: Path) -> None:
    root = made.write_v2(tmp_path / "set", as_png=True)

    def damage(columns: dict[str, list[Any]]) -> None:
        columns[made.WRIST][3]["bytes"] = columns[made.WRIST][3]["bytes"][:100]
        columns[made.WRIST][5]["bytes"] = None

    edit_table(root / DATA_V2, damage)
    episode = LeRobotEpisodes(str(root))[1]
    with pytest.raises(DamagedRecord, match=r"episode 1: .*step 3: a damaged picture"):
        episode.images(made.WRIST)
    with pytest.raises(DamagedRecord, match=r"episode 1: .*step 5: .*no picture's bytes"):
        episode.images(made.WRIST, np.array([4, 5]))
    assert len(episode.images(made.WRIST, np.array([4, 6]))) == 2


def test_a_number_that_is_not_finite_stops_only_who_reads_it(v3: Path) -> None:
    edit_table(v3 / DATA_V3, put("action", 9, [float("nan")] * 7))
    episode = LeRobotEpisodes(str(v3))[1]
    assert len(episode.images(made.HEAD)) == len(episode.array("observation.state")) == 12
    with pytest.raises(DamagedRecord, match="'action' is not finite in step 1"):
        episode.array("action")


def test_a_refused_permission_is_no_damage(own_folder: Path) -> None:
    root = Path(shutil.copytree(made.FOLDERS["v2.1"], own_folder / "set"))
    episodes = LeRobotEpisodes(str(root))
    for path in (DATA_V2, VIDEO_V2, "meta/info.json"):
        (root / path).chmod(0)
    for column in ("action", made.WRIST):
        with pytest.raises(UserError, match="no permission") as raised:
            episodes[1].array(column) if column == "action" else episodes[1].images(column)
        assert not isinstance(raised.value, DamagedRecord)
    with pytest.raises(UserError, match=r"info.json could not be read .*no permission"):
        LeRobotEpisodes(str(root))
    root.chmod(0)
    with pytest.raises(UserError, match=r"info.json could not be read .*no permission"):
        LeRobotEpisodes(str(root))
    root.chmod(0o700)


def test_a_column_that_is_not_there_is_named(v3: Path) -> None:
    episode = LeRobotEpisodes(str(v3))[0]
    with pytest.raises(UserError, match=r"has no 'actions'. Did you mean 'action'"):
        episode.array("actions")
    with pytest.raises(UserError, match="'action' is of the kind array, not image"):
        episode.images("action")


@pytest.mark.slow
def test_a_column_whose_name_is_no_text_is_named(tmp_path: Path) -> None:
    root = Path(shutil.copytree(made.FOLDERS["v3.0"], tmp_path / "set"))
    table = root / "meta/tasks.parquet"
    table.write_bytes(table.read_bytes().replace(b"task_index", b"task_in\xfdex"))
    with pytest.raises(DamagedRecord, match=r"tasks\.parquet is truncated or no parquet file"):
        LeRobotEpisodes(str(root))


def test_damage_of_any_kind_is_a_sentence_or_valid_data(tmp_path: Path) -> None:
    found = fuzz(60, tmp_path)
    assert sum(found.values()) == 60
    kinds = {outcome.split(" ", 1)[1] for outcome in found}
    changed = {"changed", "changed within H.264"}
    assert {"refused", "identical"} <= kinds <= {"refused", "identical"} | changed
