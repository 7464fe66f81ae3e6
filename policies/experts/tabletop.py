"""What the scripted experts at the table share: how to grasp an object from above, and lift it.

Everything is decided from the true state in the world frame (z up, the robot at larger x). The hand
comes down at a slant and closes across an object's narrow side, its fingers level.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from policies.experts.motion import Drift, Expert, Goal, RobotState, Vector, matrix_of

OPEN, SHUT = -1.0, 1.0
EMPTY = 1.15
"""Fingers this far shut (rad) hold nothing."""
GRASPED_TARGET = 1.2
ABOVE, ABOVE_FLAT, FLAT = 0.10, 0.07, 0.045
# Gripper point below an object's top and above its underside (m): the palm and the finger tips.
PALM, TIPS = 0.07, 0.024
SQUARE = 1.25
"""Up to this ratio of its horizontal sides an object is grasped any way round."""

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


class TableState(RobotState):
    """The robot, the object to be moved, and the privileged objects by name."""

    def __init__(self, privileged: Mapping[str, Any]) -> None:
        super().__init__(privileged)
        self.privileged = privileged
        self.item = item_of(privileged["objects"][privileged["source"]])


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
        if aside < 0.02 and -ahead < above + 0.03 and turned < 0.25 and state.fingers < 0.4:
            return Goal(at, rotation, OPEN, "descend")
        if off[2] < above - 0.05 and aside >= 0.02:
            up = np.array([*state.hand[:2], at[2] + above + 0.01])
            return Goal(up, rotation, OPEN, "rise")
        return Goal(at - above * along, rotation, OPEN, "go above")


def smaller(goal: Goal, state: RobotState, frozen: int) -> Goal:
    """Something smaller to ask for while the arm stands still for want of a joint solution."""
    if frozen < 2:
        return goal
    way = frozen % 4
    if way < 2:  # first only a share of the translation
        position = state.hand + (goal.position - state.hand) * 0.4
        return goal._replace(position=position, rotation=state.rotation)
    if way == 2:  # then only the rotation
        return goal._replace(position=state.hand)
    towards_robot = np.array([0.04, 0.0, 0.03])
    return goal._replace(position=state.hand + towards_robot, rotation=state.rotation)


@dataclass
class PickingExpert(Expert[TableState]):
    """Base of the experts at the table: grasps the source from above, recovering from failures."""

    max_translation: float = 0.08

    variation: ClassVar[Mapping[str, Any]] = {
        **GRASP_VARIATION,
        "lift": (-0.01, 0.02),
    }
    drift = Drift(("go above", "carry"), kick=0.01, axes=(1.0, 1.0, 0.3))
    _state = TableState

    def reset(self, instruction: str, seed: int) -> None:
        super().reset(instruction, seed)
        self._frozen = 0
        self._start_bottom: float | None = None
        self._from_above = GraspFromAbove(self._varied["grasp"], self._varied["lean"])

    def risen(self, item: Item) -> float:
        """How far (m) the object is above where it stood at the first observation."""
        if self._start_bottom is None:
            self._start_bottom = item.bottom
        return item.bottom - self._start_bottom

    def holds(self, state: TableState) -> bool:
        """Whether the fingers are closed around the object and have come to a stop."""
        return self._from_above.holds(state, state.item, self._last_fingers)

    def grasp(self, state: TableState) -> Goal:
        return self._from_above.goal(state, state.item, self._frozen)

    # ---- the action -----------------------------------------------------------------------

    def _with_drift(self, state: TableState, goal: Goal) -> Goal:
        return self._unstuck(state, super()._with_drift(state, goal))

    def _unstuck(self, state: TableState, goal: Goal) -> Goal:
        moved = float(np.linalg.norm(state.hand - self._last_hand)) > 0.002
        near = float(np.linalg.norm(goal.position - state.hand)) < 0.01
        self._frozen = 0 if moved or near or self._idle else self._frozen + 1
        return smaller(goal, state, self._frozen)
