"""The experts at the table and at the drawers: what they decide, and that it works."""

from typing import Any

import numpy as np
import pytest
from transforms3d.quaternions import mat2quat

import envs.simpler
from envs.episode import Episode
from envs.rollout import run_episode
from policies.contract import Observation
from policies.experts.registry import make_expert
from policies.experts.tabletop import grasp_rotation, item_of

CAN = {
    "pose": np.array([-0.2, 0.2, 0.914, 0.0, 0.0, 0.0, 1.0]),
    "velocity": np.zeros(6),
    "size": np.array([0.067, 0.123, 0.067]),
    "center": np.array([-0.2, 0.2, 0.915]),
}


def state(**changes: Any) -> dict[str, Any]:
    """A privileged state with the hand where an episode starts."""
    hand = np.array([-0.09, 0.42, 1.04, *_start()])
    values = {
        "base_pose": np.array([0.35, 0.2, 0.08, 0.0, 0.0, 0.0, 1.0]),
        "gripper_pose_world": hand,
        "finger_angle": 0.0,
        "gripper_target": 0.0,
        "objects": {"opened_coke_can": CAN},
        "source": "opened_coke_can",
        "target": None,
    }
    return values | changes


def _start() -> np.ndarray:
    return mat2quat(grasp_rotation(None, CAN["center"]))


def act(task: str, privileged: dict[str, Any], instruction: str = "") -> tuple[Any, np.ndarray]:
    expert = make_expert(task, jitter=0.0)
    expert.reset(instruction, 0)
    observation = Observation(None, np.zeros(10, np.float32), instruction, 0, privileged)
    return expert, expert.act(observation)[0]


def test_a_lying_can_is_gripped_across() -> None:
    item = item_of(CAN)
    assert item.narrow is not None
    np.testing.assert_allclose(np.abs(item.narrow), [1.0, 0.0, 0.0], atol=1e-6)
    closing = grasp_rotation(item.narrow, item.centre)[:, 1]
    assert abs(closing @ item.narrow) > 0.95
    assert abs(closing[2]) < 0.2  # both fingers come down beside it
    assert item.bottom == pytest.approx(0.914 - 0.0335)


def test_a_round_object_is_gripped_any_way_round() -> None:
    assert item_of(CAN | {"size": np.array([0.075, 0.075, 0.075])}).narrow is None


def test_rotations_are_rotations() -> None:
    for angle in np.linspace(0, np.pi, 7):
        narrow = np.array([np.cos(angle), np.sin(angle), 0.0])
        rotation = grasp_rotation(narrow, CAN["center"])
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert rotation[2, 2] < -0.5  # points down


def test_the_hand_goes_to_the_can_open() -> None:
    expert, action = act("pick_coke_can", state())
    assert expert.phase == "go above"
    assert action[6] == -1.0
    # The base looks the other way, so towards smaller x in the world is ahead.
    assert action[0] > 0
    assert np.linalg.norm(action[:3]) < 0.1


def test_a_can_in_the_hand_is_lifted() -> None:
    expert = make_expert("pick_coke_can", jitter=0.0)
    expert.reset("pick coke can", 0)
    grasp = item_of(CAN).grasp
    held = state(
        gripper_pose_world=np.array([*grasp, *_start()]), finger_angle=0.7, gripper_target=1.31
    )
    for _ in range(2):  # twice: the fingers have come to a stop
        action = expert.act(Observation(None, np.zeros(10, np.float32), "", 0, held))[0]
    assert expert.phase == "lift"
    assert action[2] > 0
    assert action[6] == 1.0


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("task", "seed"),
    [
        ("open_top_drawer", 1),
        ("open_bottom_drawer", 2),
        ("close_middle_drawer", 3),
        ("pick_horizontal_coke_can", 1),
        ("pick_vertical_coke_can", 2),
        ("pick_standing_coke_can", 3),
        ("move_near", 16),  # a sponge: flat, so the fingers must come down level
    ],
)
def test_the_expert_succeeds(task: str, seed: int) -> None:
    env = envs.simpler.make(task, resolution=None, terminate_on_success=False)
    record = run_episode(env, make_expert(task), Episode(task=task, index=0, seed=seed))
    env.close()
    assert record.success_at_end
    assert record.steps < env.task.max_steps
