"""Which episodes are run."""

from collections import Counter

import pytest

from envs.episode import DEMONSTRATIONS, episode_seed
from experiment.errors import UserError
from policies.evaluation.protocol import ALL, Protocol, episodes

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


def test_scattered_starts_are_the_same_every_time_and_on_no_list() -> None:
    one = episodes(Protocol("scattered"), "move_near", 20)
    assert one[:5] == episodes(Protocol("scattered"), "move_near", 5)
    assert len({(e.object_xy, e.target_xy, e.distractor_xy) for e in one}) == 20
    other = episodes(Protocol("scattered"), "move_near", 20, seed=1)
    assert not {e.object_xy for e in one} & {e.object_xy for e in other}
    robots = {e.robot_xy for e in episodes(Protocol("scattered"), "close_top_drawer", 20)}
    assert len(robots) == 20
    cans = episodes(Protocol("scattered"), "pick_standing_coke_can", 1)
    assert cans[0].reset_options() == {}  # they lie anywhere by default


def test_no_episodes_is_refused() -> None:
    with pytest.raises(UserError, match="episodes=0"):
        episodes(DEFAULT, "open_and_place", 0)


def test_layouts_take_turns() -> None:
    grid = Protocol("grid", layouts=24)
    assert [e.layout for e in episodes(grid, "stack_cube", 26)][22:] == [22, 23, 0, 1]
    assert {e.layout for e in episodes(DEFAULT, "open_and_place", 3)} == {None}


def test_a_variant_is_every_episodes() -> None:
    chosen = episodes(Protocol(variant="base"), "open_drawer", 3)
    assert [e.variant for e in chosen] == ["base"] * 3


def test_choosing_tasks_changes_no_episode() -> None:
    whole = episodes(Protocol("visual_matching"), ALL)
    for task, members in (("carrot_on_plate", 24), ("close_drawer", 108), ("pick_coke_can", 300)):
        chosen = episodes(Protocol("visual_matching"), task)
        assert len(chosen) == members
        assert set(chosen) <= set(whole)


def test_a_sample_of_a_list_is_even_and_grows() -> None:
    protocol = Protocol("variant_aggregation")
    whole = episodes(protocol, ALL)
    small, large = episodes(protocol, ALL, 44), episodes(protocol, ALL, 240)
    assert set(small) < set(large) < set(whole)
    assert [e for e in whole if e in set(large)] == large  # the list's own order
    tasks = Counter(e.task for e in small)
    assert set(tasks) == {e.task for e in whole}
    assert set(tasks.values()) == {4}
    assert set(Counter(e.variant for e in large if e.task == "open_top_drawer").values()) <= {3, 4}
    # Not the beginning of the list: another seed, another sample.
    other = episodes(protocol, ALL, 44, seed=1)
    assert [e.reset_options() for e in other] != [e.reset_options() for e in small]
    assert episodes(protocol, ALL, len(whole)) == whole


@pytest.mark.parametrize(
    ("protocol", "task", "count", "says"),
    [
        (Protocol("visual_matching"), "pick_object", None, "no episodes of task pick_object: it"),
        (Protocol("variant_aggregation"), "carrot_on_plate", 5, "no episodes of task carrot_on"),
        (Protocol("self_flow_paper"), "move_near_v1", None, "no episodes of task move_near_v1"),
        (Protocol("visual_matching"), "carrot_on_plate", 25, "has 24 here"),
        (Protocol("visual_matching"), ALL, 0, "episodes=0"),
        (DEFAULT, ALL, 30, "is for one task"),
        (DEFAULT, "open_and_place", None, "has no end"),
        (Protocol("grid"), "pick_object", 3, "grid and task pick_object do not fit"),
        (Protocol("scattered"), "stack_cubes", 3, "Did you mean 'stack_cube'"),
    ],
)
def test_what_does_not_fit_gets_one_sentence(
    protocol: Protocol, task: str, count: int | None, says: str
) -> None:
    with pytest.raises(UserError, match=says) as caught:
        episodes(protocol, task, count)
    assert "\n" not in str(caught.value)
