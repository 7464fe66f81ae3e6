"""The next keypose: where the robot will be when its gripper changes next.

The few moments at which a hand closes or opens say what a movement is for: before a grasp it is
the place of the object that is meant, after it the place of the goal (keyframes of
arXiv 2105.14829, found in a recording by the gripper alone). A chunk of six actions says little of
either, least of all at the begin of an episode.
"""

import numpy as np

_CHANGE = 0.5
"""Half of the way between neighbouring levels of a gripper (open, hook, closed), as learned."""


def next_keyposes(gripper: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Return for each step the state `(t, s)` at the next change of the gripper's command.

    `gripper` `(t,)` is learned, `state` `(t, s)`. A change counts before its own step only; after
    the last one it is the episode's last state.
    """
    changes = 1 + np.flatnonzero(np.abs(np.diff(gripper)) > _CHANGE)
    at = np.append(changes, len(state) - 1)
    following = np.searchsorted(changes, np.arange(len(state)), side="right")
    return state[at[following]]
