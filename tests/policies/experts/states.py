"""Privileged states made by hand: a cabinet with an apple, a table with a can, two cubes."""

from typing import Any

import numpy as np
from transforms3d.axangles import axangle2mat
from transforms3d.quaternions import mat2quat

from policies.contract import Observation
from policies.experts.drawer_state import hand_rotation
from policies.experts.from_above import grasp_rotation
from policies.experts.open_and_place import PITCH_OPEN, PITCH_PICK
from policies.experts.put_on_state import downward

UP = np.array([0.0, 0.0, 1.0])
STILL = [1.0, 0.0, 0.0, 0.0]

CABINET = np.array([-0.295, 0.0, 0.017])
DRAWER = CABINET + 0.668 * UP
EDGE = DRAWER + np.array([0.305, 0.0, 0.07])
OUTSIDE = EDGE + np.array([0.335, 0.1, 0.194])
APPLE = np.array([-0.06, 0.05, 0.9195])
BALL = np.array([0.08, 0.08, 0.08])
TO_BOARD = hand_rotation(PITCH_OPEN, sideways=False)
TO_APPLE = hand_rotation(PITCH_PICK, sideways=True)

CAN = {
    "pose": np.array([-0.2, 0.2, 0.914, 0.0, 0.0, 0.0, 1.0]),
    "velocity": np.zeros(6),
    "size": np.array([0.067, 0.123, 0.067]),
    "center": np.array([-0.2, 0.2, 0.915]),
}

CUBE = np.array([0.03, 0.03, 0.03])
GREEN, YELLOW = "baked_green_cube_3cm", "baked_yellow_cube_3cm"
GREEN_AT, YELLOW_AT = np.array([-0.21, -0.05, 0.885]), np.array([-0.21, 0.05, 0.885])
AWAY = GREEN_AT + np.array([0.1, 0.1, 0.15])
ONTO = YELLOW_AT + 0.03 * UP
DOWN = downward(np.array([0.0, -1.0, 0.0]))


def observation(privileged: dict[str, Any], instruction: str = "") -> Observation:
    return Observation(None, np.zeros(10, np.float32), instruction, 0, privileged)


def base(position: Any, yaw: float) -> np.ndarray:
    return np.array([*position, *mat2quat(axangle2mat(UP, yaw))])


def hand(position: Any, rotation: np.ndarray) -> np.ndarray:
    return np.array([*position, *mat2quat(rotation)])


def outwards(action: np.ndarray) -> np.ndarray:
    """Translation of `action` in the world, for a base that is turned by half a turn."""
    return action[:3] * [-1.0, -1.0, 1.0]


def cabinet(
    at: Any = OUTSIDE,
    rotation: np.ndarray = TO_BOARD,
    *,
    drawer: float = 0.0,
    apple: Any = APPLE,
    size: np.ndarray = BALL,
    fingers: float = 0.0,
    target: float = 0.0,
    instruction: str = "open top drawer",
    yaw: float = np.pi,
) -> Observation:
    """The Google robot at the cabinet; `at` and `apple` in the world frame.

    size: of the object in the apple's place (m), whose frame is the world's.
    """
    privileged = {
        "base_pose": base([0.652, 0.009, 0.079], yaw),
        "gripper_pose_world": hand(at, rotation),
        "finger_angle": fingers,
        "gripper_target": target,
        "drawer": "top",
        "drawer_position": drawer,
        "drawer_pose_world": np.array([*(DRAWER + np.array([drawer, 0.0, 0.0])), *STILL]),
        "cabinet_pose_world": np.array([*CABINET, *STILL]),
        "object_pose_world": np.array([*apple, *STILL]),
        "object_velocity": np.zeros(6),
        "objects": {"item": thing(apple, size)},
        "source": "item",
    }
    return observation(privileged, instruction)


def table(
    at: Any = (-0.09, 0.42, 1.04), fingers: float = 0.0, target: float = 0.0, yaw: float = np.pi
) -> Observation:
    """The Google robot at a table with a can; by default where an episode starts."""
    privileged = {
        "base_pose": base([0.35, 0.2, 0.08], yaw),
        "gripper_pose_world": hand(at, grasp_rotation(None, CAN["center"])),
        "finger_angle": fingers,
        "gripper_target": target,
        "objects": {"opened_coke_can": CAN},
        "source": "opened_coke_can",
        "target": None,
    }
    return observation(privileged)


def thing(at: Any, size: np.ndarray, yaw: float = 0.0, speed: float = 0.0) -> dict[str, Any]:
    """An entry of the privileged objects."""
    return {
        "pose": hand(at, axangle2mat(UP, yaw)),
        "center": np.array(at),
        "size": size,
        "velocity": np.array([speed, 0.0, 0.0, 0.0, 0.0, 0.0]),
    }


def cubes(
    at: Any = AWAY,
    rotation: np.ndarray = DOWN,
    *,
    source: dict[str, Any] | None = None,
    target: dict[str, Any] | None = None,
    fingers: float = 0.037,
    shut: bool = False,
    models: tuple[str, str] = (GREEN, YELLOW),
    yaw: float = np.pi,
) -> Observation:
    """The WidowX above two objects, by default two cubes."""
    privileged = {
        "base_pose": base([0.147, 0.028, 0.87], yaw),
        "gripper_pose_world": hand(at, rotation),
        "finger_angle": fingers,
        "gripper_target": 0.014 if shut else 0.038,
        "objects": {
            models[0]: source or thing(GREEN_AT, CUBE),
            models[1]: target or thing(YELLOW_AT, CUBE),
        },
        "source": models[0],
        "target": models[1],
    }
    return observation(privileged)


def holding_cube(at: np.ndarray, yaw: float = 0.0) -> Observation:
    """The WidowX with the green cube in its hand."""
    return cubes(at + 0.005 * UP, source=thing(at, CUBE, yaw), fingers=0.0252, shut=True)
