"""What the WidowX's expert sees: the true state in the world frame, and questions asked of it.

The world's z points up. The hand's x points along the hand, its fingers open along its y.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from policies.experts.motion import RobotState, Vector, matrix_of

# Finger positions (m): shut this far they hold nothing; open this far they let go.
EMPTY = 0.0165
LOOSE = 0.031
# A finger target below this is the command to shut.
SHUT_TARGET = 0.02
# Fingers that moved less than this in a control step (m) have come to a stop.
STALLED = 0.0012


def downward(closing: Vector, tilt: float = 0.0) -> Vector:
    """Rotation (3, 3) of a hand that points down and closes along the horizontal `closing` (3,).

    `tilt` (rad) leans the hand about the closing axis.
    """
    across = np.array([closing[0], closing[1], 0.0])
    across = across / np.linalg.norm(across)
    level = np.cross([0.0, 0.0, -1.0], across)
    along = np.array([0.0, 0.0, -np.cos(tilt)]) + np.sin(tilt) * level
    return np.stack([along, across, np.cross(along, across)], axis=1)


def nearest_turn(angle: float, period: float) -> float:
    """`angle` (rad) without whole periods: between minus and plus half a period."""
    return float((angle + period / 2) % period - period / 2)


class PutOnState(RobotState):
    """The robot, the source object and the target that it is put on."""

    def __init__(self, privileged: Mapping[str, Any]) -> None:
        super().__init__(privileged)
        self.told_to_shut = self.finger_target < SHUT_TARGET
        self.model = str(privileged["source"])
        source = privileged["objects"][privileged["source"]]
        target = privileged["objects"][privileged["target"]]
        self.source = np.asarray(source["center"], dtype=np.float64)
        self.target = np.asarray(target["center"], dtype=np.float64)
        self.source_rotation = matrix_of(source["pose"])
        self.target_rotation = matrix_of(target["pose"])
        self.source_size = np.asarray(source["size"], dtype=np.float64)
        self.target_size = np.asarray(target["size"], dtype=np.float64)
        self.source_speed = float(np.linalg.norm(source["velocity"][:3]))

    @property
    def long_axis(self) -> Vector:
        """Horizontal direction (3,) of the source's longest side."""
        axis = self.source_rotation[:, int(np.argmax(self.source_size))].copy()
        axis[2] = 0.0
        length = float(np.linalg.norm(axis))
        return axis / length if length > 0.3 else np.array([1.0, 0.0, 0.0])

    @property
    def offset(self) -> Vector:
        """From the target's centre of mass to the source's (3,)."""
        return self.source - self.target

    @property
    def gap(self) -> float:
        """Height (m) of the source's underside above the target's upper side, both lying flat."""
        return float(self.offset[2] - 0.5 * (self.source_size[2] + self.target_size[2]))

    def yaw_error(self) -> float:
        """Turn about z (rad) that brings the source's sides parallel to the target's."""
        source, target = self.source_rotation, self.target_rotation
        turn = np.arctan2(target[1, 0], target[0, 0]) - np.arctan2(source[1, 0], source[0, 0])
        return nearest_turn(float(turn), np.pi / 2)

    def on_target(self, slack: float) -> bool:
        """Whether the source lies on the target; `slack` (m) is the largest gap between them."""
        reach = 0.5 * float(np.linalg.norm(self.target_size[:2]))
        over = float(np.linalg.norm(self.offset[:2])) <= reach
        return bool(over and self.offset[2] > 0.0 and self.gap <= slack)

    def lost(self) -> bool:
        """Whether the source fell from the table."""
        return bool(self.offset[2] < -0.08)

    def holds(self, last_fingers: float) -> bool:
        """Whether the fingers are shut around the source and have come to a stop."""
        near = float(np.linalg.norm(self.hand - self.source)) < 0.045
        stopped = abs(self.fingers - last_fingers) < STALLED
        return bool(near and self.told_to_shut and EMPTY < self.fingers < LOOSE + 0.003 and stopped)
