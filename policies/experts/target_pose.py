"""Where the WidowX's target pose stands: each action moves the last target, not the measured pose.

First from our own actions, then corrected by what the arm does: it goes towards the target by about
the same share in every control step, so its last movement tells how far off the target was. That
also finds a target which somebody else moved.
"""

import numpy as np

from policies.experts.motion import Vector, rotation_between, turned

REALISED = 0.57
"""Share of the way to its target that the arm goes in a control step (measured: 0.5 to 0.62)."""
FOLLOW = 1.2
"""How far off the target was, per unexpected movement (1 / REALISED if nothing else disturbed)."""


class TargetPose:
    """The target's position (3,) and rotation (3, 3), all in one frame that stands still."""

    def __init__(self, position: Vector, rotation: Vector) -> None:
        """Start where the gripper is measured: there the target is after a reset."""
        self.position, self.rotation = position.copy(), rotation.copy()
        self._measured = position.copy(), rotation.copy()

    def observe(self, position: Vector, rotation: Vector) -> None:
        """Take in the gripper's measured pose at the end of a control step."""
        before, before_rotation = self._measured
        expected = before + REALISED * (self.position - before)
        turn = REALISED * rotation_between(before_rotation, self.rotation)
        unexpected = rotation_between(turned(turn) @ before_rotation, rotation)
        self.position = self.position + FOLLOW * (position - expected)
        self.rotation = turned(FOLLOW * unexpected) @ self.rotation
        self._measured = position.copy(), rotation.copy()

    def move(self, step: Vector, turn: Vector) -> Vector:
        """Move the target by `step` (3,) (m) and `turn` (3,) (rad); returns the action for it (6,).

        The robot turns the target about the measured gripper, so the action's translation takes
        back what the turn would add.
        """
        around = self.position - self._measured[0]
        rotation = turned(turn)
        translation = step + around - rotation @ around
        self.position = self.position + step
        self.rotation = rotation @ self.rotation
        return np.concatenate([translation, turn])
