"""Random actions: the lower bound of every table."""

import numpy as np

from policies.contract import ACTION_SIZE, Observation


class RandomPolicy:
    """Draws `chunk` small normal actions at a time from the episode's seed.

    `translation` (m) and `rotation` (rad) are standard deviations an axis; the gripper is asked to
    open or close at random.
    """

    def __init__(self, chunk: int = 6, translation: float = 0.03, rotation: float = 0.1) -> None:
        self.name = "random"
        self._chunk = chunk
        self._scale = np.array([translation] * 3 + [rotation] * 3, dtype=np.float32)
        self._generator = np.random.default_rng(0)

    def reset(self, instruction: str, seed: int) -> None:  # noqa: ARG002
        """Start the episode's own stream of random numbers."""
        self._generator = np.random.default_rng(seed)

    def act(self, observation: Observation) -> np.ndarray:  # noqa: ARG002
        actions = np.empty((self._chunk, ACTION_SIZE), dtype=np.float32)
        actions[:, :6] = self._generator.standard_normal((self._chunk, 6)) * self._scale
        actions[:, 6] = self._generator.choice([-1.0, 0.0, 1.0], self._chunk)
        return actions
