"""How to grasp an object from above: where, how the hand is turned, and how it gets there.

Everything is decided from the true state in the world frame (z up, the robot at larger x). The hand
comes down at a slant and closes across an object's narrow side, its fingers level.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from policies.experts.motion import Goal, RobotState, Vector, matrix_of, share_of

OPEN, SHUT = -1.0, 1.0
"""Gripper commands, repeated as long as they are meant: a delta on the finger target is only exact
while the fingers stand still."""
EMPTY = 1.15
"""Fingers this far shut (rad) hold nothing."""
GRASPED_TARGET = 1.2
ABOVE, ABOVE_FLAT, FLAT = 0.10, 0.07, 0.045
# Gripper point below an object's top and above its underside (m): the palm and the finger tips.
PALM, TIPS = 0.07, 0.024
SQUARE = 1.25
"""Up to this ratio of its horizontal sides an object is grasped any way round."""

APPROACH, TURNED = (0.014, 0.034), (0.2, 0.4)
"""Aside of a grasp (m) and away from its rotation (rad): up to the former the hand comes all the
way down, from the latter on it stays above. In between by degrees: a learner that cannot see a few
millimetres learns the mean of a border's sides, and that of down and up is to stay."""
RISE = (0.020, 0.045)
"""The same of a low hand: up to the former it corrects where it is, from the latter on it first
rises."""

SLANT = 0.55
"""Between the way the hand points and straight down (rad): a steeper wrist meets its limits."""
AHEAD = np.pi / 2
"""Closing along y (rad) is easiest anywhere: the hand leans away from the robot."""

# Gripper at the start of an episode (world): columns x, y (closing), z (the way it points).
_START = np.array([[0.304, 0.904, -0.301], [0.929, -0.351, -0.116], [-0.211, -0.244, -0.947]])


@dataclass(frozen=True)
class Item:
    """An object: centre of mass, underside and top (m), horizontal direction of its narrow side.

    narrow is None where any side will do; reach is half its horizontal diagonal.
    """

    centre: Vector
    bottom: float
    top: float
    narrow: Vector | None
    reach: float

    @property
    def grasp(self) -> Vector:
        lowest = max(self.centre[2], self.top - PALM)
        return np.array([*self.centre[:2], max(lowest, self.bottom + TIPS)])


def item_of(privileged: Mapping[str, Any]) -> Item:
    pose = np.asarray(privileged["pose"], dtype=np.float64)
    centre = np.asarray(privileged["center"], dtype=np.float64)
    axes, size = matrix_of(pose), np.asarray(privileged["size"], dtype=np.float64)
    extent = np.abs(axes) @ size / 2
    upright = int(np.abs(axes[2]).argmax())
    flat = [i for i in range(3) if i != upright]
    short, long = sorted(flat, key=lambda i: size[i])
    narrow = None
    if size[long] > SQUARE * size[short]:
        narrow = axes[:, short] * [1.0, 1.0, 0.0]
        narrow = narrow / np.linalg.norm(narrow)
    return Item(
        centre=centre,
        bottom=float(pose[2] - extent[2]),
        top=float(pose[2] + extent[2]),
        narrow=narrow,
        reach=float(np.hypot(size[short], size[long]) / 2),
    )


def grasp_rotation(
    narrow: Vector | None, at: Vector, lean: float = 0.0, slant: float = SLANT, aside: float = 1.0
) -> Vector:
    """Rotation (3, 3) of a hand that closes along `narrow` at the place `at` (world, m).

    Columns: x, y (along which the fingers close), z (the way the hand points). The hand leans
    aside rather than along `narrow`, so that both fingers come down to the same height; how far
    aside is bounded by what the arm reaches there (found by solving its kinematics over the table).
    `lean` (rad) leans it a little further aside; `slant` (rad) is its angle to straight down. It
    leans `aside` by that share of what would be best.
    """
    along = AHEAD if narrow is None else float(np.arctan2(narrow[1], narrow[0])) % np.pi
    least, most = _azimuths(at)
    azimuth = along - AHEAD
    if azimuth < np.deg2rad(-45) and azimuth + np.pi - most < least - azimuth:
        azimuth += np.pi
    azimuth = aside * float(np.clip(azimuth, least, most)) + lean
    level = np.sin(slant) * np.array([-np.cos(azimuth), -np.sin(azimuth), 0.0])
    points = level - [0.0, 0.0, np.cos(slant)]
    closing = np.array([np.cos(along), np.sin(along), 0.0])
    closing = closing - points * (points @ closing)
    closing = closing / np.linalg.norm(closing)
    hands = [
        np.stack([np.cross(y, points), y, points], axis=1) for y in (closing, -closing)
    ]  # the fingers are alike: whichever needs the smaller turn
    return max(hands, key=lambda hand: float((hand * _START).sum()))


def _azimuths(at: Vector) -> tuple[float, float]:
    """How far aside (rad) the hand may lean at a place: to the right of the robot, to its left."""
    right = np.clip(-50.0 * (at[1] - 0.05) / 0.25, -50.0, 0.0)
    far = np.clip((-0.28 - at[0]) / 0.10, 0.0, 1.0) * np.clip((at[1] - 0.15) / 0.10, 0.0, 1.0)
    return float(np.deg2rad(right)), float(np.deg2rad(75.0 - 40.0 * far))


GRASP_VARIATION: Mapping[str, Any] = {
    "grasp": ((-0.004, 0.004), (-0.004, 0.004), (0.0, 0.004)),
    "lean": (-0.08, 0.08),
}
"""Bounds of a grasp's offset (m) and of its further lean (rad), as in `Expert.variation`."""


class GraspFromAbove:
    """How to grasp an object from above; the hand's rotation is kept on the last stretch."""

    def __init__(self, offset: Vector, lean: float, slant: float = SLANT) -> None:
        """Args: `offset` (3,) (m) from the object's middle; `lean`, `slant` of the hand (rad)."""
        self._offset, self._lean, self._slant = offset, lean, slant
        self._aside = 1.0
        self.rotation: Vector | None = None

    def lean_less(self) -> None:
        """Lean the hand less aside from now on: it does not get to where it should go."""
        self._aside = max(0.0, self._aside - 0.25)
        self.rotation = None

    def holds(self, state: RobotState, item: Item, last_fingers: float) -> bool:
        """Whether the fingers are closed around the object and have come to a stop."""
        stalled = abs(state.fingers - last_fingers) < 0.03
        near = float(np.linalg.norm(state.hand - item.grasp)) < 0.055
        return bool(
            near
            and stalled
            and state.finger_target > GRASPED_TARGET
            and 0.4 < state.fingers < EMPTY
        )

    def goal(self, state: RobotState, item: Item, frozen: int, moved: Vector | None = None) -> Goal:
        """Where to go next.

        Args: `frozen` counts the steps for which the arm has stood still; `moved` (3,) (m) is how
            far the robot stands from its place at the table.
        """
        # High above the far side of the table the wrist would have to bend beyond its limit.
        above = ABOVE if item.top - item.grasp[2] > FLAT else ABOVE_FLAT
        above = max(0.05, above - 0.01 * frozen)
        if self.rotation is None or state.hand[2] > item.grasp[2] + 0.055:
            place = item.centre if moved is None else item.centre - moved
            self.rotation = grasp_rotation(item.narrow, place, self._lean, self._slant, self._aside)
        rotation = self.rotation
        at = item.grasp + self._offset
        along = rotation[:, 2]
        off = state.hand - at
        ahead = float(off @ along)
        aside = float(np.linalg.norm(off - ahead * along))
        turned = state.turn_to(rotation)
        closing = state.finger_target > 0.5 and state.fingers < EMPTY
        if closing and aside < 0.035 and abs(ahead) < 0.035:
            return Goal(at, rotation, SHUT, "grasp")  # what the hand touches moves it a little
        if aside < 0.014 and abs(ahead) < 0.014 and turned < 0.2:
            if state.fingers < 0.3:
                return Goal(at, rotation, SHUT, "grasp")
            return Goal(at, rotation, OPEN, "grasp again")
        high = max(
            share_of(aside, *APPROACH),
            share_of(turned, *TURNED),
            share_of(state.fingers, 0.3, 0.5),
            share_of(-ahead, above + 0.01, above + 0.05),
        )
        place = at - high * above * along
        low = share_of(above - float(off[2]), 0.03, 0.07)
        rise = share_of(aside, *RISE) * low
        up = np.array([*state.hand[:2], at[2] + above + 0.01])
        down = "descend" if high < 0.5 else "go above"
        phase = "rise" if rise > 0.5 else down
        return Goal(place + rise * (up - place), rotation, OPEN, phase)
