"""SIMPLER's tasks as a benchmark of vla-eval (0.8), by its import string and without Docker.

    benchmarks:
      - benchmark: envs.hub.vla_eval_benchmark:SimplerBenchmark
        episodes_per_task: 20
        params: {tasks: pick_horizontal_coke_can}

This module imports `vla_eval`; nothing else here does.
"""

from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
from vla_eval.benchmarks.base import StepBenchmark, StepResult
from vla_eval.specs import IMAGE_RGB, LANGUAGE, POSITION_DELTA, RAW, ROTATION_AA, DimSpec

from envs.actions import ACTION_SIZE
from envs.simpler import Resolution, make
from envs.simpler.environment import SimplerEnv
from envs.simpler.tasks.registry import TASKS, task_spec
from experiment.errors import UserError

SuccessMode = Literal["truncation", "early_stop", "accumulate"]
Gripper = Literal["native", "binary", "sticky"]

_STICKY_STEPS = 15


class SimplerBenchmark(StepBenchmark):
    """All 25 tasks; episode n of a task begins from seed `seed + n`.

    `success_mode` and `gripper` have the meaning that vla-eval's own SIMPLER benchmark gives them:
    success at the step limit (`truncation`), at once (`early_stop`) or ever (`accumulate`); the
    seventh number as our environments take it (`native`), in [0, 1] and above one half for +1
    (`binary`), or in [0, 1], relative, and held for 15 steps once it moved (`sticky`, as is usual
    for the Google robot). Observations have `images.primary`, `task_description` and, with
    `send_state`, the `states` `(10,)` of `SimplerEnv`.
    """

    render_backends = frozenset({"gpu", "cpu"})

    @classmethod
    def configure_render(cls, mode: str) -> dict[str, str]:  # noqa: ARG003
        """Return nothing to set: the renderer takes what device there is."""
        return {}

    def __init__(
        self,
        tasks: str | Iterable[str] | None = None,
        success_mode: SuccessMode = "truncation",
        gripper: Gripper = "native",
        send_state: bool = True,
        seed: int = 1_000_000,
        assets: str = "primitives",
        asset_root: str | None = None,
        resolution: Resolution = "native",
    ) -> None:
        """Args: `tasks` are names, with commas between them or in a list, None for all; `assets`,
            `asset_root` and `resolution` as in `envs.simpler.make`.
        Raises: `UserError` for an unknown name or setting."""
        super().__init__()
        for name, value, choices in (
            ("success_mode", success_mode, get_args(SuccessMode)),
            ("gripper", gripper, get_args(Gripper)),
        ):
            if value not in choices:
                raise UserError(f"{name}={value!r} must be one of {', '.join(choices)}.")
        chosen = [name.strip() for name in tasks.split(",")] if isinstance(tasks, str) else tasks
        self.tasks = [task_spec(name).name for name in chosen or TASKS]
        self.success_mode, self.gripper, self.send_state = success_mode, gripper, send_state
        self.seed = seed
        self._settings: dict[str, Any] = {
            "assets": assets, "asset_root": asset_root, "resolution": resolution,
            "terminate_on_success": False,
        }  # fmt: skip
        self._env: SimplerEnv | None = None
        self._held, self._holding = 0.0, 0
        make(self.tasks[0], **self._settings).close()  # refuses impossible settings

    def get_tasks(self) -> list[dict[str, Any]]:
        return [{"name": name, "suite": "simpler"} for name in self.tasks]

    def reset(self, task: dict[str, Any]) -> Any:
        """Start the episode `episode_idx` of a task."""
        name = task["name"]
        if self._env is None or self._env.task.name != name:
            self.cleanup()
            self._env = make(name, **self._settings)
        self._held, self._holding = 0.0, 0
        observation, self._info = self._env.reset(seed=self.seed + int(task.get("episode_idx", 0)))
        self._recorder.record_video(observation.get("image"))
        return observation

    def step(self, action: dict[str, Any]) -> StepResult:
        """Execute `actions` `(7,)`; raises `ValueError` for another size."""
        assert self._env is not None
        given = np.asarray(action.get("actions", action.get("action")), dtype=np.float32)
        if given.shape != (ACTION_SIZE,):
            raise ValueError(f"an action has {ACTION_SIZE} numbers; got shape {given.shape}")
        observation, reward, _, truncated, self._info = self._env.step(self._translated(given))
        success = bool(self._info["success"])
        ended = truncated or (success and self.success_mode == "early_stop")
        self._recorder.record_video(observation.get("image"))
        self._recorder.record_step(
            reward=reward, done=ended, terminated=success, truncated=truncated, success=success
        )
        return StepResult(obs=observation, reward=reward, done=ended, info={"success": success})

    def make_obs(self, raw_obs: Any, task: dict[str, Any]) -> dict[str, Any]:
        """Return what a model server is sent."""
        observation = {
            "images": {"primary": raw_obs["image"]},
            "task_description": self._info["instruction"],
            "task_name": task["name"],
        }
        return observation | ({"states": raw_obs["state"]} if self.send_state else {})

    def get_step_result(self, step_result: StepResult) -> dict[str, Any]:  # noqa: ARG002
        ever = bool(self._info["success_ever"])
        success = ever if self.success_mode == "accumulate" else bool(self._info["success"])
        return {"success": success, "strict": bool(self._info["success_strict"]), "ever": ever}

    def get_metric_keys(self) -> dict[str, str]:
        return {"success": "mean", "strict": "mean", "ever": "mean"}

    def get_action_spec(self) -> dict[str, DimSpec]:
        gripper = DimSpec("gripper", 1, f"simpler_{self.gripper}")
        return {"position": POSITION_DELTA, "rotation": ROTATION_AA, "gripper": gripper}

    def get_observation_spec(self) -> dict[str, DimSpec]:
        spec = {"image": IMAGE_RGB, "language": LANGUAGE}
        return spec | ({"state": RAW} if self.send_state else {})

    def get_metadata(self) -> dict[str, Any]:
        """Return the longest step limit: each episode ends at its own."""
        steps = max(TASKS[name].max_steps for name in self.tasks)
        return {"max_steps": steps, "success_mode": self.success_mode, "gripper": self.gripper}

    def render(self) -> np.ndarray | None:
        return None if self._env is None else self._env.render()

    def cleanup(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None

    def _translated(self, action: np.ndarray) -> np.ndarray:
        """Return the action with its gripper as our environment takes it."""
        if self.gripper == "native":
            return action
        if self.gripper == "binary":
            command = 1.0 if action[6] > 0.5 else -1.0
        else:
            # 1 opens, and the Google robot's relative command closes with +1.
            command = 1.0 - 2.0 * float(action[6])
            if self._holding == 0 and abs(command) > 0.5:
                self._held, self._holding = command, _STICKY_STEPS
            if self._holding > 0:
                command, self._holding = self._held, self._holding - 1
        return np.append(action[:6], np.float32(command))
