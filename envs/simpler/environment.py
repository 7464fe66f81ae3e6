"""A SIMPLER task as a plain gymnasium environment: one scene, numpy in and out.

Observation: `image` uint8 (h, w, 3) from the task's camera (absent without a resolution) and
`state` float32 (10,): gripper position in the base frame (m), the first two columns of its rotation
matrix, mean finger position (rad; WidowX: m). `info` has instruction, subtask, successes, the
original's evaluation and episode statistics, and under `privileged` the state that only scripted
experts read.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from transforms3d.quaternions import quat2mat

from envs.actions import spaces, validated_action
from envs.simpler.scenes.saved_state import SavedState, restore, save
from envs.simpler.scenes.scene import SimplerScene
from envs.simpler.scenes.state import privileged, snapshot
from envs.simpler.tasks.registry import TaskSpec
from envs.simpler.tasks.simplerenv_options import translated
from envs.simpler.tasks.start import checked_options


def proprioception(state: dict[str, Any]) -> NDArray[np.float32]:
    """State `(10,)`: gripper position, two columns of its rotation (base frame), fingers."""
    pose = state["gripper_pose_base"]
    rotation = quat2mat(pose[3:])
    fingers = [state["finger_angle"]]
    return np.concatenate([pose[:3], rotation[:, 0], rotation[:, 1], fingers]).astype(np.float32)


def describe(scene: SimplerScene, number: int, state: dict[str, Any]) -> dict[str, Any]:
    """The `info` of environment `number`; `state` is its privileged state."""
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
        "privileged": state,
    }


class SimplerEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """Unbatched interface of a `SimplerScene`; made by `envs.simpler.make`."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - gymnasium's own way to say it

    def __init__(
        self,
        task: TaskSpec,
        resolution: tuple[int, int] | None,
        build: Callable[[], SimplerScene],
        terminate_on_success: bool = True,
    ) -> None:
        """Args: `resolution` (width, height), None without pictures; `build` makes the scene."""
        self.task = task
        self.resolution = resolution
        self.terminate_on_success = terminate_on_success
        self._build = build
        self._has_begun = False
        self.observation_space, self.action_space = spaces(resolution)  # type: ignore[assignment]
        drawn = resolution is not None
        self.render_mode = "rgb_array" if drawn else None
        self.metadata = {
            "render_modes": ["rgb_array"] if drawn else [],
            "render_fps": task.control_frequency,
        }

    @cached_property
    def scene(self) -> SimplerScene:
        """The simulation, built when it is first needed.

        Not at construction: gymnasium's vector environments construct one only for its
        spaces and then fork, which a renderer that has been started does not survive.
        """
        return self._build()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; `options` fix what is drawn from the seed otherwise.

        They are robot_pose, robot_xy, robot_yaw, coloring, object_xy, target_xy, distractor_xy,
        orientation, layout, drawer and object, where the task has them, or SimplerEnv's own (see
        `simplerenv_options`).
        Raises: `UserError` for an unknown option or name, and where nothing can draw.
        """
        options = translated(options or {}, self.task)
        options.pop("reconfigure", None)  # every reset rebuilds the scene
        checked_options(options, self.task)
        super().reset(seed=seed)
        observation, _ = self.scene.reset(seed=seed, options=options)
        state = privileged(self.scene, snapshot(self.scene), 0)
        self._has_begun = True
        return self._observation(observation, state), describe(self.scene, 0, state)

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Execute one action `(7,)` for one control step.

        The episode is truncated at the task's step limit, and terminated by success where
        `terminate_on_success` is set (success may be lost again).
        Raises: `UserError` for an action of another shape or with NaN or infinity,
        `gymnasium.error.ResetNeeded` before the first reset.
        """
        self._check_begun("step")
        action = validated_action(action, int(self.scene.rule.elapsed_steps[0]))
        observation, *_ = self.scene.step(action)
        state = privileged(self.scene, snapshot(self.scene), 0)
        info = describe(self.scene, 0, state)
        return (
            self._observation(observation, state),
            float(info["success"]),
            info["success"] and self.terminate_on_success,
            info["elapsed_steps"] >= self.task.max_steps,
            info,
        )

    def _check_begun(self, method: str) -> None:
        if not self._has_begun:
            raise gymnasium.error.ResetNeeded(f"call reset() before the first {method}().")

    def advance_to_next_subtask(self) -> None:
        """Advance to the next subtask, if there is one; the instruction changes with it."""
        self.scene.advance_to_next_subtask()

    def save_state(self) -> SavedState:
        """Return the state between two control steps; raises `ResetNeeded` before the first reset.

        Episodes can branch from it, here or in another environment of this task.
        """
        self._check_begun("save_state")
        return save(self.scene)

    def restore_state(self, state: SavedState) -> None:
        """Return to a state of the episode that the last `reset` (same seed and options) began.

        What follows agrees with what followed there to micrometres in free space, and to about two
        millimetres in six control steps where something is held: PhysX starts its contacts anew.
        """
        self._check_begun("restore_state")
        restore(self.scene, state)

    def get_language_instruction(self) -> str:
        return self.scene.instruction(0)

    def is_final_subtask(self) -> bool:
        rule = self.scene.rule
        return bool(rule.subtask[0] == rule.subtasks - 1)

    def render(self) -> NDArray[np.uint8] | None:
        """The camera's current picture, or None without a renderer."""
        if self.resolution is None:
            return None
        return self.scene.head_image(self.scene.get_obs())

    def close(self) -> None:
        if "scene" in vars(self):
            self.scene.close()

    def _observation(
        self, observation: dict[str, Any], state: dict[str, Any]
    ) -> dict[str, np.ndarray]:
        result: dict[str, np.ndarray] = {"state": proprioception(state)}
        if self.resolution is not None:
            result["image"] = self.scene.head_image(observation)
        return result
