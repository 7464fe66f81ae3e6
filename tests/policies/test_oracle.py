"""The scripted expert: what it decides in states made by hand, and whole episodes."""

import os
from typing import Any

import numpy as np
import pytest
from transforms3d.axangles import axangle2mat
from transforms3d.quaternions import mat2quat

from policies.contract import Observation
from policies.experts.drawer_state import hand_rotation, rotation_between
from policies.experts.open_and_place import (
    ABOVE,
    BEFORE,
    HALF_OPEN,
    PAST_CENTRE,
    PINCH,
    PITCH_OPEN,
    PITCH_PICK,
    OpenAndPlaceExpert,
)


def xyz(*values: float) -> np.ndarray:
    """A vector in the world frame."""
    return np.array(values)


CABINET = np.array([-0.295, 0.0, 0.017])
DRAWER = CABINET + xyz(0.0, 0.0, 0.668)
EDGE = DRAWER + xyz(0.305, 0.0, 0.07)
APPLE = np.array([-0.06, 0.05, 0.9195])
TO_BOARD = hand_rotation(PITCH_OPEN, sideways=False)
TO_APPLE = hand_rotation(PITCH_PICK, sideways=True)


def state(
    hand: Any,
    rotation: np.ndarray,
    *,
    drawer: float = 0.0,
    apple: Any = APPLE,
    fingers: float = 0.0,
    target: float = 0.0,
    instruction: str = "open top drawer",
    base_yaw: float = np.pi,
) -> Observation:
    """An observation of the given world; `hand` and `apple` in the world frame."""
    still = [1.0, 0.0, 0.0, 0.0]
    base = axangle2mat([0.0, 0.0, 1.0], base_yaw)
    privileged = {
        "base_pose": np.array([0.652, 0.009, 0.079, *mat2quat(base)]),
        "gripper_pose_world": np.array([*hand, *mat2quat(rotation)]),
        "finger_angle": fingers,
        "gripper_target": target,
        "drawer_position": drawer,
        "drawer_pose_world": np.array([*(DRAWER + xyz(drawer, 0.0, 0.0)), *still]),
        "cabinet_pose_world": np.array([*CABINET, *still]),
        "object_pose_world": np.array([*apple, *still]),
        "object_velocity": np.zeros(6),
    }
    return Observation(None, np.zeros(10, np.float32), instruction, 0, privileged)


@pytest.fixture
def expert() -> OpenAndPlaceExpert:
    made = OpenAndPlaceExpert(jitter=0.0)
    made.reset("open top drawer", seed=0)
    return made


def outwards(action: np.ndarray) -> np.ndarray:
    """Translation of `action` in the world, for a base that is turned by half a turn."""
    return action[:3] * [-1.0, -1.0, 1.0]


@pytest.mark.parametrize("sideways", [False, True])
def test_hand_rotation_is_a_rotation_that_points_down_at_the_cabinet(sideways: bool) -> None:
    rotation = hand_rotation(0.8, sideways)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    np.testing.assert_allclose(rotation[:, 2], [-np.cos(0.8), 0.0, -np.sin(0.8)])
    assert abs(rotation[1, 1]) == (1.0 if sideways else 0.0)


def test_rotation_between_leads_to_the_goal() -> None:
    current = axangle2mat([0.3, -0.2, 0.9], 0.7)
    goal = axangle2mat([-0.5, 0.1, 0.2], -1.1)
    vector = rotation_between(current, goal)
    angle = float(np.linalg.norm(vector))
    np.testing.assert_allclose(axangle2mat(vector / angle, angle) @ current, goal, atol=1e-9)
    np.testing.assert_allclose(rotation_between(goal, goal), 0.0, atol=1e-7)


@pytest.mark.parametrize(
    ("at", "fingers", "target", "phase", "gripper"),
    [
        (BEFORE + xyz(0.1, 0.2, 0.2), 0.0, 0.0, "go to drawer", HALF_OPEN / 1.31),
        (BEFORE, HALF_OPEN, HALF_OPEN, "reach in", 0.0),
        (ABOVE, HALF_OPEN, HALF_OPEN, "reach down", 0.0),
        (PINCH, HALF_OPEN, HALF_OPEN, "pinch", 1.0),
        (PINCH, 0.80, 1.31, "pull", 1.0),
        (PINCH, 1.28, 1.31, "pinch again", (HALF_OPEN - 1.31) / 1.31),
    ],
)
def test_opening_follows_from_where_the_hand_is(
    expert: OpenAndPlaceExpert,
    at: np.ndarray,
    fingers: float,
    target: float,
    phase: str,
    gripper: float,
) -> None:
    action = expert.act(state(EDGE + at, TO_BOARD, fingers=fingers, target=target))
    assert action.shape == (1, 7)
    assert action.dtype == np.float32
    assert expert.phase == phase
    assert action[0, 6] == pytest.approx(gripper, abs=1e-5)
    assert not expert.done


def test_pulling_moves_out_of_the_cabinet_until_the_drawer_is_open(
    expert: OpenAndPlaceExpert,
) -> None:
    for drawer in (0.0, 0.1, 0.2):
        edge = EDGE + xyz(drawer, 0.0, 0.0)
        pinched = state(edge + PINCH, TO_BOARD, drawer=drawer, fingers=0.8, target=1.31)
        step = outwards(expert.act(pinched)[0])
        assert step[0] > 0.05
        assert np.abs(step[1:]).max() < 1e-6
    edge = EDGE + xyz(0.22, 0.0, 0.0)
    opened = state(edge + PINCH, TO_BOARD, drawer=0.22, fingers=0.8, target=1.31)
    assert expert.act(opened)[0, 6] == -1.0
    assert expert.phase == "let go of board"


def test_action_is_expressed_in_the_base_frame(expert: OpenAndPlaceExpert) -> None:
    hand = EDGE + BEFORE + xyz(0.1, 0.0, 0.1)
    ahead = expert.act(state(hand, TO_BOARD, base_yaw=np.pi))[0]
    turned = expert.act(state(hand, TO_BOARD, base_yaw=np.pi + 0.4))[0]
    rotation = axangle2mat([0.0, 0.0, 1.0], -0.4)
    np.testing.assert_allclose(turned[:3], rotation @ ahead[:3], atol=1e-6)


def grasping(apple: np.ndarray, **more: Any) -> Observation:
    """The hand around the apple, the drawer open."""
    hand = apple + PAST_CENTRE * TO_APPLE[:, 2]
    return state(hand, TO_APPLE, **{"drawer": 0.22, "apple": apple, **more})


def test_apple_is_grasped_and_lifted_when_the_fingers_have_stopped(
    expert: OpenAndPlaceExpert,
) -> None:
    away = state(APPLE + xyz(0.1, 0.0, 0.2), TO_APPLE, drawer=0.22)
    assert expert.act(away)[0, 6] == -1.0
    assert expert.phase == "go to apple"
    assert expert.act(grasping(APPLE))[0, 6] == 1.0
    assert expert.phase == "grasp"
    expert.act(grasping(APPLE, fingers=0.5, target=1.31))
    assert expert.phase == "grasp"
    expert.act(grasping(APPLE, fingers=0.69, target=1.31))
    assert expert.phase == "grasp"
    action = expert.act(grasping(APPLE, fingers=0.69, target=1.31))[0]
    assert expert.phase == "lift"
    assert action[2] > 0.05


def test_empty_hand_is_opened_again(expert: OpenAndPlaceExpert) -> None:
    assert expert.act(grasping(APPLE, fingers=1.25, target=1.31))[0, 6] == -1.0
    assert expert.act(grasping(APPLE, fingers=0.8, target=-0.01))[0, 6] == -1.0
    assert expert.act(grasping(APPLE, fingers=0.1, target=-0.01))[0, 6] == 1.0


def test_apple_is_carried_over_the_drawer_lowered_and_let_go(expert: OpenAndPlaceExpert) -> None:
    held = {"fingers": 0.69, "target": 1.31}
    inside = DRAWER + xyz(0.22 + 0.18, 0.0, -0.05)
    for height, phase in ((0.32, "lower"), (0.20, "lower"), (0.06, "release")):
        for _ in range(2):
            expert.act(grasping(inside + xyz(0.0, 0.0, height + 0.02 * (phase == "lower")), **held))
        observation = grasping(inside + xyz(0.0, 0.0, height), **held)
        gripper = expert.act(observation)[0, 6]
        assert expert.phase == phase
        assert gripper == (-1.0 if phase == "release" else 1.0)


def test_done_after_the_retreat_and_only_in_the_second_subtask(expert: OpenAndPlaceExpert) -> None:
    inside = DRAWER + xyz(0.22 + 0.18, 0.0, -0.012)
    low = state(inside + xyz(0.0, 0.0, 0.02), TO_APPLE, drawer=0.22, apple=inside)
    assert outwards(expert.act(low)[0])[2] > 0.05
    assert (expert.phase, expert.done) == ("retreat", False)
    high = inside + xyz(0.0, 0.0, 0.3)
    action = expert.act(state(high, TO_APPLE, drawer=0.22, apple=inside))[0]
    np.testing.assert_allclose(action[:6], 0.0, atol=1e-6)
    assert (expert.phase, expert.done) == ("rest", False)
    second = "place apple into top drawer"
    expert.act(state(high, TO_APPLE, drawer=0.22, apple=inside, instruction=second))
    assert expert.done


def test_gives_up_when_the_apple_lies_on_the_floor(expert: OpenAndPlaceExpert) -> None:
    expert.act(state(EDGE + BEFORE, TO_BOARD, apple=np.array([0.1, 0.6, 0.04])))
    assert expert.phase == "lost"
    assert expert.done


def test_without_jitter_the_action_follows_from_the_state_alone() -> None:
    observation = state(EDGE + BEFORE + xyz(0.2, 0.1, 0.2), TO_BOARD)
    actions = []
    for seed in (0, 1):
        expert = OpenAndPlaceExpert(jitter=0.0)
        expert.reset("", seed)
        actions += [expert.act(observation), expert.act(observation)]
    for action in actions[1:]:
        np.testing.assert_array_equal(action, actions[0])


def test_jitter_follows_from_the_seed_and_stays_small() -> None:
    # Near enough that the step is not cut to its largest length.
    observation = state(EDGE + BEFORE + xyz(0.2, 0.1, 0.2), TO_BOARD)

    def trace(seed: int) -> np.ndarray:
        expert = OpenAndPlaceExpert()
        expert.reset("", seed)
        return np.concatenate([expert.act(observation) for _ in range(5)])

    np.testing.assert_array_equal(trace(3), trace(3))
    assert np.abs(trace(3) - trace(4)).max() > 1e-3
    assert np.linalg.norm(trace(3)[:, :3], axis=1).max() < 0.09 * 1.16


@pytest.mark.parametrize(("share", "advances"), [(0.0, False), (1.0, True)])
def test_subtask_is_declared_done_once_the_drawer_is_open(share: float, advances: bool) -> None:
    expert = OpenAndPlaceExpert(jitter=0.0, advance_share=share)
    expert.reset("open top drawer", seed=5)
    expert.act(state(EDGE + BEFORE, TO_BOARD))
    assert not expert.subtask_done
    expert.act(state(APPLE + xyz(0.1, 0.0, 0.2), TO_APPLE, drawer=0.22))
    assert expert.subtask_done == advances


# ---- whole episodes ---------------------------------------------------------------------------


def succeeds(seed: int, pose: str, perturbation: float = 0.0, **settings: Any) -> bool:
    """Run an episode; whether it ended in success by SIMPLER's rule and by the strict one."""
    import envs.dataset.perturbation
    from envs.episode import Episode
    from envs.rollout import run_episode

    settings["terminate_on_success"] = False  # the expert lets go and retreats after it
    env = envs.dataset.perturbation.make("open_and_place", perturbation=perturbation, **settings)
    record = run_episode(
        env, OpenAndPlaceExpert(), Episode("open_and_place", 0, seed, robot_pose=pose)
    )
    env.close()
    return record.success_at_end and record.success_strict and record.steps < 160


@pytest.mark.simulator
@pytest.mark.parametrize(("pose", "perturbation"), [("a0", 0.0), ("b0", 1.0), ("c0", 0.0)])
def test_succeeds_with_primitives(pose: str, perturbation: float) -> None:
    assert succeeds(71, pose, perturbation)


@pytest.mark.simulator
def test_succeeds_with_the_official_meshes() -> None:
    root = os.environ.get("SIMPLER_ASSETS")
    if not root:
        pytest.skip("SIMPLER_ASSETS does not name a clone of ManiSkill2_real2sim")
    assert succeeds(72, "b0", assets="simpler", asset_root=root)
