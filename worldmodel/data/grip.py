"""How far the fingers shut when they last did: what proprioception of one moment cannot say.

An open hand in front of an object has either not been there yet or has just let go of it. The one
picture of now looks alike in both; whether the fingers met something in between tells them apart.
"""

from collections.abc import Iterable

import numpy as np

# From this share of the last way on, fingers have set out to shut once more.
_SET_OUT = 0.25


class LastGrip:
    """Follows the fingers of one episode by the gripper's number in its states.

    Distances are those from where the fingers were at first, in that number's unit.
    """

    def __init__(self) -> None:
        self._first: float | None = None
        self._last, self._away = 0.0, False

    def observe(self, gripper: float) -> float:
        """Return how far the fingers went the last time they left their first place, 0 until then.

        While they are away, it is the farthest of this time.
        """
        if self._first is None:
            self._first = gripper
        distance = abs(gripper - self._first)
        if distance > _SET_OUT * self._last:
            self._last = max(distance, self._last) if self._away else distance
            self._away = True
        else:
            self._away = False
        return self._last


def last_grips(gripper: Iterable[float]) -> np.ndarray:
    """Return float32 `(t, 1)` of the gripper's numbers of an episode from its reset on."""
    grip = LastGrip()
    return np.array([[grip.observe(float(each))] for each in gripper], dtype=np.float32)
