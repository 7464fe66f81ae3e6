"""SIMPLER's control mode of the WidowX: Cartesian deltas on the last target pose, no interpolation.

Once a control step inverse kinematics turns the moved target pose into joint targets, which the
drives get at once; the gripper has two positions in between which the action chooses.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import sapien
import torch
from transforms3d.quaternions import qmult, quat2mat

from envs.simpler.robots.controller import (
    CartesianDeltaConfig,
    CartesianDeltaController,
    PlannedJointConfig,
    PlannedJointController,
)
from envs.simpler.robots.joint_path import Vector, rotation_vector_to_quaternion


class TargetDeltaController(CartesianDeltaController):
    """Arm: `(6,)` = translation (m) and rotation vector (rad) that move the last target pose.

    The rotation turns the target about the measured gripper position, in the base frame (SIMPLER's
    `ee_align2` with `use_target`). When inverse kinematics does not converge the joints' target is
    the measured position, but the moved target pose is kept.
    """

    config: "TargetDeltaConfig"

    def reset(self) -> None:
        super().reset()
        self.target_pose = self.end_effector_pose()

    def set_action(self, action: torch.Tensor) -> None:
        delta = self._action(action)
        measured = self.end_effector_pose().p
        turn = rotation_vector_to_quaternion(delta[3:])
        arm = quat2mat(turn) @ (self.target_pose.p - measured)
        self.target_pose = sapien.Pose(measured + delta[:3] + arm, qmult(turn, self.target_pose.q))
        solution = self.inverse_kinematics(self.target_pose)
        self.target_positions = self.joint_positions() if solution is None else solution
        self._drive(self.target_positions)


class MimicPositionController(PlannedJointController):
    """Fingers: `(1,)`, +1 opens and -1 closes, both to the same position between the limits."""

    config: "MimicPositionConfig"

    def set_action(self, action: torch.Tensor) -> None:
        share = 0.5 + 0.5 * float(np.clip(self._action(action)[0], -1.0, 1.0))
        position = self.config.lower + share * (self.config.upper - self.config.lower)
        self.target_positions: Vector = np.full(len(self._joints), position)
        self._drive(self.target_positions)


@dataclass
class TargetDeltaConfig(CartesianDeltaConfig):
    """Arm controller; `end_effector` is the link whose pose the action moves."""

    controller_cls: ClassVar[type] = TargetDeltaController


@dataclass
class MimicPositionConfig(PlannedJointConfig):
    """Gripper controller; targets (m) of the commands -1 and +1."""

    lower: float = 0.0
    upper: float = 1.0
    controller_cls: ClassVar[type] = MimicPositionController
