"""Other actions from the same state: a demonstration up to a step, then something else.

Resets are exact, so an episode that repeats a demonstration's seed and actions reaches its state
again; what the simulator then does with other actions is the truth that a world model's answer to
"what if" is compared with.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from envs.actions import ACTION_SIZE
from envs.dataset.perturbation import ROTATION, TRANSLATION
from envs.episode import Branch, Observation, Policy, policy_name
from experiment.errors import UserError, nearest

DEMONSTRATION = "demonstration"
ACTIONS = ("zero", "reversed", "random", "disturbed")
"""zero: the robot is told nothing. reversed: its last motions are undone, the latest first. random:
a motion and a gripper command drawn anew every second. disturbed: the policy's own, with noise."""

_HELD = 3  # steps that a random action is held: at 3 Hz a second
_RANDOM = 2.0  # deviation of random motions, in those of the perturbation


def check_actions(names: Any) -> tuple[str, ...]:
    """Return the kinds of other actions that a setting lists; raises `UserError`."""
    for name in names:
        if name not in ACTIONS:
            raise UserError(f"actions: unknown kind {name!r}.{nearest(str(name), ACTIONS)}")
    return tuple(names)


class BranchingPolicy:
    """Acts as `policy` until the branch's step, then as the branch says for its length.

    The noise follows from the episode's seed and the branch alone.
    """

    def __init__(self, policy: Policy, branch: Branch | Mapping[str, Any]) -> None:
        self._policy = policy
        self._branch = branch if isinstance(branch, Branch) else Branch(**branch)
        self.name = policy_name(policy)
        self.reset("", 0)

    def reset(self, instruction: str, seed: int) -> None:
        self._policy.reset(instruction, seed)
        kind = (DEMONSTRATION, *ACTIONS).index(self._branch.actions)
        self._generator = np.random.default_rng([seed, 2, self._branch.step, kind])
        self._past: list[np.ndarray] = []
        self._left = self._branch.length
        self._held = np.zeros(ACTION_SIZE)
        self.done = self.subtask_done = False

    def act(self, observation: Observation) -> np.ndarray:
        branch = self._branch
        before = branch.step - observation.step
        if branch.actions == DEMONSTRATION or before > 0:
            chunk = np.asarray(self._policy.act(observation))
            chunk = chunk if branch.actions == DEMONSTRATION else chunk[:before]
            self._past.extend(chunk)
            self.subtask_done = bool(getattr(self._policy, "subtask_done", False))
            self.done = bool(getattr(self._policy, "done", False))
            return chunk
        self.subtask_done = False
        action = self._other(observation)
        self._left -= 1
        self.done = self._left <= 0
        return action[None].astype(np.float32)

    def _other(self, observation: Observation) -> np.ndarray:
        """Return the action `(7,)` of a step after the branch."""
        action = np.zeros(ACTION_SIZE)
        scale = np.array([TRANSLATION] * 3 + [ROTATION] * 3)
        if self._branch.actions == "reversed" and self._past:
            action[:6] = -self._past.pop()[:6]
        elif self._branch.actions == "random":
            if (self._branch.length - self._left) % _HELD == 0:
                self._held[:6] = self._generator.normal(size=6) * _RANDOM * scale
                self._held[6] = self._generator.integers(-1, 2)
            action = self._held
        elif self._branch.actions == "disturbed":
            action = np.array(self._policy.act(observation), dtype=np.float64)[0]
            action[:6] += self._generator.normal(size=6) * scale
        return action
