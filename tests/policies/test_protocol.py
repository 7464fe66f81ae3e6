"""Which episodes are run."""

import pytest

from envs.errors import UserError
from envs.rollout import DEMONSTRATIONS, episode_seed
from policies.protocol import Protocol, episodes

DEFAULT = Protocol("default", ["a0", "b0", "c0"])


def test_the_list_is_the_same_every_time() -> None:
    assert episodes(DEFAULT, "open_and_place", 9) == episodes(DEFAULT, "open_and_place", 9)
    # Fixed numbers: a changed rule would silently compare different episodes.
    assert [e.seed for e in episodes(DEFAULT, "open_and_place", 2)] == [755355188, 1838336797]


def test_a_longer_list_begins_with_the_shorter() -> None:
    assert episodes(DEFAULT, "open_and_place", 30)[:7] == episodes(DEFAULT, "open_and_place", 7)


def test_robot_poses_take_turns() -> None:
    poses = [e.robot_pose for e in episodes(DEFAULT, "open_and_place", 5)]
    assert poses == ["a0", "b0", "c0", "a0", "b0"]


def test_task_protocol_index_and_seed_all_count() -> None:
    other = Protocol("other", ["a0", "b0", "c0"])
    lists = [
        episodes(DEFAULT, "open_and_place", 50),
        episodes(DEFAULT, "another_task", 50),
        episodes(other, "open_and_place", 50),
        episodes(DEFAULT, "open_and_place", 50, seed=1),
    ]
    assert len({e.seed for chosen in lists for e in chosen}) == 200


def test_no_evaluation_meets_a_demonstration() -> None:
    demonstrations = {episode_seed("open_and_place", DEMONSTRATIONS, i) for i in range(500)}
    evaluated = {e.seed for e in episodes(DEFAULT, "open_and_place", 500)}
    assert not demonstrations & evaluated
    assert min(demonstrations) > max(evaluated)
    with pytest.raises(UserError, match="kept for demonstrations"):
        episodes(Protocol(DEMONSTRATIONS), "open_and_place", 1)


def test_every_position_meets_every_pose() -> None:
    grid = Protocol("grid", ["a0", "b0"], [[-0.08, 0.0], [-0.02, 0.03]])
    pairs = [(e.robot_pose, e.object_xy) for e in episodes(grid, "open_and_place", 4)]
    assert len(set(pairs)) == 4
    assert pairs[2] == ("a0", (-0.02, 0.03))


def test_no_episodes_is_refused() -> None:
    with pytest.raises(UserError, match="episodes=0"):
        episodes(DEFAULT, "open_and_place", 0)
