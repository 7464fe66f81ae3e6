"""The expert that puts any object into any drawer: states made by hand, and whole episodes."""

from typing import Any

import numpy as np
import pytest

from policies.contract import Observation
from policies.experts.from_above import grasp_rotation
from policies.experts.open_and_place import BEFORE, OpenAndPlaceExpert
from policies.experts.place import PlaceExpert
from tests.policies.experts.states import APPLE, DRAWER, EDGE, TO_APPLE, UP, cabinet, outwards

CAN = np.array([0.066, 0.123, 0.066])
"""Lies across the cabinet: narrow along x."""
LYING = np.array([-0.06, 0.05, 0.914])
TO_CAN = grasp_rotation(np.array([1.0, 0.0, 0.0]), LYING)
HELD = {"fingers": 0.72, "target": 1.31}
BELOW = DRAWER + np.array([0.4, 0.0, 0.0])
"""Above the middle of the open drawer's panel."""


@pytest.fixture
def expert() -> PlaceExpert:
    return PlaceExpert(jitter=0.0)


def holding(can: np.ndarray, **more: Any) -> Observation:
    return cabinet(can, TO_CAN, **{"drawer": 0.22, "apple": can, "size": CAN, **HELD, **more})


@pytest.mark.parametrize(
    "seen",
    [
        {"at": EDGE + BEFORE},
        {"at": APPLE + 0.1 * UP, "rotation": TO_APPLE, "drawer": 0.22},
        {"at": APPLE, "rotation": TO_APPLE, "drawer": 0.22, **HELD},
    ],
)
def test_a_ball_goes_into_the_top_drawer_as_in_open_and_place(
    seen: dict[str, Any], expert: PlaceExpert
) -> None:
    as_before = OpenAndPlaceExpert(jitter=0.0).act(cabinet(**seen))
    np.testing.assert_array_equal(expert.act(cabinet(**seen)), as_before)


def test_the_fingers_close_across_the_narrow_side_of_what_lies_there(expert: PlaceExpert) -> None:
    def closing(**seen: Any) -> np.ndarray:
        expert.reset("", 0)
        expert.act(cabinet(LYING + 0.1 * UP, TO_APPLE, drawer=0.22, apple=LYING, **seen))
        return expert._placing_rotation()[:, 1]

    assert abs(closing(size=CAN)[0]) > 0.85
    assert abs(closing(size=CAN[[1, 0, 2]])[1]) > 0.85


def test_where_the_arm_does_not_get_to_the_hand_leans_less_aside(expert: PlaceExpert) -> None:
    seen = cabinet(LYING + np.array([0.08, 0.0, 0.1]), TO_APPLE, drawer=0.22, apple=LYING, size=CAN)
    expert.act(seen)
    assert expert.phase == "go above"
    aside = [abs(float(expert._placing_rotation()[1, 2]))]
    for _ in range(20):  # which say that it stands still
        expert.act(seen)
        aside.append(abs(float(expert._placing_rotation()[1, 2])))
    assert aside[0] > 0.3
    assert aside == sorted(aside, reverse=True)
    assert aside[-1] < 0.05


def test_a_can_is_carried_in_small_steps(expert: PlaceExpert) -> None:
    far = LYING + 0.1 * UP
    for _ in range(2):
        action = expert.act(holding(far))[0]
    assert expert.phase == "carry"
    assert 0.02 < np.linalg.norm(action[:3]) < 0.05


def test_lowering_leaves_a_share_of_each_step_for_what_drifts_aside(expert: PlaceExpert) -> None:
    high = BELOW + np.array([0.0, 0.0, 0.5])
    for _ in range(2):
        expert.act(holding(high))
    assert expert.phase == "lower"
    step = outwards(expert.act(holding(high + np.array([0.05, 0.0, -0.02])))[0])
    assert expert.phase == "lower"
    assert step[0] < -0.03
    assert step[2] < -0.03


def test_what_the_arm_cannot_lower_further_is_let_go_over_the_drawer_only(
    expert: PlaceExpert,
) -> None:
    over = BELOW + np.array([0.0, 0.0, 0.13])
    for _ in range(5):
        falling = expert.act(holding(over))[0]
    assert falling[6] == -1.0
    expert.reset("", 0)
    for _ in range(5):
        held = expert.act(holding(over + np.array([0.1, 0.0, 0.0])))[0]
    assert held[6] == 1.0


def test_a_can_in_the_drawer_ends_the_episode_in_the_second_subtask(expert: PlaceExpert) -> None:
    inside = BELOW - 0.017 * UP
    seen = {"drawer": 0.22, "apple": inside, "size": CAN}
    expert.act(cabinet(inside + 0.03 * UP, TO_CAN, **seen))
    assert (expert.phase, expert.done) == ("retreat", False)
    expert.act(cabinet(EDGE + 0.12 * UP, TO_CAN, **seen))
    assert (expert.phase, expert.done) == ("rest", False)
    expert.act(
        cabinet(EDGE + 0.12 * UP, TO_CAN, **seen, instruction="place coke can into top drawer")
    )
    assert expert.done


def succeeds(task: str, seed: int, **settings: Any) -> bool:
    """Run an episode; whether it ended in success by SIMPLER's rule and by the strict one."""
    import envs.simpler
    from envs.episode import Episode
    from envs.rollout import run_episode

    options = {name: settings.pop(name) for name in ("robot_pose", "object") if name in settings}
    env = envs.simpler.make(task, resolution=None, terminate_on_success=False, **settings)
    record = run_episode(env, PlaceExpert(), Episode(task, 0, seed, **options))
    env.close()
    return record.success_at_end and record.success_strict and record.steps < 200


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("task", "pose", "item"),
    [
        ("place_in_closed_middle_drawer", "b0", "baked_opened_coke_can_v2"),
        ("place_in_closed_bottom_drawer", "a0", "orange"),
        ("place_in_closed_bottom_drawer", "c0", "baked_apple_v2"),
    ],
)
def test_succeeds_with_primitives(task: str, pose: str, item: str) -> None:
    assert succeeds(task, 71, robot_pose=pose, object=item)
