"""Bursts of noise on executed actions, so that demonstrations show how to come back.

The policy's own action is what is recorded; only what the robot executes is disturbed. After
`DART` (Laskey et al., 2017), in short bursts.
"""

from typing import Any

import gymnasium
import numpy as np

import envs.simpler
from envs.episode import EXECUTED
from experiment.errors import UserError

START_PROBABILITY = 0.15
BURST_STEPS = (1, 3)
TRANSLATION = 0.03
"""Standard deviation of the disturbing translation (m) at scale 1."""
ROTATION = 0.12
"""Standard deviation of the disturbing rotation (rad) at scale 1."""
EPISODE_SCALES = (0.0, 0.5, 1.0, 1.5)


class ActionPerturbation(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Disturbs the arm for a few control steps at a time; each episode draws its own scale."""

    def __init__(self, env: gymnasium.Env[Any, Any], scale: float) -> None:
        """Args: `scale` multiplies every episode's drawn scale; 0 disturbs nothing."""
        if not isinstance(scale, int | float) or not 0 <= scale < np.inf:
            raise UserError(f"perturbation={scale}: give a number, 0 for none.")
        super().__init__(env)
        self.scale = scale
        self._generator = np.random.default_rng(0)
        self._episode_scale = 0.0
        self._burst = np.zeros(6)
        self._left = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset; the disturbances of the episode follow from `seed`."""
        self._generator = np.random.default_rng(None if seed is None else [seed, 1])
        self._episode_scale = self.scale * float(self._generator.choice(EPISODE_SCALES))
        self._left = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> Any:
        """Execute `action` `(7,)` with the present disturbance added; the gripper is left alone."""
        disturbed = np.asarray(action, dtype=np.float32).copy()
        if self._left == 0 and self._generator.random() < START_PROBABILITY:
            low, high = BURST_STEPS
            self._left = int(self._generator.integers(low, high + 1))
            deviation = np.array([TRANSLATION] * 3 + [ROTATION] * 3) * self._episode_scale
            self._burst = self._generator.normal(0.0, 1.0, 6) * deviation
        if self._left > 0:
            self._left -= 1
            disturbed[:6] += self._burst
        *outcome, info = self.env.step(disturbed)
        return *outcome, {EXECUTED: disturbed, **info}


def make(task: str, perturbation: float = 1.0, **settings: Any) -> ActionPerturbation:
    """Make a task as `envs.simpler.make` does, with disturbed actions."""
    return ActionPerturbation(envs.simpler.make(task, **settings), perturbation)
