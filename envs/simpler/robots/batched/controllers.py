"""SIMPLER's control modes for many environments at once: what the arms and the fingers do.

`envs.simpler.robots.controller` and `widowx_controller` document the modes. A controller plans the
whole control step when it gets its action.
"""

import torch
from mani_skill.agents.controllers.base_controller import BaseController
from torch import Tensor

from envs.simpler.robots.batched.kinematics import Chain, rotation_matrix
from envs.simpler.robots.batched.limits import Limits
from envs.simpler.robots.batched.planner import plan
from envs.simpler.robots.controller import (
    VELOCITY_WINDOW,
    CartesianDeltaConfig,
    GripperTargetConfig,
    PlannedJointConfig,
)
from envs.simpler.robots.widowx_controller import MimicPositionConfig, TargetDeltaConfig


class BatchedController(BaseController):
    """Plans the arm or the fingers; only works within a `CombinedBatchedController`.

    path, path_velocity: drive targets `(s + 1, b, j)` at the simulation steps of the control step,
    or `(1, b, j)` for one target at once. target_positions: where it leads `(b, j)`. All float64.
    """

    config: PlannedJointConfig
    # What a control step needs is applied by `Drives`; ManiSkill has nothing left to apply.
    sets_target_qpos = False
    sets_target_qvel = False

    def _initialize_joints(self) -> None:
        super()._initialize_joints()
        shape = (self.scene.num_envs, len(self.joints))
        self.target_positions = torch.zeros(shape, dtype=torch.float64, device=self.device)
        self._window_start = torch.zeros_like(self.target_positions)
        self._fresh = torch.ones(shape[0], 1, dtype=torch.bool, device=self.device)
        self.path = self.path_velocity = torch.zeros_like(self.target_positions)[None]
        self._limits = Limits(
            self.config.velocity_limit, self.config.acceleration_limit, self.config.jerk_limit
        )

    def _initialize_action_space(self) -> None:
        self.single_action_space = self.config.action_space()

    def set_drive_property(self) -> None:
        self.config.set_drives(self.joints)

    def joint_positions(self) -> Tensor:
        """Measured positions `(b, j)`, rad (on a GPU as last fetched)."""
        return self.qpos.to(torch.float64)

    def reset_where(self, mask: Tensor) -> None:
        """Stand still at the measured positions where `mask` `(b,)` is true."""
        self._fresh = self._fresh | mask[:, None]
        self.target_positions = torch.where(
            mask[:, None], self.joint_positions(), self.target_positions
        )

    def watch(self) -> None:
        """Remember the positions: a window before the end of the control step."""
        self._window_start = self.joint_positions()

    def _plan(self, start: Tensor, velocity: Tensor) -> None:
        path = plan(start, velocity, self.target_positions, self._limits)
        self.path, self.path_velocity = path.sample(self._sim_steps, self.articulation.px.timestep)
        self._fresh = torch.zeros_like(self._fresh)

    def _go_to(self, positions: Tensor) -> None:
        self.target_positions = positions
        self.path, self.path_velocity = positions[None], torch.zeros_like(positions)[None]


class BatchedArm(BatchedController):
    """What both arms share: the action `(b, 6)` and the kinematics."""

    config: CartesianDeltaConfig

    def _initialize_joints(self) -> None:
        super()._initialize_joints()
        link = self.articulation.links_map[self.config.end_effector]
        self.chain = Chain(self.articulation._objs[0], link._objs[0], self.device)
        active = self.active_joint_indices.tolist()
        self._in_chain = torch.tensor(
            [active.index(column) for column in self.chain.columns.tolist()], device=self.device
        )

    def end_effector_pose(self) -> Tensor:
        """Measured gripper pose in the robot's base frame `(b, 4, 4)`."""
        return self.chain.pose(self.joint_positions()[:, self._in_chain])

    def _reach(self, pose: Tensor) -> Tensor:
        """Joint positions `(b, j)` at a pose `(b, 4, 4)`; the measured ones where none are found.

        Joints that do not move the gripper (the head's) stay where they are measured.
        """
        positions = self.joint_positions()
        angles = positions[:, self._in_chain]
        solution, reached = self.chain.inverse(pose, angles)
        positions[:, self._in_chain] = torch.where(reached[:, None], solution, angles)
        return positions


class BatchedCartesianDelta(BatchedArm):
    """Arm: translation (m) and rotation vector (rad) added to the measured gripper pose."""

    def set_action(self, action: Tensor) -> None:
        action = action.to(torch.float64)
        pose = self.end_effector_pose()
        pose[:, :3, 3] += action[:, :3]
        pose[:, :3, :3] = rotation_matrix(action[:, 3:]) @ pose[:, :3, :3]
        self.target_pose = pose
        self.target_positions = self._reach(pose)
        self._plan(
            torch.where(self._fresh, self.joint_positions(), self.path[-1]),
            torch.where(self._fresh, 0.0, self.path_velocity[-1]),
        )


class BatchedTargetDelta(BatchedArm):
    """Arm: translation (m) and rotation vector (rad) that move the last target pose."""

    config: TargetDeltaConfig

    def _initialize_joints(self) -> None:
        super()._initialize_joints()
        self.target_pose = torch.eye(4, dtype=torch.float64, device=self.device)[None]

    def reset_where(self, mask: Tensor) -> None:
        super().reset_where(mask)
        self.target_pose = torch.where(
            mask[:, None, None], self.end_effector_pose(), self.target_pose
        )

    def set_action(self, action: Tensor) -> None:
        action = action.to(torch.float64)
        measured = self.end_effector_pose()[:, :3, 3]
        turn = rotation_matrix(action[:, 3:])
        arm = (turn @ (self.target_pose[:, :3, 3] - measured)[..., None]).squeeze(-1)
        pose = self.target_pose.clone()
        pose[:, :3, 3] = measured + action[:, :3] + arm
        pose[:, :3, :3] = turn @ pose[:, :3, :3]
        self.target_pose = pose
        self._go_to(self._reach(pose))


class BatchedGripperTarget(BatchedController):
    """Fingers: +1 closes and -1 opens, a delta on the last drive target; tiny ones repeat it."""

    config: GripperTargetConfig

    def set_action(self, action: Tensor) -> None:
        delta = action.to(torch.float64).clamp(-1.0, 1.0) * self.config.radians_per_unit
        positions = self.joint_positions()
        # After a reset the last target is where the fingers were then.
        last = torch.where(self._fresh, self.target_positions, self.path[-1])
        moved = (last + delta).clamp(*self.config.target_limits)
        self.target_positions = torch.where(delta.abs() >= 1e-3, moved, self.target_positions)
        window = VELOCITY_WINDOW * self.articulation.px.timestep
        velocity = torch.where(self._fresh, 0.0, (positions - self._window_start) / window)
        self._plan(positions, velocity)


class BatchedMimicPosition(BatchedController):
    """Fingers: +1 opens and -1 closes, both to the same position between the limits."""

    config: MimicPositionConfig

    def set_action(self, action: Tensor) -> None:
        share = 0.5 + 0.5 * action.to(torch.float64).clamp(-1.0, 1.0)
        position = self.config.lower + share * (self.config.upper - self.config.lower)
        self._go_to(position.expand_as(self.target_positions))
