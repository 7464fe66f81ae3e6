"""Demonstrations and other LeRobot sets: adapter, camera, pictures decoded once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiment.errors import UserError
from experiment.settings import build, compose
from tests.data import make_lerobot as made
from tests.worldmodel import tiny
from worldmodel.data.adapter import Adapter
from worldmodel.data.dataset import DataSet
from worldmodel.data.order import WindowIndex
from worldmodel.data.reader import DataConfig
from worldmodel.data.source import DataSource

SIZE = (32, 48)
DATA = "data/chunk-000/file-000.parquet"
VIDEO = f"videos/{tiny.IMAGE}/chunk-000/file-000.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set of three episodes."""
    return tiny.write_data_set(tmp_path / "set")


def opened(root: Path, *arguments: str, video_only: bool = False) -> DataSet:
    """Open a set as an entry point does."""
    cache = f"data.source.cache={root.parent / 'cache'}"
    data = compose("inspect", ["data=demos", f"data.root={root}", cache, *arguments]).data
    source, use = build(data.source, DataSource), build(data.use, DataConfig)
    return source.open(use, SIZE, video_only)[0]


def edit_info(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def test_demonstrations_are_known_by_their_robot(root: Path) -> None:
    data = opened(root)
    assert (data.name, data.adapter.robot) == ("simpler_google_robot", "google_robot")
    table = pq.read_table(root / DATA)
    recorded = np.stack(table["action"].to_numpy())
    given = np.concatenate([data.canonical(number).action for number in range(3)])
    np.testing.assert_allclose(given[:, :6], recorded[:, :6], atol=1e-6)
    texts = data.canonical(0).instructions
    assert texts == [tiny.INSTRUCTIONS[0]] * 7 + [tiny.INSTRUCTIONS[1]] * 7
    window = data.window(WindowIndex(1, 2))
    expected = tiny.pictures(12, 1)[[2, 5, 8]].astype(int)
    assert np.abs(np.stack(window.pictures).astype(int) - expected).mean() < 4


def test_video_is_decoded_once_for_each_size(root: Path) -> None:
    cache = root.parent / "cache"
    opened(root)
    before = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert sum(name.endswith(".npy") for name in before) == 1
    opened(root, video_only=True)
    assert {path.name: path.stat().st_mtime_ns for path in cache.iterdir()} == before


def test_another_video_is_decoded_anew(root: Path, tmp_path: Path) -> None:
    opened(root)
    other = tiny.write_data_set(tmp_path / "other", (14, 12, 17))
    for name in (DATA, VIDEO, EPISODES):
        (other / name).replace(root / name)
    data = opened(root)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2
    assert data.lengths.tolist() == [14, 12, 17]


def test_a_damaged_video_leaves_no_cache(root: Path) -> None:
    path = root / VIDEO
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"file-000\.mp4"):
        opened(root)
    kept = (root.parent / "cache").iterdir()
    assert all(path.suffix == ".lock" for path in kept)


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_any_set_can_be_watched(version: str, tmp_path: Path) -> None:
    root = Path(made.FOLDERS[version])
    cache = f"data.source.cache={tmp_path}"
    with pytest.raises(UserError, match=r"2 cameras, set data.camera to one of: .*head, .*wrist"):
        opened(root, cache)
    data = opened(root, cache, "data.camera=observation.images.wrist")
    assert (data.adapter.image, data.rate) == ("observation.images.wrist", 5)
    assert data.window(WindowIndex(0, 0)).action.shape == (6, 0)
    assert data.canonical(0).instructions[0]
    assert not data.has_actions
    with pytest.raises(UserError, match=r"no column 'head' .*"):
        opened(root, cache, "data.camera=head")


def test_actions_of_another_kind_are_not_read(root: Path) -> None:
    """The robot's name alone does not say what its numbers mean."""
    joints = [f"joint_{n}" for n in range(7)]
    edit_info(root, lambda info: info["features"]["action"].update(names=joints))
    data = opened(root)
    assert not data.has_actions
    assert data.canonical(0).action.shape == (14, 0)


def six_numbers(root: Path) -> None:
    """Let each action have six numbers."""
    table = pq.read_table(root / DATA)
    values = pa.array([row[:6] for row in table["action"].to_pylist()], pa.list_(pa.float32()))
    place = table.column_names.index("action")
    pq.write_table(table.set_column(place, "action", values), root / DATA)
    edit_info(root, lambda info: info["features"]["action"].update(shape=[6], names=None))


def test_fewer_numbers_than_an_adapter_reads_are_refused(root: Path) -> None:
    six_numbers(root)
    assert not opened(root).has_actions
    with pytest.raises(UserError, match=r"'action' has 6 numbers .* 'action\[6\]' cannot be"):
        opened(root, "adapter=simpler_google_robot")


def test_a_nan_in_an_action_stops_only_who_reads_it(root: Path) -> None:
    table = pq.read_table(root / DATA)
    values = table["action"].to_pylist()
    values[5][2] = float("nan")
    place = table.column_names.index("action")
    pq.write_table(table.set_column(place, "action", [values]), root / DATA)
    assert len(opened(root, video_only=True).window(WindowIndex(0, 0)).pictures) == 3
    with pytest.raises(UserError, match=r"'action' is not finite in step 5"):
        opened(root).canonical(0)


def test_an_empty_translation_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"action.translation is empty: name a column"):
        compose_adapter("data.adapter.action.translation=''")


def compose_adapter(*arguments: str) -> Adapter:
    given = ["data=fractal", "data.root=x", *arguments]
    return build(compose("inspect", given).data.adapter, Adapter)


def test_the_papers_windows_are_a_choice() -> None:
    given = ["data=fractal", "data.root=x", "windows=self_flow_paper"]
    windows = compose("finetune", given).data.use.windows
    assert list(windows.future) == list(range(1, 49))
    assert windows.chunk == 6
