"""The expert of the WidowX's tasks: what it decides in states made by hand, and whole episodes."""

import os
from typing import Any

import numpy as np
import pytest
from transforms3d.axangles import axangle2mat
from transforms3d.quaternions import mat2quat

from policies.contract import Observation
from policies.experts.drawer_state import rotation_between
from policies.experts.put_on import TABLE, TIP, PutOnExpert
from policies.experts.put_on_state import PutScene, downward, nearest_turn
from policies.experts.target_pose import REALISED, TargetPose, turned

CUBE = np.array([0.03, 0.03, 0.03])
SPOON = np.array([0.14, 0.034, 0.026])
CLOTH = np.array([0.10, 0.10, 0.01])
GREEN, YELLOW = "baked_green_cube_3cm", "baked_yellow_cube_3cm"
SPOON_ID, CLOTH_ID = "bridge_spoon_generated_modified", "table_cloth_generated_shorter"
UP = np.array([0.0, 0.0, 1.0])
CLOSING = np.array([0.0, -1.0, 0.0])
DOWN = downward(CLOSING)
GREEN_AT = np.array([-0.21, -0.05, 0.885])
YELLOW_AT = np.array([-0.21, 0.05, 0.885])
ONTO = YELLOW_AT + 0.03 * UP


def thing(at: np.ndarray, size: np.ndarray, yaw: float = 0.0, speed: float = 0.0) -> dict[str, Any]:
    return {
        "pose": np.array([*at, *mat2quat(axangle2mat(UP, yaw))]),
        "center": np.array(at),
        "size": size,
        "velocity": np.array([speed, 0.0, 0.0, 0.0, 0.0, 0.0]),
    }


def state(
    hand: np.ndarray,
    rotation: np.ndarray = DOWN,
    *,
    source: dict[str, Any] | None = None,
    target: dict[str, Any] | None = None,
    fingers: float = 0.037,
    shut: bool = False,
    models: tuple[str, str] = (GREEN, YELLOW),
    base_yaw: float = np.pi,
) -> Observation:
    """An observation of the given world; two cubes where nothing else is said."""
    base = axangle2mat(UP, base_yaw)
    privileged = {
        "base_pose": np.array([0.147, 0.028, 0.87, *mat2quat(base)]),
        "gripper_pose_world": np.array([*hand, *mat2quat(rotation)]),
        "finger_angle": fingers,
        "gripper_target": 0.014 if shut else 0.038,
        "objects": {
            models[0]: source or thing(GREEN_AT, CUBE),
            models[1]: target or thing(YELLOW_AT, CUBE),
        },
        "source": models[0],
        "target": models[1],
    }
    return Observation(None, np.zeros(10, np.float32), "", 0, privileged)


def holding(at: np.ndarray, **more: Any) -> Observation:
    """The hand shut around the green cube at `at`."""
    source = thing(at, CUBE, more.pop("yaw", 0.0))
    return state(at + 0.005 * UP, source=source, fingers=0.0252, shut=True, **more)


@pytest.fixture
def expert() -> PutOnExpert:
    return PutOnExpert(jitter=0.0)


def outwards(action: np.ndarray) -> np.ndarray:
    """Translation of `action` in the world, for a base that is turned by half a turn."""
    return action[:3] * [-1.0, -1.0, 1.0]


# ---- target pose -------------------------------------------------------------


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


# ---- what is the case -------------------------------------------------------------


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
    scene = PutScene(state(ONTO, source=thing(at, CUBE)).privileged)
    assert scene.on_target(0.02) is on


# ---- what to do -------------------------------------------------------------


def test_first_over_the_object_then_down_then_the_fingers_shut(expert: PutOnExpert) -> None:
    action = expert.act(state(GREEN_AT + np.array([0.1, 0.1, 0.15])))
    assert (action.shape, action.dtype) == ((1, 7), np.float32)
    assert expert.phase == "go to object"
    assert action[0, 6] == 1.0
    assert np.linalg.norm(action[0, :3]) == pytest.approx(expert.max_translation, rel=1e-5)

    expert.reset("", 0)
    action = expert.act(state(GREEN_AT + 0.06 * UP))[0]
    assert expert.phase == "approach"
    assert outwards(action)[2] == pytest.approx(-expert.max_translation, rel=1e-5)

    expert.reset("", 0)
    action = expert.act(state(GREEN_AT + 0.004 * UP))[0]
    assert expert.phase == "grasp"
    np.testing.assert_allclose(action[:6], 0.0, atol=1e-6)
    assert action[6] == -1.0


def test_fingers_stay_above_the_table(expert: PutOnExpert) -> None:
    spoon = thing(np.array([-0.2, 0.0, 0.876]), SPOON)
    hand = spoon["center"] + np.array([0.012, 0.0, 0.03])
    seen = {"source": spoon, "models": (SPOON_ID, CLOTH_ID), "target": thing(YELLOW_AT, CLOTH)}
    step = outwards(expert.act(state(hand, **seen))[0])
    assert expert.phase == "approach"
    assert hand[2] + step[2] - TIP > TABLE


@pytest.mark.parametrize("yaw", [0.0, 0.4, np.pi / 2, -1.2])
def test_fingers_close_across_a_long_object(expert: PutOnExpert, yaw: float) -> None:
    spoon = thing(np.array([-0.2, 0.0, 0.8815]), SPOON, yaw)
    seen = {"source": spoon, "models": (SPOON_ID, CLOTH_ID), "target": thing(YELLOW_AT, CLOTH)}
    rotation = DOWN
    for _ in range(8):
        expert.reset("", 0)
        action = expert.act(state(spoon["center"] + 0.06 * UP, rotation, **seen))[0]
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
        seen = {"source": eggplant, "target": board, "models": models}
        expert.reset("", 0)
        return outwards(expert.act(state(eggplant["center"] + 0.03 * UP, across, **seen))[0])

    np.testing.assert_allclose(step_above(-0.12)[:2], 0.0, atol=1e-6)
    # 13 mm of a finger on each side of its middle, and the wall at -0.0625.
    assert step_above(-0.07)[0] == pytest.approx(-0.0625 - 0.013 + 0.07, abs=1e-4)


def test_action_is_expressed_in_the_base_frame() -> None:
    actions = []
    for yaw in (np.pi, np.pi + 0.4):
        expert = PutOnExpert(jitter=0.0)
        actions.append(expert.act(state(GREEN_AT + np.array([0.1, 0.0, 0.1]), base_yaw=yaw))[0])
    rotation = axangle2mat(UP, -0.4)
    np.testing.assert_allclose(actions[1][:3], rotation @ actions[0][:3], atol=1e-6)


def test_object_is_lifted_once_the_fingers_have_stopped_around_it(expert: PutOnExpert) -> None:
    expert.act(state(GREEN_AT + 0.004 * UP))
    expert.act(holding(GREEN_AT))
    assert expert.phase == "grasp"
    action = expert.act(holding(GREEN_AT))[0]
    assert expert.phase == "lift"
    assert outwards(action)[2] > 0.03
    assert action[6] == -1.0


def test_empty_hand_opens_again(expert: PutOnExpert) -> None:
    action = expert.act(state(GREEN_AT + 0.004 * UP, fingers=0.0152, shut=True))[0]
    assert expert.phase == "grasp again"
    assert action[6] == 1.0


@pytest.mark.parametrize(
    ("offset", "phase"),
    [
        (np.array([0.0, -0.1, 0.05]), "carry"),
        (np.array([0.02, 0.0, 0.05]), "align"),
        (np.array([0.0, 0.0, 0.05]), "lower"),
        (np.array([0.0, 0.0, 0.003]), "release"),
    ],
)
def test_object_is_carried_over_the_target_lowered_and_let_go(
    expert: PutOnExpert, offset: np.ndarray, phase: str
) -> None:
    before = state(ONTO + 0.1 * UP, fingers=0.0252, source=thing(ONTO, CUBE), shut=True)
    expert.act(before)
    action = expert.act(holding(ONTO + offset))[0]
    assert expert.phase == phase
    assert action[6] == (1.0 if phase == "release" else -1.0)


def test_sides_of_the_cubes_are_made_parallel(expert: PutOnExpert) -> None:
    for _ in range(2):
        action = expert.act(holding(ONTO + 0.05 * UP, yaw=0.3))[0]
    assert expert.phase == "align"
    assert action[5] < -0.1


def test_done_after_letting_go_and_going_up(expert: PutOnExpert) -> None:
    on = thing(ONTO, CUBE)
    expert.act(state(ONTO, source=on, fingers=0.0252))
    action = expert.act(state(ONTO, source=on, fingers=0.0285))[0]
    assert expert.phase == "open hand"
    np.testing.assert_allclose(action[:6], 0.0, atol=1e-6)
    action = expert.act(state(ONTO, source=on, fingers=0.034))[0]
    assert (expert.phase, expert.done) == ("retreat", False)
    assert outwards(action)[2] > 0.03
    expert.act(state(ONTO + 0.09 * UP, source=thing(ONTO, CUBE, speed=0.1)))
    assert (expert.phase, expert.done) == ("wait", False)
    expert.act(state(ONTO + 0.09 * UP, source=on))
    assert (expert.phase, expert.done) == ("rest", True)


def test_gives_up_when_the_object_fell_from_the_table(expert: PutOnExpert) -> None:
    expert.act(state(ONTO, source=thing(np.array([-0.2, 0.6, 0.2]), CUBE)))
    assert (expert.phase, expert.done) == ("lost", True)


def test_jitter_follows_from_the_seed_and_without_it_seeds_change_nothing() -> None:
    far = state(GREEN_AT + np.array([0.02, 0.02, 0.10]))

    def trace(seed: int, jitter: float) -> np.ndarray:
        expert = PutOnExpert(jitter=jitter)
        expert.reset("", seed)
        return np.concatenate([expert.act(far) for _ in range(4)])

    np.testing.assert_array_equal(trace(3, 1.0), trace(3, 1.0))
    assert np.abs(trace(3, 1.0) - trace(4, 1.0)).max() > 1e-3
    np.testing.assert_array_equal(trace(3, 0.0), trace(4, 0.0))


# ---- whole episodes -------------------------------------------------------------


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
