"""Corrective data: a learner drives for a while, and what its teacher would have done is recorded.

After DAgger (Ross et al., 2011): states that only the learner comes to, labelled by the expert. The
action that a step is given is the teacher's, and is what is recorded; in some stretches of an
episode the robot executes the learner's instead. In between the teacher drives, so that episodes
that the learner spoiled are brought to their end.
"""

from typing import Any

import gymnasium
import numpy as np

from envs.episode import EXECUTED, Policy
from envs.rollout import observe
from envs.stepwise import StepwisePolicy
from experiment.errors import UserError

STRETCH = (4, 24)
"""The fewest and most control steps that one of them drives."""


class LearnerDrives(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Executes the learner's actions in stretches drawn from each episode's seed."""

    def __init__(self, env: gymnasium.Env[Any, Any], learner: Policy, learner_share: float) -> None:
        """Args: `learner_share` of the stretches are the learner's, 0 to 1."""
        if not isinstance(learner_share, int | float) or not 0 <= learner_share <= 1:
            raise UserError(f"learner_share={learner_share} must lie in [0, 1].")
        super().__init__(env)
        self._learner, self._share = StepwisePolicy(learner), learner_share
        self._generator = np.random.default_rng(0)
        self._drives, self._left = False, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset; who drives when follows from `seed`, and so does the learner's noise."""
        raw, info = self.env.reset(seed=seed, options=options)
        self._generator = np.random.default_rng(None if seed is None else [seed, 2])
        self._step, self._left = 0, 0
        self._seen = observe(raw, info, self._step)
        self._learner.reset(self._seen.instruction, 0 if seed is None else seed)
        # A policy may remember the first picture, whoever drives at first.
        self._learner.next(self._seen)
        return raw, info

    def step(self, action: np.ndarray) -> Any:
        """Execute `action` `(7,)`, or the learner's in its stretches."""
        if self._left == 0:
            self._drives = bool(self._generator.random() < self._share)
            self._left = int(self._generator.integers(STRETCH[0], STRETCH[1] + 1))
            if self._step > 0:
                self._learner.look()
        self._left -= 1
        executed = np.asarray(action, dtype=np.float32)
        if self._drives:
            executed = self._learner.next(self._seen)
        self._learner.executed(executed)
        raw, reward, terminated, truncated, info = self.env.step(executed)
        self._step += 1
        self._seen = observe(raw, info, self._step)
        return raw, reward, terminated, truncated, {EXECUTED: executed, **info}
