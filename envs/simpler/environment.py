"""A SIMPLER task as a plain gymnasium environment: one scene, numpy in and out.

Observation: `image` uint8 (h, w, 3) from the head camera (absent without a resolution) and `state`
float32 (10,): gripper position in the base frame (m), the first two columns of its rotation
matrix, mean finger angle (rad). `info` says instruction, subtask, successes, and under
`privileged` what only a scripted expert may look at.
"""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from transforms3d.quaternions import quat2mat

from envs.errors import UserError
from envs.simpler.google_robot import FINGER_JOINTS
from envs.simpler.open_and_place import DrawerScene

STATE_SIZE = 10
ACTION_SIZE = 7


def _pose(pose: Any) -> NDArray[np.float64]:
    return np.concatenate([pose.p, pose.q]).astype(np.float64)


class SimplerEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """Unbatched face of a `DrawerScene`; made by `envs.simpler.make`."""

    def __init__(self, scene: DrawerScene) -> None:
        self.scene = scene
        spaces: dict[str, gymnasium.Space[Any]] = {
            "state": gymnasium.spaces.Box(-np.inf, np.inf, (STATE_SIZE,), np.float32)
        }
        if scene.resolution is not None:
            width, height = scene.resolution
            spaces["image"] = gymnasium.spaces.Box(0, 255, (height, width, 3), np.uint8)
        self.observation_space = gymnasium.spaces.Dict(spaces)  # type: ignore[assignment]
        high = np.array([1.0] * 3 + [np.pi / 2] * 3 + [1.0], dtype=np.float32)
        self.action_space = gymnasium.spaces.Box(-high, high, dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; `options` may fix robot_pose, coloring, object_xy.

        Raises: `UserError` for an unknown option or name.
        """
        unknown = set(options or {}) - {"robot_pose", "coloring", "object_xy"}
        if unknown:
            raise UserError(
                f"unknown reset option {sorted(unknown)[0]!r}; "
                "known are robot_pose, coloring, object_xy."
            )
        super().reset(seed=seed)
        observation, _ = self.scene.reset(seed=seed, options=options)
        return self._observation(observation), self._info()

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Execute one action `(7,)` for a third of a second.

        The episode is truncated at the task's step limit and never terminated: success may be lost
        again, and both success at the end and success ever are reported.
        Raises: `UserError` for an action of another shape or with NaN or infinity.
        """
        action = np.asarray(action, dtype=np.float32)
        if action.shape != (ACTION_SIZE,) or not np.isfinite(action).all():
            raise UserError(
                f"the action at step {self.scene.rule.elapsed_steps} must be {ACTION_SIZE} finite "
                f"numbers; got shape {action.shape}, values {action.tolist()}."
            )
        observation, _, _, _, _ = self.scene.step(action)
        truncated = self.scene.rule.elapsed_steps >= self.scene.spec_of_task.max_steps
        reward = float(self.scene.rule.success)
        return self._observation(observation), reward, False, truncated, self._info()

    def advance_to_next_subtask(self) -> None:
        """Go on to the second subtask; the instruction in the next `info` changes."""
        self.scene.advance_to_next_subtask()

    def get_language_instruction(self) -> str:
        """The instruction of the current subtask."""
        return self.scene.get_language_instruction()

    def is_final_subtask(self) -> bool:
        """Whether the current subtask is the last one."""
        return self.scene.is_final_subtask()

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """The head camera's current picture, or None without a renderer."""
        if self.scene.resolution is None:
            return None
        return self.scene.head_image(self.scene.get_obs())

    def close(self) -> None:
        self.scene.close()

    def _observation(self, observation: dict[str, Any]) -> dict[str, np.ndarray]:
        pose = self._gripper_in_base()
        rotation = quat2mat(pose.q)
        fingers = self._fingers()
        state = np.concatenate([pose.p, rotation[:, 0], rotation[:, 1], [fingers]])
        result: dict[str, np.ndarray] = {"state": state.astype(np.float32)}
        if self.scene.resolution is not None:
            result["image"] = self.scene.head_image(observation)
        return result

    def _gripper_in_base(self) -> Any:
        return self.scene._robot.pose.inv() * self.scene._gripper_link.entity_pose

    def _fingers(self) -> float:
        qpos = self._qpos()
        return float(np.mean([qpos[name] for name in FINGER_JOINTS]))

    def _qpos(self) -> dict[str, float]:
        return dict(
            zip(self.scene.robot_joint_names, map(float, self.scene._robot.qpos), strict=True)
        )

    def _info(self) -> dict[str, Any]:
        scene, rule = self.scene, self.scene.rule
        body = scene._object_body
        gripper = scene.agent.controller.controllers["gripper"]
        return {
            "instruction": scene.get_language_instruction(),
            "subtask": rule.subtask,
            "elapsed_steps": rule.elapsed_steps,
            "success": bool(rule.success),
            "success_ever": bool(rule.success_ever),
            "success_strict": bool(rule.success_strict),
            "robot_pose": scene.placement.robot_pose,
            "privileged": {
                "qpos": self._qpos(),
                "base_pose": _pose(scene._robot.pose),
                "gripper_pose_base": _pose(self._gripper_in_base()),
                "gripper_pose_world": _pose(scene._gripper_link.entity_pose),
                "gripper_target": float(np.mean(gripper.target_positions)),
                "finger_angle": self._fingers(),
                "drawer_position": float(scene._cabinet.qpos[scene._drawer_index]),
                "drawer_pose_world": _pose(scene._drawer_link.entity_pose),
                "cabinet_pose_world": _pose(scene._cabinet.pose),
                "object_pose_world": _pose(body.entity_pose),
                "object_velocity": np.concatenate(
                    [body.linear_velocity, body.angular_velocity]
                ).astype(np.float64),
            },
        }
