"""SIMPLER's control mode: Cartesian deltas at the gripper, turned into jerk-limited joint paths.

Once a control step the arm's action becomes a target pose, inverse kinematics makes joint targets
of it, and Ruckig plans a path from the end of the last path (velocity included). Before every
simulation step the next point of that path becomes the drives' target. The drives lag behind; that
lag is part of the task (about 29 % of a commanded step is realised within it).

Drive targets are written to SAPIEN's own joint objects: ManiSkill's batched setters cost four times
as much per control step on the CPU.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import sapien
import torch
from gymnasium import spaces
from mani_skill.agents.controllers.base_controller import BaseController, ControllerConfig
from transforms3d.quaternions import qmult

from envs.actions import ACTION_LIMIT
from envs.simpler.robots.joint_path import Vector, plan_path, rotation_vector_to_quaternion

# PhysX reports a wrong velocity for a stalled joint (one velocity iteration), so the start velocity
# of a path is taken from positions, over this many simulation steps.
VELOCITY_WINDOW = 8

_STATE = (
    "_step",
    "_path",
    "_path_velocity",
    "_window_start",
    "target_positions",
    "target_pose",
    "last_drive_positions",
)
"""What a controller remembers from one control step to the next."""


class PlannedJointController(BaseController):
    """Follow a planned joint path with PD drives; subclasses decide where the path leads."""

    config: "PlannedJointConfig"
    # ManiSkill asks this to decide what to send to a GPU simulation.
    sets_target_qpos = True
    sets_target_qvel = True

    def _initialize_joints(self) -> None:
        super()._initialize_joints()
        # One scene on the CPU: SAPIEN's own objects, found by name (active joints are ordered
        # breadth-first, which is not the order of the configuration).
        self._articulation: sapien.physx.PhysxArticulation = self.articulation._objs[0]
        active = self._articulation.active_joints
        names = [joint.name for joint in self.articulation.active_joints]
        self._indices = [names.index(name) for name in self.config.joint_names]
        self._joints = [active[i] for i in self._indices]
        self._limits = np.array([joint.limits[0] for joint in self._joints], dtype=np.float64)

    def _initialize_action_space(self) -> None:
        self.single_action_space = self.config.action_space()

    def set_drive_property(self) -> None:
        self.config.set_drives(self._joints)

    def joint_positions(self) -> Vector:
        """Measured positions `(j,)` of this controller's joints, rad."""
        return self._articulation.qpos[self._indices].astype(np.float64)

    def reset(self) -> None:
        super().reset()
        self._step = 0
        self._path: Vector | None = None
        self._path_velocity: Vector | None = None
        self._window_start = self.joint_positions()
        self.target_positions = self.joint_positions()
        self._drive(self.target_positions)
        for joint in self._joints:
            joint.set_drive_velocity_target(0.0)

    def memory(self) -> dict[str, Any]:
        """What the next control step follows from, beside the measured joints."""
        return {name: copy.deepcopy(getattr(self, name, None)) for name in _STATE}

    def remember(self, state: dict[str, Any]) -> None:
        """Take over what `memory` returned, and drive there as it did."""
        for name, value in state.items():
            setattr(self, name, copy.deepcopy(value))
        self._drive(self.last_drive_positions)
        if self.config.drive_velocity and self._path_velocity is not None:
            self._drive_velocity(self._path_velocity[self._step])

    def _drive_velocity(self, velocities: Vector) -> None:
        for joint, velocity in zip(self._joints, velocities, strict=True):
            joint.set_drive_velocity_target(velocity)

    def _drive(self, positions: Vector) -> None:
        self.last_drive_positions = positions
        # PhysX 4 under the original keeps a drive's target within the joint's limits (seen in the
        # recordings: a wrist sent past its limit creeps up to it); PhysX 5 does not.
        clipped = np.clip(positions, self._limits[:, 0], self._limits[:, 1])
        for joint, position in zip(self._joints, clipped, strict=True):
            joint.set_drive_target(position)

    def _plan(self, start: Vector, start_velocity: Vector) -> None:
        limits = (
            self.config.velocity_limit,
            self.config.acceleration_limit,
            self.config.jerk_limit,
        )
        self._path, self._path_velocity = plan_path(
            start,
            start_velocity,
            self.target_positions,
            limits,
            self._sim_steps,
            self.articulation.px.timestep,
        )
        self._step = 0

    def before_simulation_step(self) -> None:
        if self._path is None or self._path_velocity is None:
            return
        if self._step == self._sim_steps - VELOCITY_WINDOW:
            self._window_start = self.joint_positions()
        self._step = min(self._step + 1, self._sim_steps)
        self._drive(self._path[self._step])
        if self.config.drive_velocity:
            self._drive_velocity(self._path_velocity[self._step])

    def _action(self, action: torch.Tensor) -> Vector:
        return action[0].detach().cpu().numpy().astype(np.float64)


class CartesianDeltaController(PlannedJointController):
    """Arm: `(6,)` = translation (m) and rotation vector (rad) added at the gripper, base axes.

    The translation is added to the measured gripper position, the rotation is multiplied from the
    left in the base frame (SIMPLER's `ee_align`). When inverse kinematics does not converge the
    target is the measured position: the arm stands still for that step.
    """

    config: "CartesianDeltaConfig"

    def _initialize_joints(self) -> None:
        super()._initialize_joints()
        self._kinematics = self._articulation.create_pinocchio_model()
        self._end_effector = self.articulation.links_map[self.config.end_effector]._objs[0]
        self._end_effector_index = self._articulation.links.index(self._end_effector)
        self._mask = np.zeros(self._articulation.dof, dtype=np.int32)
        self._mask[self._indices] = 1

    def end_effector_pose(self) -> sapien.Pose:
        """Measured gripper pose in the robot's base frame."""
        return self._articulation.pose.inv() * self._end_effector.entity_pose

    def inverse_kinematics(self, target: sapien.Pose) -> Vector | None:
        """Joint positions `(j,)` that bring the gripper to `target` (base frame), None if none."""
        solution, converged, _ = self._kinematics.compute_inverse_kinematics(
            self._end_effector_index,
            target,
            initial_qpos=self._articulation.qpos,
            active_qmask=self._mask,
            max_iterations=100,
        )
        if not converged:
            return None
        return np.asarray(solution, dtype=np.float64)[self._indices]

    def set_action(self, action: torch.Tensor) -> None:
        delta = self._action(action)
        measured = self.end_effector_pose()
        self.target_pose = sapien.Pose(
            measured.p + delta[:3],
            qmult(rotation_vector_to_quaternion(delta[3:]), measured.q),
        )
        solution = self.inverse_kinematics(self.target_pose)
        positions = self.joint_positions()
        self.target_positions = positions if solution is None else solution
        if self._path is None or self._path_velocity is None:
            self._plan(positions, np.zeros(len(positions)))
        else:
            self._plan(self._path[-1], self._path_velocity[-1])


class GripperTargetController(PlannedJointController):
    """Fingers: `(1,)`, +1 closes and -1 opens, a delta on the last drive target.

    A command below 1e-3 repeats the last target, as the original does.
    """

    config: "GripperTargetConfig"

    def set_action(self, action: torch.Tensor) -> None:
        delta = np.clip(self._action(action), -1.0, 1.0) * self.config.radians_per_unit
        if abs(delta[0]) >= 1e-3:
            self.target_positions = np.clip(
                self.last_drive_positions + delta, *self.config.target_limits
            )
        positions = self.joint_positions()
        velocity = np.zeros(len(positions))
        if self._path is not None:
            velocity = (positions - self._window_start) / (
                VELOCITY_WINDOW * self.articulation.px.timestep
            )
        self._plan(positions, velocity)


@dataclass
class PlannedJointConfig(ControllerConfig):
    """Gains `(j,)` in joint order and the planner's limits (rad/s, rad/s^2, rad/s^3)."""

    stiffness: tuple[float, ...] = ()
    damping: tuple[float, ...] = ()
    force_limit: tuple[float, ...] = ()
    velocity_limit: float = 1.0
    acceleration_limit: float = 1.0
    jerk_limit: float = 50.0
    drive_velocity: bool = False
    controller_cls: ClassVar[type] = PlannedJointController

    def action_space(self) -> spaces.Box:
        """Bounds of the controller's action: `(1,)` for fingers, `(6,)` for an arm."""
        return spaces.Box(-ACTION_LIMIT[6:], ACTION_LIMIT[6:], dtype=np.float32)

    def set_drives(self, joints: Sequence[Any]) -> None:
        """Set the gains of the drives of `joints` (SAPIEN's or ManiSkill's), without friction."""
        for joint, stiffness, damping, force in zip(
            joints, self.stiffness, self.damping, self.force_limit, strict=True
        ):
            joint.set_drive_properties(stiffness, damping, force_limit=force, mode="force")
            joint.set_friction(0.0)


@dataclass
class CartesianDeltaConfig(PlannedJointConfig):
    """Arm controller; `end_effector` is the link whose pose the action moves."""

    end_effector: str = ""
    controller_cls: ClassVar[type] = CartesianDeltaController

    def action_space(self) -> spaces.Box:
        return spaces.Box(-ACTION_LIMIT[:6], ACTION_LIMIT[:6], dtype=np.float32)


@dataclass
class GripperTargetConfig(PlannedJointConfig):
    """Gripper controller; limits of the target in rad."""

    radians_per_unit: float = 1.0
    target_limits: tuple[float, float] = (0.0, 1.0)
    drive_velocity: bool = True
    controller_cls: ClassVar[type] = GripperTargetController
