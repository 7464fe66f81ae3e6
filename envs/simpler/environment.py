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

from envs.actions import ACTION_LIMIT, ACTION_SIZE, STATE_SIZE
from envs.simpler.scenes.scene import SimplerScene
from envs.simpler.scenes.state import privileged, snapshot
from envs.simpler.tasks.registry import TaskSpec
from envs.simpler.tasks.start import checked_options
from experiment.errors import UserError


def proprioception(seen: dict[str, Any]) -> NDArray[np.float32]:
    """State `(10,)`: gripper position, two columns of its rotation (base frame), fingers."""
    pose = seen["gripper_pose_base"]
    rotation = quat2mat(pose[3:])
    fingers = [seen["finger_angle"]]
    return np.concatenate([pose[:3], rotation[:, 0], rotation[:, 1], fingers]).astype(np.float32)


def describe(scene: SimplerScene, number: int, seen: dict[str, Any]) -> dict[str, Any]:
    """The `info` of environment `number`; `seen` is its privileged state."""
    rule, start = scene.rule, scene.starts[number]
    main = start.layout.source

    def plain(values: dict[str, Any]) -> dict[str, Any]:
        return {name: value[number].item() for name, value in values.items()}

    return {
        "instruction": scene.instruction(number),
        "subtask": int(rule.subtask[number]),
        "elapsed_steps": int(rule.elapsed_steps[number]),
        **plain(rule.report),
        "success": bool(rule.success[number]),
        "success_ever": bool(rule.success_ever[number]),
        "success_strict": bool(rule.success_strict[number]),
        "episode_stats": plain(rule.statistics),
        "robot_pose": start.robot_pose,
        "coloring": start.coloring,
        "layout": start.layout.number,
        "object": None if main is None else start.layout.models[main],
        "variant": scene.variant.name,
        "assets": scene.pack.name,
        "stand_ins": list(scene.stand_ins),
        "privileged": seen,
    }


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
        self.action_space = gymnasium.spaces.Box(-ACTION_LIMIT, ACTION_LIMIT, dtype=np.float32)

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
        seen = privileged(self.scene, snapshot(self.scene), 0)
        return self._observation(observation, seen), describe(self.scene, 0, seen)

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Execute one action `(7,)` for one control step.

        The episode is truncated at the task's step limit, and terminated by success where
        `terminate_on_success` is set (success may be lost again).
        Raises: `UserError` for an action of another shape or with NaN or infinity.
        """
        action = np.asarray(action, dtype=np.float32)
        step = int(self.scene.rule.elapsed_steps[0])
        if action.shape != (ACTION_SIZE,) or not np.isfinite(action).all():
            raise UserError(
                f"the action at step {step} must be {ACTION_SIZE} finite "
                f"numbers; got shape {action.shape}, values {action.tolist()}."
            )
        observation, *_ = self.scene.step(action)
        seen = privileged(self.scene, snapshot(self.scene), 0)
        info = describe(self.scene, 0, seen)
        return (
            self._observation(observation, seen),
            float(info["success"]),
            info["success"] and self.terminate_on_success,
            info["elapsed_steps"] >= self.task.max_steps,
            info,
        )

    def advance_to_next_subtask(self) -> None:
        """Go on to the next subtask, if there is one; the instruction changes with it."""
        self.scene.advance_to_next_subtask()

    def get_language_instruction(self) -> str:
        """The instruction of the current subtask."""
        return self.scene.instruction(0)

    def is_final_subtask(self) -> bool:
        """Whether the current subtask is the last one."""
        rule = self.scene.rule
        return bool(rule.subtask[0] == rule.subtasks - 1)

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """The camera's current picture, or None without a renderer."""
        if self.scene.resolution is None:
            return None
        return self.scene.head_image(self.scene.get_obs())

    def close(self) -> None:
        self.scene.close()

    def _observation(
        self, observation: dict[str, Any], seen: dict[str, Any]
    ) -> dict[str, np.ndarray]:
        result: dict[str, np.ndarray] = {"state": proprioception(seen)}
        if self.scene.resolution is not None:
            result["image"] = self.scene.head_image(observation)
        return result
