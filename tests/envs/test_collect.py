"""Which episodes a data set holds: the lowest successful ones, however often it was cut off."""

import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from envs.collect import collect, indices_to_try
from envs.collection import Collection
from envs.dataset.lerobot_writer import total_episodes
from envs.dataset.staging import StagedCamera, StagedEpisode, staged_episodes
from envs.simpler.tasks.registry import TASKS
from experiment.errors import UserError
from experiment.run_folder import LOCK
from experiment.settings import ROOT, compose, plain

pytestmark = pytest.mark.slow

WIDOWX = ("spoon_on_towel", "carrot_on_plate", "stack_cube", "eggplant_in_basket")


def collection(out: Path, episodes: int = 6, **changes: Any) -> Collection:
    """Return a collection in the toy world, where every third seed or so fails."""
    settings: dict[str, Any] = {
        "task": "toy",
        "episodes": episodes,
        "out": out,
        "env": {"_target_": "tests.envs.toy.ToyEnv", "fails_on": 3},
        "policy": {"_target_": "tests.envs.toy.ToyPolicy"},
        "workers": 1,
        "keep_failures": False,
        "robot_poses": ("a0", "b0", "c0"),
    }
    return Collection(**(settings | changes))


def files(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != LOCK
    }


def rows(out: Path) -> list[dict[str, Any]]:
    table = pq.read_table(out / "meta/episodes/chunk-000/file-000.parquet")
    columns = [name for name in table.column_names if name.startswith("source/")]
    return table.select(columns).to_pylist()


def test_the_lowest_successful_episodes_are_in(tmp_path: Path) -> None:
    one = collection(tmp_path)
    collect(one)
    expected = [index for index in range(40) if one.episode(index).seed % 3 != 0][:6]
    # Otherwise no episode failed and nothing was tested.
    assert expected != list(range(6))
    found = rows(tmp_path)
    assert [row["source/index"] for row in found] == expected
    assert [row["source/seed"] for row in found] == [one.episode(i).seed for i in expected]
    assert [row["source/robot_pose"] for row in found] == ["abc"[i % 3] + "0" for i in expected]
    assert all(row["source/success_strict"] for row in found)


def test_failures_are_kept_on_request(tmp_path: Path) -> None:
    collect(collection(tmp_path, keep_failures=True))
    found = rows(tmp_path)
    assert [row["source/index"] for row in found] == list(range(6))
    assert {row["source/success_ever"] for row in found} == {True, False}


def test_beginnings_alone_are_the_first_steps_of_whole_episodes(tmp_path: Path) -> None:
    whole, begun = tmp_path / "whole", tmp_path / "begun"
    collect(collection(whole, keep_failures=True))
    collect(collection(begun, keep_failures=True, max_steps=2))
    actions = []
    for out in (whole, begun):
        table = pq.read_table(out / "data/chunk-000/file-000.parquet")
        first = [index < 2 for index in table["frame_index"].to_pylist()]
        actions.append(table.filter(first)["action"].to_pylist())
        assert len(first) > 12 if out == whole else all(first)
    assert actions[0] == actions[1]
    assert len(actions[1]) == 12
    with pytest.raises(UserError, match="max_steps=2, not null"):
        collect(collection(begun, keep_failures=True))


def test_two_processes_write_the_same_files(tmp_path: Path) -> None:
    collect(collection(tmp_path / "one"))
    collect(collection(tmp_path / "two", workers=2))
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_more_episodes_continue_an_earlier_run(tmp_path: Path) -> None:
    collect(collection(tmp_path / "once", 9))
    collect(collection(tmp_path / "twice", 4))
    staging = tmp_path / "twice" / ".staging"
    before = {path: path.stat().st_mtime_ns for path in staging.iterdir()}
    collect(collection(tmp_path / "twice", 9))
    assert files(tmp_path / "once") == files(tmp_path / "twice")
    after = {path: path.stat().st_mtime_ns for path in staging.iterdir()}
    assert len(after) > len(before)
    assert before.items() <= after.items()
    collect(collection(tmp_path / "twice", 9))
    collect(collection(tmp_path / "twice", 5))
    assert {path: path.stat().st_mtime_ns for path in staging.iterdir()} == after
    assert total_episodes(tmp_path / "twice") == 9


def test_a_killed_collection_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    env = {"_target_": "tests.envs.toy.ToyEnv", "fails_on": 3, "pause": 0.005}
    cut = collection(tmp_path / "cut", env=env)
    process = multiprocessing.get_context("spawn").Process(target=collect, args=(cut,))
    process.start()
    deadline = time.monotonic() + 60
    while len(list(cut.staging.glob("*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.join()
    assert 2 <= len(staged_episodes(cut.staging)) < 8
    (cut.staging / ".episode_000003.mp4.1.partial").write_bytes(b"half")
    assert total_episodes(cut.out) == 0
    collect(cut)
    collect(collection(tmp_path / "whole", env=env))
    assert files(cut.out) == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        (
            {"policy": {"_target_": "tests.envs.toy.ToyPolicy", "chunk": 3}},
            "policy.chunk=null, not 3",
        ),
        ({"env": {"_target_": "tests.envs.toy.ToyEnv"}}, "env.fails_on=3, not null"),
        ({"keep_failures": True}, "keep_failures=false, not true"),
        ({"robot_poses": ()}, "robot_poses="),
    ],
)
def test_a_folder_of_other_settings_is_refused(
    tmp_path: Path, changes: dict[str, Any], names: str
) -> None:
    collect(collection(tmp_path, 2))
    before = files(tmp_path)
    with pytest.raises(UserError, match=names):
        collect(collection(tmp_path, 3, **changes))
    assert files(tmp_path) == before


def test_a_folder_of_another_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    with pytest.raises(UserError, match="holds other things"):
        collect(collection(tmp_path))


def test_a_mistyped_policy_does_not_claim_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ToyPolcy"):
        collect(collection(tmp_path, policy={"_target_": "tests.envs.toy.ToyPolcy"}))
    collect(collection(tmp_path, 2))
    assert total_episodes(tmp_path) == 2


def test_a_policy_that_never_succeeds_is_given_up(tmp_path: Path) -> None:
    env = {"_target_": "tests.envs.toy.ToyEnv", "fails_on": 1}
    with pytest.raises(UserError, match="succeeded in 0 of 45 episodes"):
        collect(collection(tmp_path, 45, env=env))
    assert total_episodes(tmp_path) == 0


def test_gaps_are_filled_before_new_indices_are_tried(tmp_path: Path) -> None:
    def staged(index: int, kept: bool) -> StagedEpisode:
        camera = StagedCamera((32, 40), np.zeros((3, 256)), tmp_path / "clip.mp4")
        return StagedEpisode(tmp_path, index, {}, {"head": camera} if kept else {})

    there = {0: staged(0, True), 1: staged(1, False), 4: staged(4, True)}
    assert indices_to_try(there, 2) == [2]
    assert indices_to_try(there, 4) == [2, 3]
    assert indices_to_try(there, 6) == [2, 3, 5, 6]
    assert indices_to_try({}, 3) == [0, 1, 2]


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("episodes=0", "episodes=0: give a whole number"),
        ("episodes=many", "episodes=many"),
        ("workers=-1", "workers=-1"),
        ("keep_failures=maybe", "keep_failures=maybe"),
        ("max_steps=0", "max_steps=0: give a whole number of at least 1"),
        ("max_steps=2.5", "max_steps=2.5"),
        ("seed=-1", "seed=-1 must be a whole number"),
        ("seed=two", "seed=two must be a whole number"),
        ("episods=3", "Did you mean 'episodes'"),
        ("task=open_and_plase", "Did you mean 'open_and_place'"),
        ("policy=orakle", "Did you mean 'oracle'"),
        ("task=all", "of one task"),
        ("variants=[]", "give at least one"),
        ("variants=base", "must be a list"),
        ("object_range=[[0.1,0],[0,1]]", "the lower bound first"),
        ("object_range=[0,1]", "object_range=.*: give 2 pairs"),
        ("object_range=[[0,nan],[0,1]]", "give 2 pairs"),
        ("robot_range=[[0,1],[0,1]]", "robot_range=.*: give 3 pairs"),
        ("scattered=2", "scattered=2 must be true or false"),
    ],
)
def test_bad_settings_get_one_sentence(argument: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        Collection.from_settings(plain(compose("collect", [argument])))


def test_the_shipped_settings_are_the_expert_in_the_task() -> None:
    one = Collection.from_settings(plain(compose("collect", ["episodes=7", "out=there"])))
    assert one.policy["_target_"] == "policies.experts.registry.make_expert"
    assert one.env["terminate_on_success"] is False
    assert one.env["task"] == one.task == "open_and_place"
    assert (one.episodes, one.out) == (7, Path("there"))
    assert json.dumps(one.identity())


def test_every_layout_has_its_turn_and_another_seed_has_other_episodes(tmp_path: Path) -> None:
    one, other = (collection(tmp_path, layouts=12, seed=seed) for seed in (0, 1))
    first, second = ([each.episode(index) for index in range(36)] for each in (one, other))
    for turn in range(3):
        layouts = {episode.layout for episode in first[12 * turn : 12 * turn + 12]}
        assert layouts == set(range(12))
    assert len({tuple(e.layout for e in first[i : i + 12]) for i in (0, 12, 24)}) == 3
    assert not {e.seed for e in first} & {e.seed for e in second}
    assert [e.layout for e in first] != [e.layout for e in second]
    assert collection(tmp_path).episode(3).layout is None
    assert first[3].seed == collection(tmp_path).episode(3).seed
    assert one.identity() != other.identity()


def test_every_pair_of_pose_and_variant_comes(tmp_path: Path) -> None:
    variants = ("base", "lighting_darker", "background_1")
    one = collection(tmp_path, variants=variants)
    first = [one.episode(index) for index in range(9)]
    assert len({(episode.robot_pose, episode.variant) for episode in first}) == 9
    without_poses = collection(tmp_path, variants=variants, robot_poses=())
    assert tuple(without_poses.episode(index).variant for index in range(3)) == variants
    assert collection(tmp_path).episode(5).variant == "visual_matching"


def test_objects_and_robots_start_in_the_ranges_that_are_given(tmp_path: Path) -> None:
    given = ["object_range=[[-0.13,-0.07],[-0.05,0.1]]"]
    there = Collection.from_settings(plain(compose("collect", given)))
    places = np.array([there.episode(index).object_xy for index in range(50)])
    assert ((places > [-0.13, -0.05]) & (places < [-0.07, 0.1])).all()
    assert (np.ptp(places, axis=0) > [0.05, 0.12]).all()
    assert there.episode(7).object_xy == there.episode(7).object_xy
    anywhere = collection(tmp_path)
    assert anywhere.episode(0).object_xy is None
    assert there.episode(0).robot_pose == "a0"
    aside = Collection.from_settings(
        plain(compose("collect", ["robot_range=[[0.6,0.9],[-0.2,0.2],[0,0]]"]))
    )
    moved = [aside.episode(index) for index in range(20)]
    assert len({each.robot_xy for each in moved}) == 20
    assert {each.robot_yaw for each in moved} == {0.0}
    assert {each.robot_pose for each in moved} == {None}
    # So that folders begun before there were ranges are gone on with.
    assert not {"object_range", "robot_range"} & anywhere.identity().keys()
    for one in (there, aside):
        assert json.loads(json.dumps(one.identity())) == one.identity()  # what resuming compares


def test_scattered_starts_are_on_no_list(tmp_path: Path) -> None:
    one = Collection.from_settings(plain(compose("collect", ["task=stack_cube", "scattered=true"])))
    episodes = [one.episode(index) for index in range(24)]
    assert len({(each.object_xy, each.target_xy) for each in episodes}) == 24
    assert {each.layout for each in episodes} == set(range(24))
    assert json.loads(json.dumps(one.identity())) == one.identity()
    drawer = ["task=open_top_drawer", "scattered=true"]
    robot = Collection.from_settings(plain(compose("collect", drawer))).episode(0)
    assert robot.robot_pose is None
    assert robot.robot_xy is not None
    assert "scattered" not in collection(tmp_path).identity()
    with pytest.raises(UserError, match="leave out robot_range"):
        Collection.from_settings(
            plain(compose("collect", [*drawer, "robot_range=[[0,1],[0,1],[0,0]]"]))
        )


def test_every_task_can_be_collected() -> None:
    names = sorted(path.stem for path in (ROOT / "configs/task").glob("*.yaml"))
    assert len(names) == 26  # SIMPLER's 25 and "all"
    for name in set(names) - {"all"}:
        one = Collection.from_settings(plain(compose("collect", [f"task={name}"])))
        assert one.layouts == TASKS[name].layouts
        assert one.task == one.env["task"] == name
        assert one.episode(4).robot_pose in (*one.robot_poses, None)
        assert one.robot == ("widowx" if name in WIDOWX else "google_robot")
