"""The data set is what LeRobot v3.0 asks for, and what went in comes out."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from envs.dataset import lerobot_writer
from envs.dataset.corrective import LearnerDrives
from envs.dataset.lerobot_writer import assemble, total_episodes
from envs.dataset.perturbation import ActionPerturbation
from envs.dataset.staging import (
    IMAGE_KEY,
    EpisodeData,
    StagingRecorder,
    stage,
    stage_outcome,
    staged_episodes,
)
from envs.dataset.statistics import count_levels, of_levels, of_values
from envs.dataset.true_state import true_state
from envs.dataset.video import decode
from envs.episode import EXECUTED, Episode
from envs.rollout import run_episode
from experiment.errors import UserError
from tests.envs.toy import LIMIT, ToyEnv, ToyPolicy
from worldmodel.data.formats.lerobot import LeRobotEpisodes


def data(seed: int, frames: int, size: tuple[int, int] = (32, 40)) -> EpisodeData:
    generator = np.random.default_rng(seed)
    colour = generator.integers(20, 200, 3)
    pictures = np.broadcast_to(colour, (frames, *size, 3)) + np.arange(frames)[:, None, None, None]
    return EpisodeData(
        images=pictures.astype(np.uint8),
        state=generator.normal(size=(frames, 10)).astype(np.float32),
        action=generator.normal(size=(frames, 7)).astype(np.float32),
        instructions=["open top drawer"] * 3 + ["place apple into top drawer"] * (frames - 3),
        success=np.arange(frames) > frames - 3,
    )


EPISODES = {4: data(4, 6), 7: data(7, 9), 9: data(9, 5)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a data set of `EPISODES`, beside a failure that is not in it."""
    for index, episode in EPISODES.items():
        stage(tmp_path / ".staging", index, episode, {"index": index, "robot_pose": "a0"})
    stage_outcome(tmp_path / ".staging", 5, {"index": 5, "robot_pose": "b0"})
    build(tmp_path)
    return tmp_path


def build(folder: Path) -> None:
    staged = staged_episodes(folder / ".staging")
    assemble(folder, [staged[index] for index in sorted(staged) if staged[index].kept], robot="r")


def test_frames_come_back_as_they_went_in(folder: Path) -> None:
    table = pq.read_table(folder / "data/chunk-000/file-000.parquet")
    for name, field in (("observation.state", "state"), ("action", "action")):
        expected = np.concatenate([getattr(episode, field) for episode in EPISODES.values()])
        np.testing.assert_array_equal(np.asarray(table[name].to_pylist(), np.float32), expected)
    success = np.concatenate([episode.success for episode in EPISODES.values()])
    assert table["next.success"].to_pylist() == success.tolist()
    assert table["index"].to_pylist() == list(range(20))
    assert table["frame_index"].to_pylist() == [*range(6), *range(9), *range(5)]
    assert table["episode_index"].to_pylist() == [0] * 6 + [1] * 9 + [2] * 5
    times = np.asarray(table["timestamp"].to_pylist())
    np.testing.assert_allclose(times[6:15], np.arange(9) / 3, rtol=1e-6)


def test_the_instruction_of_each_frame_is_kept(folder: Path) -> None:
    table = pq.read_table(folder / "data/chunk-000/file-000.parquet")
    names = pq.read_table(folder / "meta/tasks.parquet").to_pylist()
    name_of = {row["task_index"]: row["task"] for row in names}
    expected = [name for episode in EPISODES.values() for name in episode.instructions]
    assert [name_of[number] for number in table["task_index"].to_pylist()] == expected


def test_pictures_lie_where_the_table_of_episodes_says(folder: Path) -> None:
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    frames = decode(folder / f"videos/{IMAGE_KEY}/chunk-000/file-000.mp4")
    for row, episode in zip(rows, EPISODES.values(), strict=True):
        start = round(row[f"videos/{IMAGE_KEY}/from_timestamp"] * 3)
        end = round(row[f"videos/{IMAGE_KEY}/to_timestamp"] * 3)
        assert end - start == row["length"] == len(episode.action)
        assert (row["dataset_from_index"], row["dataset_to_index"]) == (start, end)
        # Flat colours survive the encoder to within its rounding.
        error = frames[start:end].astype(int) - episode.images
        assert np.abs(error).max() <= 4
        assert row["tasks"] == ["open top drawer", "place apple into top drawer"]
    assert [row["source/index"] for row in rows] == [4, 7, 9]


def test_info_counts_and_describes(folder: Path) -> None:
    info = json.loads((folder / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    totals = {"episodes": 3, "frames": 20, "tasks": 2}
    assert {key: info[f"total_{key}"] for key in totals} == totals
    assert info["fps"] == 3
    assert info["splits"] == {"train": "0:3"}
    assert info["features"][IMAGE_KEY]["shape"] == [32, 40, 3]
    columns = set(pq.read_schema(folder / "data/chunk-000/file-000.parquet").names)
    assert columns == set(info["features"]) - {IMAGE_KEY}
    assert total_episodes(folder) == 3


def test_another_robot_has_another_control_rate(tmp_path: Path) -> None:
    stage(tmp_path / ".staging", 0, data(0, 10), {"index": 0}, fps=5)
    assemble(tmp_path, list(staged_episodes(tmp_path / ".staging").values()), robot="r", fps=5)
    assert json.loads((tmp_path / "meta/info.json").read_text())["fps"] == 5
    table = pq.read_table(tmp_path / "data/chunk-000/file-000.parquet")
    np.testing.assert_allclose(table["timestamp"].to_pylist(), np.arange(10) / 5, rtol=1e-6)
    with av.open(str(next((tmp_path / "videos").rglob("*.mp4")))) as container:
        assert container.streams.video[0].average_rate == 5


def test_statistics_are_of_all_frames(folder: Path) -> None:
    found = json.loads((folder / "meta/stats.json").read_text())
    actions = np.concatenate([episode.action for episode in EPISODES.values()]).astype(float)
    np.testing.assert_allclose(found["action"]["mean"], actions.mean(0), atol=1e-9)
    np.testing.assert_allclose(found["action"]["q99"], np.quantile(actions, 0.99, axis=0))
    assert found["action"]["count"] == [20]
    pictures = np.concatenate([e.images.reshape(-1, 3) for e in EPISODES.values()]) / 255.0
    np.testing.assert_allclose(np.ravel(found[IMAGE_KEY]["mean"]), pictures.mean(0))
    np.testing.assert_allclose(np.ravel(found[IMAGE_KEY]["max"]), pictures.max(0))


def test_level_counts_give_the_statistics_of_the_pixels() -> None:
    frames = np.random.default_rng(0).integers(30, 220, (5, 8, 6, 3)).astype(np.uint8)
    pixels = of_values(frames.reshape(-1, 3) / 255.0)
    levels = of_levels(count_levels(frames), 5)
    assert levels["count"] == [5]
    assert np.shape(levels["mean"]) == (3, 1, 1)
    for name in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(np.ravel(levels[name]), pixels[name], atol=1e-9)
    for name in ("q01", "q50", "q99"):
        np.testing.assert_allclose(np.ravel(levels[name]), pixels[name], atol=2 / 255)


def test_tasks_have_the_pandas_index_that_lerobot_reads(folder: Path) -> None:
    schema = pq.read_schema(folder / "meta/tasks.parquet")
    pandas = json.loads(schema.metadata[b"pandas"])
    assert pandas["index_columns"] == ["task"]
    assert {column["name"] for column in pandas["columns"]} == set(schema.names)


def test_assembling_again_gives_the_same_files(folder: Path) -> None:
    def files() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    before = files()
    build(folder)
    assert files() == before


def test_large_data_sets_are_shared_out_to_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lerobot_writer, "_VIDEO_FILE_MB", 1e-9)
    monkeypatch.setattr(lerobot_writer, "_FILES_IN_CHUNK", 2)
    build(folder)
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    places = [(row["data/chunk_index"], row["data/file_index"]) for row in rows]
    assert places == [(0, 0), (0, 1), (1, 0)]
    for row, (chunk, file), episode in zip(rows, places, EPISODES.values(), strict=True):
        place = f"chunk-{chunk:03d}/file-{file:03d}"
        assert row[f"videos/{IMAGE_KEY}/from_timestamp"] == 0
        assert len(decode(folder / f"videos/{IMAGE_KEY}/{place}.mp4")) == len(episode.action)
        assert (
            pq.read_table(folder / f"data/{place}.parquet")["index"][0].as_py()
            == (row["dataset_from_index"])
        )


@pytest.mark.parametrize("kind", ["mp4", "parquet", "json"])
def test_a_damaged_staged_file_is_named(folder: Path, kind: str) -> None:
    path = folder / f".staging/episode_000007.{kind}"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=rf"episode_000007\.{kind}"):
        build(folder)
    assert total_episodes(folder) == 3


def test_a_full_disk_leaves_the_finished_data_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "meta/info.json").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="disk is full"):
        build(folder)
    assert (folder / "meta/info.json").read_bytes() == before
    assert len(decode(folder / f"videos/{IMAGE_KEY}/chunk-000/file-000.mp4")) == 20


def test_a_full_disk_while_staging_leaves_no_finished_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def full_at_the_second_file(_: int) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full_at_the_second_file)
    with pytest.raises(UserError, match="disk is full"):
        stage(tmp_path, 0, EPISODES[4], {})
    assert staged_episodes(tmp_path) == {}


def test_further_cameras_have_videos_of_their_own(tmp_path: Path) -> None:
    wrist = "observation.images.wrist"
    whole = [
        replace(EPISODES[4], others={wrist: EPISODES[7].images[:6]}),
        replace(EPISODES[9], others={wrist: EPISODES[7].images[4:]}),
    ]
    for index, episode in enumerate(whole):
        stage(tmp_path / ".staging", index, episode, {"index": index})
    build(tmp_path)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    assert info["features"][wrist] == info["features"][IMAGE_KEY]
    statistics = json.loads((tmp_path / "meta/stats.json").read_text())
    assert statistics[wrist]["count"] == [11]
    assert statistics[wrist]["mean"] != statistics[IMAGE_KEY]["mean"]
    for camera, expected in (
        (IMAGE_KEY, [episode.images for episode in whole]),
        (wrist, [episode.others[wrist] for episode in whole]),
    ):
        frames = decode(tmp_path / f"videos/{camera}/chunk-000/file-000.mp4")
        error = frames.astype(int) - np.concatenate(expected)
        assert np.abs(error).max() <= 4
    rows = pq.read_table(tmp_path / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row[f"videos/{wrist}/from_timestamp"] for row in rows] == [0, 2]


def test_episodes_of_other_cameras_are_refused(folder: Path) -> None:
    more = replace(data(11, 5), others={"observation.images.wrist": data(12, 5).images})
    stage(folder / ".staging", 11, more, {})
    with pytest.raises(UserError, match=r"episode 11 has the cameras .*wrist"):
        build(folder)


def test_pictures_of_two_sizes_are_refused(folder: Path) -> None:
    stage(folder / ".staging", 11, data(11, 5, (64, 80)), {})
    with pytest.raises(UserError, match="several sizes"):
        build(folder)


def test_arrays_of_different_length_are_refused(tmp_path: Path) -> None:
    whole = EPISODES[4]
    cut = EpisodeData(
        whole.images, whole.state[1:], whole.action, whole.instructions, whole.success
    )
    with pytest.raises(ValueError, match="one length"):
        stage(tmp_path, 0, cut, {})


def test_a_recorded_episode_pairs_what_was_seen_with_what_was_done(tmp_path: Path) -> None:
    recorder = StagingRecorder(tmp_path)
    good = Episode(task="toy", index=2, seed=11, robot_pose="c0")
    bad = Episode(task="toy", index=3, seed=12, robot_pose="a0")
    env, policy = ToyEnv(fails_on=12), ToyPolicy()
    for episode in (good, bad):
        run_episode(env, policy, episode, [recorder])
    staged = staged_episodes(tmp_path)
    assert [staged[2].kept, staged[3].kept] == [True, False]
    assert staged[3].metadata["success_ever"] is False
    table = staged[2].frames()
    states = np.asarray(table["observation.state"].to_pylist(), np.float32)
    actions = np.asarray(table["action"].to_pylist(), np.float32)
    assert len(table) == LIMIT
    # Frame t was seen before action t, success t holds after it.
    np.testing.assert_allclose(states[1:, :7], states[:-1, :7] + actions[:-1], rtol=1e-5, atol=1e-6)
    assert table["next.success"].to_pylist() == [7 <= t < LIMIT - 1 for t in range(LIMIT)]
    assert table["task"].to_pylist().index("place apple into top drawer") == 5


def test_the_true_state_is_recorded_beside_what_a_policy_sees(tmp_path: Path) -> None:
    episode = Episode(task="toy", index=0, seed=10, robot_pose="c0")
    run_episode(ToyEnv(), ToyPolicy(), episode, [StagingRecorder(tmp_path / ".staging")])
    build(tmp_path)
    read = LeRobotEpisodes(str(tmp_path))
    column = read.columns["privileged.drawer_position"]
    assert (column.kind, column.shape, column.names) == ("array", (1,), ("drawer_position",))
    positions = read[0].array("privileged.drawer_position")[:, 0]
    # Of the step that the picture shows: the first is that of the reset.
    np.testing.assert_allclose(positions, 0.01 * np.arange(LIMIT), atol=1e-6)
    statistics = json.loads((tmp_path / "meta/stats.json").read_text())
    assert statistics["privileged.drawer_position"]["max"] == pytest.approx([0.01 * (LIMIT - 1)])


def test_what_was_executed_is_recorded_beside_the_action(tmp_path: Path) -> None:
    disturbed = ActionPerturbation(ToyEnv(), 1.0)
    driven = LearnerDrives(ActionPerturbation(ToyEnv(), 1.0), ToyPolicy(chunk=3), 0.5)
    for index, env in enumerate((ToyEnv(), disturbed, driven)):
        episode = Episode(task="toy", index=index, seed=11, robot_pose="c0")
        run_episode(env, ToyPolicy(), episode, [StagingRecorder(tmp_path / ".staging", "all")])
    build(tmp_path)
    read = LeRobotEpisodes(str(tmp_path))
    for index in range(3):
        episode_read = read[index]
        executed, action = episode_read.array(EXECUTED), episode_read.array("action")
        # The toy moves by what it is given; the seed's own scale of noise may be 0.
        moved = np.diff(episode_read.array("observation.state")[:, :7], axis=0)
        np.testing.assert_allclose(executed[:-1], moved, atol=1e-5)
        assert np.array_equal(executed, action) == (index == 0)


def test_episodes_without_the_true_state_are_not_mixed_in(folder: Path) -> None:
    more = replace(data(11, 5), privileged={"privileged.grasped": np.ones((5, 1), bool)})
    stage(folder / ".staging", 11, more, {})
    with pytest.raises(UserError, match=r"episode 11 has the columns .*grasped.*another out"):
        build(folder)


def test_poses_are_those_in_the_base_frame() -> None:
    # The base stands at (1, 0, 0) and looks along y; the object is 2 m ahead and turned as it is.
    quarter = np.array([np.sqrt(0.5), 0, 0, np.sqrt(0.5)])
    base = np.concatenate([[1.0, 0.0, 0.0], quarter])
    pose = np.concatenate([[1.0, 2.0, 0.5], -quarter])
    columns = true_state(
        {
            "base_pose": base,
            "objects": {"apple": {"pose": pose}},
            "source": "apple",
            "target": None,
            "grasped": True,
        }
    )
    assert set(columns) == {"privileged.object_pose", "privileged.grasped"}
    found = columns["privileged.object_pose"]
    np.testing.assert_allclose(found, [2, 0, 0.5, 1, 0, 0, 0], atol=1e-6)
