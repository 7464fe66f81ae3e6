"""The LeRobot reader, and what it says about damaged data sets."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiment.errors import UserError
from tests.worldmodel import tiny
from worldmodel.data.formats.lerobot import LeRobot
from worldmodel.tokenizer.pixel import PixelTokenizer

TOKENIZER = PixelTokenizer(height=32, width=48, patch=16)
DATA = "data/chunk-000/file-000.parquet"
VIDEO = f"videos/{tiny.IMAGE}/chunk-000/file-000.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set of three episodes."""
    return tiny.write_data_set(tmp_path / "set")


def test_episodes_come_back(root: Path) -> None:
    found = LeRobot(str(root)).read(TOKENIZER)
    assert found.starts.tolist() == [0, 14, 26, 42]
    assert found.frames.shape == (42, 32, 48, 3)
    for episode, length in enumerate((14, 12, 16)):
        frames = found.frames[found.starts[episode] : found.starts[episode + 1]]
        error = np.abs(frames.astype(int) - tiny.pictures(length, episode).astype(int))
        assert error.mean() < 4
    table = pq.read_table(root / DATA)
    np.testing.assert_array_equal(found.action, np.stack(table["action"].to_numpy()))
    names = [found.instructions[i] for i in found.instruction[:14]]
    assert names == [tiny.INSTRUCTIONS[0]] * 7 + [tiny.INSTRUCTIONS[1]] * 7


def test_video_is_decoded_once_for_each_size(root: Path) -> None:
    first = LeRobot(str(root)).read(TOKENIZER).frames
    cache = sorted((root / "cache").iterdir())
    before = [path.stat().st_mtime_ns for path in cache]
    again = LeRobot(str(root)).read(TOKENIZER).frames
    np.testing.assert_array_equal(first, again)
    assert isinstance(again, np.memmap)
    assert [path.stat().st_mtime_ns for path in sorted((root / "cache").iterdir())] == before
    smaller = LeRobot(str(root)).read(PixelTokenizer(height=16, width=16)).frames
    assert smaller.shape == (42, 16, 16, 3)
    assert len(list((root / "cache").iterdir())) == 2


def test_another_video_is_decoded_anew(root: Path, tmp_path: Path) -> None:
    LeRobot(str(root)).read(TOKENIZER)
    other = tiny.write_data_set(tmp_path / "other", (14, 12, 17))
    for name in (DATA, VIDEO, EPISODES):
        (other / name).replace(root / name)
    assert len(LeRobot(str(root)).read(TOKENIZER).frames) == 43


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_column(path: Path, name: str) -> None:
    pq.write_table(pq.read_table(path).drop_columns([name]), path)


def edit_info(root: Path, change: Callable[[dict], None]) -> None:
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def longer_episode(root: Path) -> None:
    rows = pq.read_table(root / EPISODES).to_pylist()
    rows[-1]["length"] += 5
    pq.write_table(pa.Table.from_pylist(rows), root / EPISODES)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no info": (lambda r: (r / "meta/info.json").unlink(), "set is no LeRobot data set"),
    "info cut": (lambda r: cut_short(r / "meta/info.json"), "info.json is damaged"),
    "old version": (
        lambda r: edit_info(r, lambda i: i.update(codebase_version="v1.6")),
        "info.json says version v1.6",
    ),
    "no fps": (lambda r: edit_info(r, lambda i: i.pop("fps")), "info.json has no 'fps'"),
    "no action": (
        lambda r: edit_info(r, lambda i: i["features"].pop("action")),
        "info.json lists no feature 'action'",
    ),
    "parquet cut": (lambda r: cut_short(r / DATA), "file-000.parquet is truncated"),
    "parquet gone": (lambda r: (r / DATA).unlink(), "file-000.parquet is missing"),
    "no column": (
        lambda r: drop_column(r / DATA, "observation.state"),
        "file-000.parquet has no column 'observation.state'",
    ),
    "episodes cut": (lambda r: cut_short(r / EPISODES), "file-000.parquet is truncated"),
    "episodes gone": (lambda r: (r / EPISODES).unlink(), "no table of episodes"),
    "frames missing": (longer_episode, "does not hold the 47 frames"),
    "tasks gone": (lambda r: (r / "meta/tasks.parquet").unlink(), "tasks.parquet is missing"),
    "video cut": (lambda r: cut_short(r / VIDEO), "file-000.mp4 is truncated"),
    "video gone": (lambda r: (r / VIDEO).unlink(), "file-000.mp4 is missing"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named_with_its_file(root: Path, name: str) -> None:
    damage, sentence = DAMAGES[name]
    damage(root)
    with pytest.raises(UserError, match=sentence):
        LeRobot(str(root)).read(TOKENIZER)
    assert not list(root.glob("cache/*"))


def test_a_video_with_too_few_frames_is_named(root: Path, tmp_path: Path) -> None:
    short = tiny.write_data_set(tmp_path / "short", (14, 12, 10))
    (short / VIDEO).replace(root / VIDEO)
    with pytest.raises(UserError, match="mp4 ends after 36 frames where meta/episodes lists 42"):
        LeRobot(str(root)).read(TOKENIZER)


def test_numbers_that_are_not_finite_are_named(root: Path) -> None:
    table = pq.read_table(root / DATA)
    values = table["action"].to_pylist()
    values[5][2] = float("nan")
    place = table.column_names.index("action")
    pq.write_table(table.set_column(place, "action", [values]), root / DATA)
    with pytest.raises(UserError, match="'action' is not finite in frame 5"):
        LeRobot(str(root)).read(TOKENIZER)
