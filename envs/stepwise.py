"""A policy asked for one action at a time, where not all that it answers is executed.

Whoever takes turns with a policy (a teacher, a player at the keys) executes actions that are not
its own. What it knows of its own past, such as where a gripper is that takes relative commands,
would be wrong if it were not told.
"""

import numpy as np

from envs.actions import validated_chunk
from envs.episode import Observation, Policy, policy_name


class StepwisePolicy:
    """Hands out a policy's chunk action by action, as long as these are what is executed."""

    def __init__(self, policy: Policy) -> None:
        """Args: `policy`, told of what was executed if it wants to (`envs.episode.Policy`)."""
        self._policy = policy
        self._begin()

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode, as `Policy.reset`."""
        self._policy.reset(instruction, seed)
        self._begin()

    def _begin(self) -> None:
        self._answer = np.zeros((0, 7), np.float32)
        self._left: list[np.ndarray] = []
        self._executed: list[np.ndarray] = []

    def next(self, seen: Observation) -> np.ndarray:
        """Return the action `(7,)` that the policy asks for; it looks at `seen` if it has none.

        Raises `UserError` for an answer that is no chunk of actions.
        """
        if not self._left:
            self._tell()
            answer = self._policy.act(seen)
            self._answer = validated_chunk(answer, policy_name(self._policy), seen.step)
            self._left = [*self._answer]
        return self._left[0]

    def executed(self, action: np.ndarray) -> None:
        """Note what a control step executed; another action than `next` handed out ends a chunk."""
        self._executed.append(np.asarray(action, dtype=np.float32))
        if self._left and np.array_equal(self._left[0], self._executed[-1]):
            self._left.pop(0)
        else:
            self._left = []

    def look(self) -> None:
        """Drop what is left of a chunk: the policy looks before its next action."""
        self._left = []

    def _tell(self) -> None:
        executed = np.array(self._executed, np.float32).reshape(-1, 7)
        told = getattr(self._policy, "told", None)
        if told is not None and not np.array_equal(executed, self._answer):
            told(executed)
        self._executed = []
