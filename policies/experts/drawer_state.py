"""What the experts at the cabinet see: the true state, and questions asked of it.

The world's x points out of the cabinet. Hand orientations are a pitch below the horizontal and
whether the hand is rolled so that the fingers close sideways or up and down.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from policies.experts.motion import RobotState, Vector

GRIPPER_STROKE = 1.31
"""Radians of finger target for an action of 1."""

# The cabinet in the drawer's frame (m): the board's middle plane and upper edge, the panel's floor.
BOARD_X = 0.305
BOARD_TOP = 0.07
FLOOR_Z = -0.05
# The cabinet body in its own frame (m): the table top's upper side.
TABLE_Z = 0.865


def hand_rotation(pitch: float, sideways: bool) -> Vector:
    """Rotation matrix (3, 3) of the gripper in the world, pointing at the cabinet.

    Columns: x, y (the axis along which the fingers close), z (the way the hand points).
    """
    cos, sin = np.cos(pitch), np.sin(pitch)
    ahead = np.array([-cos, 0.0, -sin])
    if sideways:
        return np.stack([[-sin, 0.0, cos], [0.0, 1.0, 0.0], ahead], axis=1)
    return np.stack([[0.0, 1.0, 0.0], [sin, 0.0, -cos], ahead], axis=1)


class DrawerState(RobotState):
    """The robot, the drawer and, where the task has one, the apple."""

    def __init__(self, privileged: Mapping[str, Any]) -> None:
        super().__init__(privileged)
        self.far = float(privileged["base_pose"][0])
        self.lowest = privileged.get("drawer") == "bottom"
        self.drawer = float(privileged["drawer_position"])
        drawer = np.asarray(privileged["drawer_pose_world"], dtype=np.float64)[:3]
        self.floor = drawer + np.array([0.0, 0.0, FLOOR_Z])
        self.board = drawer + np.array([BOARD_X, 0.0, BOARD_TOP])
        self.cabinet = np.asarray(privileged["cabinet_pose_world"], dtype=np.float64)[:3]
        self.table = float(self.cabinet[2]) + TABLE_Z
        # Tasks without an object have one nowhere.
        item = privileged.get("object_pose_world", np.full(7, np.inf))
        self.apple = np.asarray(item, dtype=np.float64)[:3]
        velocity = privileged.get("object_velocity", np.zeros(6))
        self.apple_speed = float(np.linalg.norm(velocity[:3]))

    @property
    def hand_at_board(self) -> Vector:
        """Gripper point relative to the middle of the board's upper edge."""
        return self.hand - self.board

    def apple_inside(self) -> bool:
        """Whether the apple's centre is in the drawer, below the board's edge."""
        local = self.apple - self.floor
        return bool(abs(local[0]) < 0.28 and abs(local[1]) < 0.26 and 0 < local[2] < 0.10)

    def apple_lost(self) -> bool:
        """Whether the apple fell from the table and not into the drawer."""
        return bool(self.apple[2] < self.table - 0.06 and not self.apple_over_drawer())

    def apple_over_drawer(self) -> bool:
        """Whether the apple is above the part of the drawer that the table does not cover."""
        local = self.apple - self.floor
        in_front = self.apple[0] > self.cabinet[0] + 0.315
        return bool(in_front and local[0] < 0.29 and abs(local[1]) < 0.26 and local[2] > 0)

    def command_to(self, target: float) -> float:
        """Gripper command that leads to a finger target (rad); full strokes at the limits."""
        if target >= GRIPPER_STROKE:
            return 1.0
        if target <= 0.0:
            return -1.0
        missing = target - self.finger_target
        return float(np.clip(missing / GRIPPER_STROKE, -1.0, 1.0)) if abs(missing) > 0.03 else 0.0
