"""Branches repeat a demonstration up to a step, then do something else, the same every time."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from envs.branch import branch, branches_of, episodes_of
from envs.collection import Collection
from envs.dataset.branching import ACTIONS, BranchingPolicy
from envs.dataset.staging import StagingRecorder, staged_episodes
from envs.episode import Branch, Episode
from envs.rollout import run_episode
from experiment.errors import UserError
from tests.envs.toy import LIMIT, ToyEnv, ToyPolicy
from worldmodel.data.formats.lerobot import LeRobotEpisodes

SETTINGS: dict[str, Any] = {"at": [5, 8], "actions": ["zero", "reversed"], "length": 4}


def actions_of(kind: str, folder: Path, seed: int = 3) -> np.ndarray:
    """Return the actions that a branch at step 5 records, `(t, 7)`."""
    policy = BranchingPolicy(ToyPolicy(chunk=2), Branch(0, kind, 5, 4))
    episode = Episode(task="toy", index=0, seed=seed, branch=Branch(0, kind, 5, 4))
    run_episode(ToyEnv(), policy, episode, [StagingRecorder(folder, keep="all")])
    return np.asarray(staged_episodes(folder)[0].frames()["action"].to_pylist())


@pytest.mark.parametrize("kind", ACTIONS)
def test_a_branch_repeats_the_demonstration_and_then_differs(kind: str, tmp_path: Path) -> None:
    whole = actions_of("demonstration", tmp_path / "whole")
    branch = actions_of(kind, tmp_path / "branch")
    assert (len(whole), len(branch)) == (LIMIT, 9)
    np.testing.assert_array_equal(branch[:5], whole[:5])
    assert all(np.abs(branch[5:] - whole[5:9]).max(1) > 1e-4)
    np.testing.assert_array_equal(branch, actions_of(kind, tmp_path / "again"))


def test_reversed_actions_undo_the_way(tmp_path: Path) -> None:
    taken = actions_of("reversed", tmp_path)
    np.testing.assert_allclose(taken[5:, :6], -taken[4:0:-1, :6], atol=1e-7)
    assert not taken[5:, 6].any()


def test_random_actions_are_held_and_differ_by_episode(tmp_path: Path) -> None:
    taken = actions_of("random", tmp_path / "one")
    assert (taken[5] == taken[7]).all()
    assert (taken[7] != taken[8]).any()
    assert np.abs(taken[5:] - actions_of("random", tmp_path / "two", seed=4)[5:]).max() > 1e-3


@pytest.mark.slow
def test_the_data_set_names_each_branch_and_its_demonstration(tmp_path: Path) -> None:
    collection = Collection(
        task="toy",
        episodes=2,
        out=tmp_path,
        env={"_target_": "tests.envs.toy.ToyEnv"},
        policy={"_target_": "tests.envs.toy.ToyPolicy", "chunk": 3, "stops_after": 10},
        workers=1,
        keep_failures=True,
        robot_poses=("a0", "b0"),
    )
    # One begins after the demonstrations have ended.
    branches = branches_of(SETTINGS | {"at": [5, 40]})
    branch(collection, branches, {"crf": 20, "gop": 6})
    rows = pq.read_table(tmp_path / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    found = [(r["source/branch_of"], r["source/branch_actions"], r["length"]) for r in rows]
    kinds = [("demonstration", 12), ("zero", 9), ("reversed", 9)]
    assert found == [(i, kind, length) for i in range(2) for kind, length in kinds]
    states = [
        episode.array("observation.state")
        for episode in map(LeRobotEpisodes(str(tmp_path)).__getitem__, range(3))
    ]
    np.testing.assert_array_equal(states[0][:6], states[1][:6])
    assert np.abs(states[1][8] - states[0][8]).max() > 1e-3
    branch(collection, branches, {"crf": 20, "gop": 6})


def test_demonstrations_are_not_those_of_collect() -> None:
    collection = Collection("t", 3, Path("x"), {}, {}, 1, True, ())
    listed = episodes_of(collection, branches_of(SETTINGS))
    assert [e.index for e in listed] == list(range(15))
    assert len({e.seed for e in listed}) == 3
    assert not {e.seed for e in listed} & {collection.episode(i).seed for i in range(1000)}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"actions": ["revers"]}, "Did you mean 'reversed'"),
        ({"at": [0]}, "at=0"),
        ({"length": 2.5}, "length=2.5"),
    ],
)
def test_bad_settings_are_named(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(UserError, match=names):
        branches_of(SETTINGS | changes)
