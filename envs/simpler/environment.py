"""A SIMPLER task as a plain gymnasium environment: one scene, numpy in and out.

Observation: `image` uint8 (h, w, 3) from the task's camera (absent without a resolution) and
`state` float32 (10,): gripper position in the base frame (m), the first two columns of its rotation
matrix, mean finger position (rad; WidowX: m). `info` says instruction, subtask, successes, the
original's evaluation and episode statistics, and under `privileged` what only a scripted expert may
look at.
"""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from transforms3d.quaternions import quat2mat

from envs.errors import UserError
from envs.simpler.contacts import component
from envs.simpler.placement import checked_options
from envs.simpler.registry import TaskSpec
from envs.simpler.scene import SimplerScene
from envs.simpler.tasks.cabinet import CabinetScene

STATE_SIZE = 10
ACTION_SIZE = 7


def _pose(pose: Any) -> NDArray[np.float64]:
    return np.concatenate([pose.p, pose.q]).astype(np.float64)


def _plain(value: Any) -> Any:
    """The first environment's entry of a tensor, as a Python number."""
    return value[0].item()


class SimplerEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """Unbatched face of a `SimplerScene`; made by `envs.simpler.make`."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - gymnasium's own way to say it
    render_mode = "rgb_array"

    def __init__(self, scene: SimplerScene, terminate_on_success: bool = True) -> None:
        self.scene = scene
        self.terminate_on_success = terminate_on_success
        spaces: dict[str, gymnasium.Space[Any]] = {
            "state": gymnasium.spaces.Box(-np.inf, np.inf, (STATE_SIZE,), np.float32)
        }
        if scene.resolution is not None:
            width, height = scene.resolution
            spaces["image"] = gymnasium.spaces.Box(0, 255, (height, width, 3), np.uint8)
        self.observation_space = gymnasium.spaces.Dict(spaces)  # type: ignore[assignment]
        high = np.array([1.0] * 3 + [np.pi / 2] * 3 + [1.0], dtype=np.float32)
        self.action_space = gymnasium.spaces.Box(-high, high, dtype=np.float32)

    @property
    def task(self) -> TaskSpec:
        """What names the task."""
        return self.scene.task

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; `options` fix what is drawn from the seed otherwise.

        They are robot_pose, robot_xy, robot_yaw, coloring, object_xy, orientation, layout, drawer
        and object, as far as the task has them.
        Raises: `UserError` for an unknown option or name.
        """
        checked_options(options or {}, self.task)
        super().reset(seed=seed)
        observation, _ = self.scene.reset(seed=seed, options=options)
        return self._observation(observation), self._info()

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Execute one action `(7,)` for one control step.

        The episode is truncated at the task's step limit, and terminated by success where
        `terminate_on_success` is set (success may be lost again).
        Raises: `UserError` for an action of another shape or with NaN or infinity.
        """
        action = np.asarray(action, dtype=np.float32)
        step = self._elapsed_steps
        if action.shape != (ACTION_SIZE,) or not np.isfinite(action).all():
            raise UserError(
                f"the action at step {step} must be {ACTION_SIZE} finite "
                f"numbers; got shape {action.shape}, values {action.tolist()}."
            )
        observation, *_ = self.scene.step(action)
        success = bool(_plain(self.scene.rule.success))
        truncated = self._elapsed_steps >= self.task.max_steps
        terminated = success and self.terminate_on_success
        return (
            self._observation(observation),
            float(success),
            terminated,
            truncated,
            self._info(),
        )

    @property
    def _elapsed_steps(self) -> int:
        return int(_plain(self.scene.rule.elapsed_steps))

    def advance_to_next_subtask(self) -> None:
        """Go on to the next subtask, if there is one; the instruction changes with it."""
        self.scene.advance_to_next_subtask()

    def get_language_instruction(self) -> str:
        """The instruction of the current subtask."""
        return self.scene.get_language_instruction()

    def is_final_subtask(self) -> bool:
        """Whether the current subtask is the last one."""
        return self.scene.is_final_subtask()

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """The camera's current picture, or None without a renderer."""
        if self.scene.resolution is None:
            return None
        return self.scene.head_image(self.scene.get_obs())

    def close(self) -> None:
        self.scene.close()

    def _observation(self, observation: dict[str, Any]) -> dict[str, np.ndarray]:
        pose = self._gripper_in_base()
        rotation = quat2mat(pose.q)
        state = np.concatenate([pose.p, rotation[:, 0], rotation[:, 1], [self._fingers()]])
        result: dict[str, np.ndarray] = {"state": state.astype(np.float32)}
        if self.scene.resolution is not None:
            result["image"] = self.scene.head_image(observation)
        return result

    @property
    def _robot(self) -> Any:
        return self.scene.agent.robot._objs[0]

    def _gripper_in_base(self) -> Any:
        return self._robot.pose.inv() * component(self.scene.gripper).entity_pose

    def _fingers(self) -> float:
        qpos = self._qpos()
        return float(np.mean([qpos[name] for name in self.scene.robot_kind.finger_joints]))

    def _qpos(self) -> dict[str, float]:
        return dict(zip(self.scene.robot_joint_names, map(float, self._robot.qpos), strict=True))

    def _info(self) -> dict[str, Any]:
        scene, rule, start = self.scene, self.scene.rule, self.scene.start
        models = start.layout.models
        main = start.layout.source
        return {
            "instruction": scene.get_language_instruction(),
            "subtask": int(_plain(rule.subtask)),
            "elapsed_steps": self._elapsed_steps,
            **{name: _plain(value) for name, value in rule.report.items()},
            "success": bool(_plain(rule.success)),
            "success_ever": bool(_plain(rule.success_ever)),
            "success_strict": bool(_plain(rule.success_strict)),
            "episode_stats": {name: _plain(value) for name, value in rule.statistics.items()},
            "robot_pose": start.robot_pose,
            "coloring": start.coloring,
            "layout": start.layout.number,
            "object": None if main is None else models[main],
            "variant": scene.variant.name,
            "assets": scene.pack.name,
            "stand_ins": list(scene.stand_ins),
            "privileged": self._privileged(),
        }

    def _privileged(self) -> dict[str, Any]:
        scene, layout = self.scene, self.scene.start.layout
        gripper = scene.agent.controller.controllers["gripper"]
        objects = {
            model: self._object(i) | {"size": scene.pack.object_size(model)}
            for i, model in enumerate(layout.models)
        }
        seen: dict[str, Any] = {
            "qpos": self._qpos(),
            "base_pose": _pose(self._robot.pose),
            "gripper_pose_base": _pose(self._gripper_in_base()),
            "gripper_pose_world": _pose(component(scene.gripper).entity_pose),
            "gripper_target": float(np.mean(gripper.target_positions)),
            "finger_angle": self._fingers(),
            "objects": objects,
            "source": None if layout.source is None else layout.models[layout.source],
            "target": None if layout.target is None else layout.models[layout.target],
        }
        if seen["source"] is not None:
            source = objects[seen["source"]]
            seen |= {"object_pose_world": source["pose"], "object_velocity": source["velocity"]}
        if isinstance(scene, CabinetScene):
            seen |= {
                "drawer": scene.start.drawer,
                "drawer_position": float(scene.cabinet._objs[0].qpos[scene.drawer_index]),
                "drawer_pose_world": _pose(component(scene.drawer_link).entity_pose),
                "cabinet_pose_world": _pose(scene.cabinet._objs[0].pose),
            }
        return seen

    def _object(self, number: int) -> dict[str, NDArray[np.float64]]:
        body = component(self.scene.objects[number])
        velocity = np.concatenate([body.linear_velocity, body.angular_velocity])
        return {
            "pose": _pose(body.entity_pose),
            "velocity": velocity.astype(np.float64),
            "center": np.asarray((body.entity_pose * body.cmass_local_pose).p, dtype=np.float64),
        }
