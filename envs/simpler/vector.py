"""Many environments of one task at once: one GPU simulation behind gymnasium's vector interface."""

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.actions import ACTION_SIZE, spaces
from envs.simpler.environment import describe, proprioception
from envs.simpler.scenes.scene import SimplerScene
from envs.simpler.scenes.state import privileged, snapshot
from envs.simpler.tasks.simplerenv_options import translated
from experiment.errors import UserError

Arrays = dict[str, np.ndarray]


class SimplerVectorEnv(gymnasium.vector.VectorEnv[Arrays, np.ndarray, np.ndarray]):
    """Batched interface of a `SimplerScene`; made by `envs.simpler.make_vec`.

    Observations are those of `SimplerEnv` with a leading dimension `(b, ...)`. Environments do not
    reset themselves: `reset(options={"env_idx": [...]})` begins new episodes in some while the
    others stand where they are. `infos()` has each one's `info`, privileged state included.
    """

    metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.DISABLED}  # noqa: RUF012

    def __init__(self, scene: SimplerScene, terminate_on_success: bool = True) -> None:
        self.scene = scene
        self.terminate_on_success = terminate_on_success
        self.num_envs = len(scene.starts)
        observed, acted = spaces(scene.resolution)
        self.single_observation_space = observed
        self.single_action_space = acted
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._states: list[dict[str, Any]] = []
        self._has_begun = False

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Arrays, dict[str, Any]]:
        """Start episodes, in all environments or in those that `options["env_idx"]` names.

        Args: `seed` one for all, from which each has its own, or one for each that is reset.
        """
        options = translated(options or {}, self.scene.task)
        observation, _ = self.scene.reset(seed=seed, options=options)
        self._has_begun = True
        return self._observation(observation), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[Arrays, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Execute one action `(b, 7)` in each environment.

        Raises: `UserError` for actions of another shape or with NaN or infinity,
        `gymnasium.error.ResetNeeded` before the first reset.
        """
        if not self._has_begun:
            raise gymnasium.error.ResetNeeded("call reset() before the first step().")
        actions = np.asarray(actions, dtype=np.float32)
        if actions.shape != (self.num_envs, ACTION_SIZE) or not np.isfinite(actions).all():
            raise UserError(
                f"actions must be ({self.num_envs}, {ACTION_SIZE}) finite numbers; "
                f"got shape {actions.shape}."
            )
        observation, *_ = self.scene.step(torch.from_numpy(actions).to(self.scene.device))
        rule = self.scene.rule
        success = rule.success.cpu().numpy()
        terminated = success & self.terminate_on_success
        truncated = (rule.elapsed_steps >= self.scene.task.max_steps).cpu().numpy()
        return self._observation(observation), success.astype(np.float64), terminated, truncated, {}

    def infos(self) -> list[dict[str, Any]]:
        """`info` of each environment as `SimplerEnv` gives it."""
        return [describe(self.scene, i, state) for i, state in enumerate(self._states)]

    def advance_to_next_subtask(self, number: int) -> None:
        """Advance to the next subtask in environment `number`, if there is one."""
        self.scene.rule.advance(torch.tensor([number], device=self.scene.rule.device))

    def close_extras(self, **_: Any) -> None:
        self.scene.close()

    def _observation(self, observation: dict[str, Any]) -> Arrays:
        arrays = snapshot(self.scene)
        self._states = [privileged(self.scene, arrays, i) for i in range(self.num_envs)]
        result = {"state": np.stack([proprioception(state) for state in self._states])}
        if self.scene.resolution is not None:
            pictures = [self.scene.head_image(observation, i) for i in range(self.num_envs)]
            result["image"] = np.stack(pictures)
        return result
