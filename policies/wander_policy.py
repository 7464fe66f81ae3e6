"""Wandering: random motion with a memory, so that what happens next follows from actions alone."""

import numpy as np

from policies.contract import ACTION_SIZE, Observation

LEG_STEPS = (2, 8)
"""Fewest and most control steps of a leg."""
FASTEST = (0.05, 0.2)
"""Most translation (m) and rotation (rad) an axis and step."""


class WanderPolicy:
    """Goes in straight legs to random places around where the episode began.

    A demonstration's next action follows from its picture, and noise of single steps averages out
    within a frame of the video; neither teaches a world model what actions do. `reach` (m) and
    `turn` (rad) are standard deviations an axis of a leg's end from the start; the gripper is asked
    to open, to close or to stay for a leg at a time.
    """

    def __init__(self, reach: float = 0.12, turn: float = 0.35) -> None:
        self.name = "wander"
        self._reach = np.array([reach] * 3 + [turn] * 3)
        self._most = np.array([FASTEST[0]] * 3 + [FASTEST[1]] * 3)
        self._generator = np.random.default_rng(0)
        self._at = np.zeros(6)

    def reset(self, instruction: str, seed: int) -> None:  # noqa: ARG002
        """Start the episode's own stream of random numbers."""
        self._generator = np.random.default_rng(seed)
        self._at = np.zeros(6)

    def act(self, observation: Observation) -> np.ndarray:  # noqa: ARG002
        """Return a leg, `(2 to 8, 7)`."""
        steps = int(self._generator.integers(LEG_STEPS[0], LEG_STEPS[1] + 1))
        ahead = (self._generator.standard_normal(6) * self._reach - self._at) / steps
        step = np.clip(ahead, -self._most, self._most)
        self._at = self._at + steps * step
        actions = np.empty((steps, ACTION_SIZE), dtype=np.float32)
        actions[:, :6] = step
        actions[:, 6] = self._generator.choice([-1.0, 0.0, 1.0])
        return actions
