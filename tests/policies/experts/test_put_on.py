"""The expert of the WidowX's tasks: decisions in states made by hand, and whole episodes."""

import os
from typing import Any

import numpy as np
import pytest

from experiment.errors import UserError
from policies.experts.motion import rotation_between, turned
from policies.experts.put_on import TABLE, TIP, PutOnExpert
from policies.experts.put_on_state import PutOnState, downward, nearest_turn
from policies.experts.registry import make_expert
from policies.experts.target_pose import REALISED, TargetPose
from tests.policies.experts.states import (
    CUBE,
    DOWN,
    GREEN_AT,
    ONTO,
    UP,
    YELLOW_AT,
    cubes,
    holding_cube,
    outwards,
    thing,
)

SPOON = np.array([0.14, 0.034, 0.026])
CLOTH = thing(YELLOW_AT, np.array([0.10, 0.10, 0.01]))
SPOON_ON_CLOTH = ("bridge_spoon_generated_modified", "table_cloth_generated_shorter")


@pytest.fixture
def expert() -> PutOnExpert:
    return PutOnExpert(jitter=0.0)


def test_the_controller_moves_its_target_as_the_tracker_believes() -> None:
    # What TargetDeltaController does with an action, on a target that runs ahead of the gripper.
    measured, target = np.array([0.3, 0.0, 0.1]), np.array([0.33, -0.02, 0.08])
    tracker = TargetPose(measured, np.eye(3))
    tracker.position = target.copy()
    step, turn = np.array([0.01, 0.02, -0.03]), np.array([0.1, -0.2, 0.3])
    action = tracker.move(step, turn)
    moved = measured + action[:3] + turned(action[3:]) @ (target - measured)
    np.testing.assert_allclose(moved, target + step, atol=1e-12)
    np.testing.assert_allclose(tracker.position, target + step)
    np.testing.assert_allclose(tracker.rotation, turned(turn))


def test_tracker_keeps_its_target_while_the_arm_moves_as_expected() -> None:
    tracker = TargetPose(np.zeros(3), np.eye(3))
    goal, turn = np.array([0.03, 0.0, -0.02]), np.array([0.0, 0.0, 0.2])
    tracker.move(goal, turn)
    position, rotation = np.zeros(3), np.eye(3)
    for _ in range(4):
        position = position + REALISED * (goal - position)
        rotation = turned(REALISED * rotation_between(rotation, turned(turn))) @ rotation
        tracker.observe(position, rotation)
        np.testing.assert_allclose(tracker.position, goal, atol=1e-9)
        np.testing.assert_allclose(tracker.rotation, turned(turn), atol=1e-9)


def test_tracker_finds_a_target_that_somebody_else_moved() -> None:
    tracker = TargetPose(np.zeros(3), np.eye(3))
    moved, turn = np.array([0.0, 0.04, 0.0]), np.array([0.3, 0.0, 0.0])
    position, rotation = np.zeros(3), np.eye(3)
    for _ in range(6):
        position = position + REALISED * (moved - position)
        rotation = turned(REALISED * rotation_between(rotation, turned(turn))) @ rotation
        tracker.observe(position, rotation)
    np.testing.assert_allclose(tracker.position, moved, atol=2e-3)
    np.testing.assert_allclose(tracker.rotation, turned(turn), atol=2e-2)


def test_a_hand_downwards_is_a_rotation_that_closes_where_it_should() -> None:
    for tilt in (0.0, 0.2):
        hand = downward(np.array([1.0, 1.0, 0.0]), tilt)
        np.testing.assert_allclose(hand.T @ hand, np.eye(3), atol=1e-12)
        assert np.linalg.det(hand) == pytest.approx(1.0)
        np.testing.assert_allclose(hand[:, 1], [np.sqrt(0.5), np.sqrt(0.5), 0.0])
        assert hand[2, 0] == pytest.approx(-np.cos(tilt))


def test_turns_are_brought_into_half_a_period() -> None:
    assert nearest_turn(np.pi, np.pi) == pytest.approx(0.0)
    assert nearest_turn(0.6 * np.pi, np.pi) == pytest.approx(-0.4 * np.pi)
    assert nearest_turn(-0.3 * np.pi, np.pi / 2) == pytest.approx(0.2 * np.pi)


@pytest.mark.parametrize(
    ("at", "on"),
    [
        (ONTO, True),
        (ONTO + 0.025 * UP, False),
        (ONTO + np.array([0.03, 0.0, 0.0]), False),
        (YELLOW_AT + np.array([0.03, 0.0, 0.0]), False),
    ],
)
def test_on_target_as_the_task_counts_it(at: np.ndarray, on: bool) -> None:
    state = PutOnState(cubes(ONTO, source=thing(at, CUBE)).privileged)
    assert state.on_target(0.02) is on


def test_the_hand_comes_down_open_and_shuts_around_the_object(expert: PutOnExpert) -> None:
    """SIMPLER's WidowX takes +1 to open."""
    assert expert.act(cubes())[0, 6] == 1.0
    expert.reset("", 0)
    down = outwards(expert.act(cubes(GREEN_AT + 0.06 * UP))[0])
    assert down[2] == pytest.approx(-expert.max_translation, rel=1e-5)
    expert.reset("", 0)
    shut = expert.act(cubes(GREEN_AT + 0.004 * UP))[0]
    np.testing.assert_allclose(shut[:6], 0.0, atol=1e-6)
    assert shut[6] == -1.0
    expert.reset("", 0)
    empty = expert.act(cubes(GREEN_AT + 0.004 * UP, fingers=0.0152, shut=True))[0]
    assert empty[6] == 1.0


@pytest.mark.parametrize("holding", [False, True])
def test_a_millimetre_aside_changes_little_of_what_is_done(
    expert: PutOnExpert, holding: bool
) -> None:
    """What a learner cannot see must not decide between up and down."""
    actions = []
    for aside in np.arange(0.0, 0.025, 0.001):
        expert.reset("", 0)
        off = np.array([aside, 0.0, 0.03 if not holding else 0.02])
        seen = holding_cube(ONTO + off) if holding else cubes(GREEN_AT + off)
        for _ in range(2):  # twice: fingers that hold the cube have come to a stop
            action = expert.act(seen)[0]
        actions.append(outwards(action))
    steps = np.linalg.norm(np.diff(actions, axis=0), axis=1)
    assert steps.max() < 0.006
    # Near it goes down, far from it it does not.
    assert actions[0][2] < -0.01
    assert actions[-1][2] > -0.005


def test_fingers_that_stand_on_the_table_are_freed_shutting(expert: PutOnExpert) -> None:
    actions = [
        expert.act(cubes(GREEN_AT, fingers=fingers, shut=True))[0]
        for fingers in (0.037, 0.0369, 0.0368, 0.0367, 0.025)
    ]
    assert [bool(action[2] > 0.002) for action in actions] == [False, False, True, True, False]
    assert all(action[6] == -1.0 for action in actions)


def test_fingers_stay_above_the_table(expert: PutOnExpert) -> None:
    spoon = thing(np.array([-0.2, 0.0, 0.876]), SPOON)
    at = spoon["center"] + np.array([0.012, 0.0, 0.03])
    seen = cubes(at, source=spoon, models=SPOON_ON_CLOTH, target=CLOTH)
    assert at[2] + outwards(expert.act(seen)[0])[2] - TIP > TABLE


@pytest.mark.parametrize("yaw", [0.0, 0.4, np.pi / 2, -1.2])
def test_fingers_close_across_a_long_object(expert: PutOnExpert, yaw: float) -> None:
    spoon = thing(np.array([-0.2, 0.0, 0.8815]), SPOON, yaw)
    seen: dict[str, Any] = {"source": spoon, "models": SPOON_ON_CLOTH, "target": CLOTH}
    rotation = DOWN
    for _ in range(8):
        expert.reset("", 0)
        action = expert.act(cubes(spoon["center"] + 0.06 * UP, rotation, **seen))[0]
        turn = action[3:6].astype(np.float64) * [-1.0, -1.0, 1.0]
        assert np.linalg.norm(turn) < expert.max_rotation + 1e-6
        rotation = turned(turn) @ rotation
    assert abs(rotation[:, 1] @ [np.cos(yaw), np.sin(yaw), 0.0]) < 1e-3
    assert rotation[2, 0] == pytest.approx(-1.0, abs=1e-6)


def test_fingers_stay_between_the_walls_of_the_sink(expert: PutOnExpert) -> None:
    models = ("eggplant", "dummy_sink_target_plane")
    board = thing(np.array([-0.148, 0.022, 0.936]), np.array([0.13, 0.08, 0.002]))

    def step_above(x: float) -> np.ndarray:
        eggplant = thing(np.array([x, 0.2, 0.939]), np.array([0.078, 0.037, 0.038]))
        across = downward(np.array([0.0, -1.0, 0.0]))
        seen: dict[str, Any] = {"source": eggplant, "target": board, "models": models}
        expert.reset("", 0)
        return outwards(expert.act(cubes(eggplant["center"] + 0.03 * UP, across, **seen))[0])

    np.testing.assert_allclose(step_above(-0.12)[:2], 0.0, atol=1e-6)
    # 13 mm of a finger on each side of its middle, and the wall at -0.0625.
    assert step_above(-0.07)[0] == pytest.approx(-0.0625 - 0.013 + 0.07, abs=1e-4)


def test_an_object_is_lifted_made_parallel_and_let_go_on_the_target(expert: PutOnExpert) -> None:
    for _ in range(2):
        lifting = expert.act(holding_cube(GREEN_AT))[0]
    assert outwards(lifting)[2] > 0.03
    assert lifting[6] == -1.0
    expert.reset("", 0)
    for _ in range(2):
        aligning = expert.act(holding_cube(ONTO + 0.05 * UP, yaw=0.3))[0]
    assert aligning[5] < -0.1
    for _ in range(2):
        letting_go = expert.act(holding_cube(ONTO + 0.003 * UP))[0]
    assert letting_go[6] == 1.0


def test_done_after_letting_go_and_going_up(expert: PutOnExpert) -> None:
    on = thing(ONTO, CUBE)
    expert.act(cubes(ONTO, source=on, fingers=0.0252))
    np.testing.assert_allclose(
        expert.act(cubes(ONTO, source=on, fingers=0.0285))[0, :6], 0.0, atol=1e-6
    )
    assert outwards(expert.act(cubes(ONTO, source=on, fingers=0.034))[0])[2] > 0.03
    expert.act(cubes(ONTO + 0.09 * UP, source=thing(ONTO, CUBE, speed=0.1)))
    assert not expert.done
    expert.act(cubes(ONTO + 0.09 * UP, source=on))
    assert expert.done


def test_a_stack_is_left_alone_for_as_long_as_asked() -> None:
    expert = PutOnExpert(jitter=0.0, rest_steps=3)
    expert.reset("", 0)
    seen = cubes(ONTO + 0.09 * UP, source=thing(ONTO, CUBE))
    for _ in range(1 + expert.rest_steps):
        assert not expert.done
        action = expert.act(seen)[0]
        np.testing.assert_allclose(action[:6], 0.0, atol=1e-6)
        assert action[6] == 1.0
    assert expert.done
    with pytest.raises(UserError, match="rest_steps=-1"):
        make_expert("stack_cube", rest_steps=-1)


@pytest.mark.parametrize("height", [0.0, -0.028])
def test_a_hand_that_shuts_around_a_stack_is_opened(expert: PutOnExpert, height: float) -> None:
    """Around either cube, while the fingers still move, and at once from where they are."""
    stack: dict[str, Any] = {"source": thing(ONTO, CUBE), "shut": True}
    for fingers in (0.030, 0.024, 0.0155):
        told = expert.act(cubes(ONTO + height * UP, fingers=fingers, **stack))[0]
        np.testing.assert_allclose(told[:6], 0.0, atol=1e-6)
        assert told[6] == 1.0


def test_gives_up_when_the_object_fell_from_the_table(expert: PutOnExpert) -> None:
    expert.act(cubes(ONTO, source=thing(np.array([-0.2, 0.6, 0.2]), CUBE)))
    assert (expert.phase, expert.done) == ("lost", True)


def succeeds(task: str, layout: int, steps: int, **settings: Any) -> bool:
    """Run an episode; whether it ended in success, let go and at rest, within `steps`."""
    import envs.simpler
    from envs.episode import Episode
    from envs.rollout import run_episode

    env = envs.simpler.make(task, resolution=None, terminate_on_success=False, **settings)
    record = run_episode(env, PutOnExpert(), Episode(task, 0, 5, layout=layout))
    env.close()
    return record.success_at_end and record.success_strict and record.steps < steps


EPISODES = [
    ("spoon_on_towel", 7, 60),
    ("carrot_on_plate", 12, 60),
    ("stack_cube", 20, 60),
    ("eggplant_in_basket", 14, 120),
]


@pytest.mark.simulator
@pytest.mark.parametrize(("task", "layout", "steps"), EPISODES)
def test_succeeds_with_primitives(task: str, layout: int, steps: int) -> None:
    assert succeeds(task, layout, steps)


@pytest.mark.simulator
@pytest.mark.parametrize(("task", "layout", "steps"), EPISODES)
def test_succeeds_with_the_official_meshes(task: str, layout: int, steps: int) -> None:
    root = os.environ.get("SIMPLER_ASSETS")
    if not root:
        pytest.skip("SIMPLER_ASSETS does not name a clone of ManiSkill2_real2sim")
    assert succeeds(task, layout, steps, assets="simpler", asset_root=root)
