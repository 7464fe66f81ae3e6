"""LeRobot data sets by episode: what was written comes back, and damage is named."""

import json
import multiprocessing
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.data import make_lerobot as made
from worldmodel.data.formats.lerobot import LeRobotEpisodes
from worldmodel.data.formats.lerobot import tables as tables_module

VERSIONS = tuple(made.FOLDERS)
EPISODES = [made.episode(number, length) for number, length in enumerate(made.LENGTHS)]
DATA_V3 = "data/chunk-000/file-000.parquet"
INDEX_V3 = "meta/episodes/chunk-000/file-000.parquet"
DATA_V2 = "data/chunk-000/episode_000001.parquet"
VIDEO_V2 = f"videos/chunk-000/{made.WRIST}/episode_000001.mp4"


@pytest.fixture(params=VERSIONS)
def root(request: pytest.FixtureRequest) -> Path:
    """Return the committed data set of each version."""
    return made.FOLDERS[request.param]


def test_columns_are_described(root: Path) -> None:
    found = LeRobotEpisodes(str(root))
    assert (found.source, found.fps, found.robot, len(found)) == (str(root), 5.0, "toy", 3)
    assert found.lengths.tolist() == list(made.LENGTHS)
    kinds = {name: (column.kind, column.shape) for name, column in found.columns.items()}
    assert kinds[made.HEAD] == kinds[made.WRIST] == ("image", (64, 80, 3))
    assert kinds["action"] == ("array", (7,))
    assert kinds["task"] == ("text", ())
    assert found.columns["next.success"].dtype == "bool"


def test_numbers_and_instructions_come_back(root: Path) -> None:
    episodes = LeRobotEpisodes(str(root))
    for number, expected in enumerate(EPISODES):
        found = episodes[number]
        assert len(found) == len(expected.action)
        np.testing.assert_array_equal(found.array("action"), expected.action)
        np.testing.assert_array_equal(found.array("observation.state"), expected.state)
        np.testing.assert_array_equal(found.array("next.success")[:, 0], expected.success)
        assert found.text("task") == list(expected.instructions)
        assert f"episode {number}" in found.name


def test_every_step_has_its_own_picture(root: Path) -> None:
    episodes = LeRobotEpisodes(str(root))
    for number, length in enumerate(made.LENGTHS):
        for place, camera in enumerate(made.CAMERAS):
            made.assert_shows(episodes[number].images(camera), place, number, list(range(length)))
            for step in range(length):
                made.assert_shows(
                    episodes[number].images(camera, np.array([step])), place, number, [step]
                )


def test_steps_come_in_the_order_asked_for(root: Path) -> None:
    episodes = LeRobotEpisodes(str(root))
    for steps in ([11, 0, 5, 5], [3, 1], [], [0, 11]):
        assert_same = episodes[1].images(made.WRIST, np.array(steps, dtype=int))
        assert assert_same.shape == (len(steps), 64, 80, 3)
        if steps:
            made.assert_shows(assert_same, 1, 1, steps)
    with pytest.raises(IndexError, match="12 steps"):
        episodes[1].images(made.WRIST, np.array([12]))
    with pytest.raises(IndexError, match="12 steps"):
        episodes[1].images(made.WRIST, np.array([-1]))
    with pytest.raises(IndexError, match="3 episodes"):
        episodes[3]


def test_a_long_way_between_steps_is_sought(tmp_path: Path) -> None:
    episodes = LeRobotEpisodes(str(made.write_v3(tmp_path / "set", made.toys((70, 90)))))
    for steps in ([0, 69], [1, 30, 60], [68]):
        made.assert_shows(episodes[0].images(made.HEAD, np.array(steps)), 0, 0, steps)
        made.assert_shows(episodes[1].images(made.HEAD, np.array(steps)), 0, 1, steps)


def test_pictures_may_lie_in_the_tables(tmp_path: Path) -> None:
    episodes = LeRobotEpisodes(str(made.write_v2(tmp_path / "set", as_png=True)))
    assert episodes.columns[made.WRIST].shape == (64, 80, 3)
    for steps in ([7, 2, 2], list(range(12))):
        found = episodes[1].images(made.WRIST, np.array(steps))
        np.testing.assert_array_equal(found, np.stack([made.picture(1, 1, s) for s in steps]))


def test_row_groups_are_dropped_and_read_again(v3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pq.read_table(v3 / DATA_V3), v3 / DATA_V3, row_group_size=5)
    episodes = LeRobotEpisodes(str(v3))
    episodes.tables = tables_module.Tables(episodes.storage, episodes.index.info, budget=100)
    for number in (2, 0, 1, 2):
        np.testing.assert_array_equal(episodes[number].array("action"), EPISODES[number].action)
        assert episodes[number].text("task") == list(EPISODES[number].instructions)


def test_another_process_can_have_it(root: Path) -> None:
    episodes = LeRobotEpisodes(str(root))
    episodes[0].array("action")
    again = pickle.loads(pickle.dumps(episodes))  # our own bytes
    np.testing.assert_array_equal(again[1].array("action"), EPISODES[1].action)


def test_forked_processes_read_their_own_files(root: Path) -> None:
    episodes = LeRobotEpisodes(str(root))
    wanted = np.random.default_rng(0).integers(0, 8, (40, 3))
    before = [episodes[1].images(made.HEAD, steps) for steps in wanted[:2]]
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def read() -> None:
        queue.put([made.whose(p) for s in wanted for p in episodes[1].images(made.HEAD, s)])

    processes = [context.Process(target=read, daemon=True) for _ in range(2)]
    for process in processes:
        process.start()
    here = [made.whose(p) for s in wanted for p in episodes[1].images(made.HEAD, s)]
    for found in (here, *(queue.get() for _ in processes)):
        assert found == [(0, 1, step) for step in wanted.ravel()]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    for steps, pictures in zip(wanted, before, strict=False):
        np.testing.assert_array_equal(episodes[1].images(made.HEAD, steps), pictures)


def test_threads_read_at_once(root: Path) -> None:
    episodes = LeRobotEpisodes(str(root))
    wanted = list(np.random.default_rng(0).integers(0, 8, (40, 3)))

    def read(steps: np.ndarray) -> list[tuple[int, int, int] | None]:
        assert episodes[2].text("task") == [""] * 10
        return [made.whose(found) for found in episodes[2].images(made.WRIST, steps)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read, wanted))
    assert found == [[(1, 2, step) for step in steps] for steps in wanted]


def test_every_version_holds_the_same_episodes() -> None:
    for version in VERSIONS:
        episodes = LeRobotEpisodes(str(made.FOLDERS[version]))
        for number, expected in enumerate(EPISODES):
            episode = episodes[number]
            np.testing.assert_array_equal(episode.array("action"), expected.action)
            assert episode.text("task") == list(expected.instructions)
            steps = list(range(len(episode)))
            made.assert_shows(episode.images(made.WRIST), 1, number, steps)


def test_v2_0_is_read_as_v2_1(tmp_path: Path) -> None:
    newer = LeRobotEpisodes(str(made.FOLDERS["v2.1"]))
    root = shutil.copytree(made.FOLDERS["v2.1"], tmp_path / "set")
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps(info | {"codebase_version": "v2.0"}))
    # Statistics lie in one file there.
    (root / "meta/episodes_stats.jsonl").rename(root / "meta/stats.json")
    older = LeRobotEpisodes(str(root))
    assert older.lengths.tolist() == newer.lengths.tolist()
    for number in range(len(older.lengths)):
        for read, name in (("images", made.WRIST), ("array", "action"), ("text", "task")):
            one, other = (getattr(each[number], read)(name) for each in (older, newer))
            assert np.array_equal(one, other)
