"""What the scripted experts at the table share: how to grasp an object from above, and lift it.

Everything is decided from the true state in the world frame (z up, the robot at larger x). The hand
comes down at a slant and closes across an object's narrow side, its fingers level.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transforms3d.quaternions import quat2mat

from policies.experts.drawer_state import Vector, rotation_between, shortened

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


class Goal(NamedTuple):
    """A gripper pose in the world, the gripper's action, and what it is for."""

    position: Vector
    rotation: Vector
    fingers: float
    phase: str


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
    speed: float

    @property
    def grasp(self) -> Vector:
        """Where the gripper point belongs."""
        lowest = max(self.centre[2], self.top - PALM)
        return np.array([*self.centre[:2], max(lowest, self.bottom + TIPS)])


def item_of(seen: Mapping[str, Any]) -> Item:
    """Read one entry of the privileged objects."""
    pose = np.asarray(seen["pose"], dtype=np.float64)
    centre = np.asarray(seen["center"], dtype=np.float64)
    axes, size = quat2mat(pose[3:]), np.asarray(seen["size"], dtype=np.float64)
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
        speed=float(np.linalg.norm(seen["velocity"][:3])),
    )


class Hand:
    """The hand's true state in the world frame."""

    def __init__(self, privileged: Mapping[str, Any]) -> None:
        self.base_rotation = quat2mat(privileged["base_pose"][3:])
        self.position = np.asarray(privileged["gripper_pose_world"][:3], dtype=np.float64)
        self.rotation = quat2mat(privileged["gripper_pose_world"][3:])
        self.fingers = float(privileged["finger_angle"])
        self.finger_target = float(privileged["gripper_target"])

    def turn_to(self, rotation: Vector) -> float:
        """Angle (rad) between the hand and `rotation`."""
        return float(np.linalg.norm(rotation_between(self.rotation, rotation)))


def grasp_rotation(narrow: Vector | None, at: Vector, lean: float = 0.0) -> Vector:
    """Rotation (3, 3) of a hand that closes along `narrow` at the place `at` (world, m).

    Columns: x, y (along which the fingers close), z (the way the hand points). The hand leans
    aside rather than along `narrow`, so that both fingers come down to the same height; how far
    aside is bounded by what the arm reaches there (seen by solving its kinematics over the table).
    `lean` (rad) leans it a little further aside.
    """
    along = AHEAD if narrow is None else float(np.arctan2(narrow[1], narrow[0])) % np.pi
    least, most = _azimuths(at)
    azimuth = along - AHEAD
    if azimuth < np.deg2rad(-45) and azimuth + np.pi - most < least - azimuth:
        azimuth += np.pi
    azimuth = float(np.clip(azimuth, least, most)) + lean
    level = np.sin(SLANT) * np.array([-np.cos(azimuth), -np.sin(azimuth), 0.0])
    points = level - [0.0, 0.0, np.cos(SLANT)]
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


@dataclass(frozen=True)
class Habits:
    """One episode's random choices, all zero-mean around what works."""

    grasp: Vector
    lean: float
    lift: float
    speed: float


class PickingExpert:
    """Base of the experts at the table: grasps the source from above, recovering from failures."""

    name = "oracle"

    def __init__(
        self,
        max_translation: float = 0.08,
        max_rotation: float = 0.30,
        gain: float = 1.6,
        jitter: float = 1.0,
    ) -> None:
        """Set how the expert moves.

        Args: `max_translation` (m) and `max_rotation` (rad) bound one action; `gain` multiplies the
            remaining error, as only a third of a commanded step is realised within it; `jitter`
            scales the random waypoints of an episode (0: the action follows from the state alone).
        """
        self.max_translation = max_translation
        self.max_rotation = max_rotation
        self.gain = gain
        self.jitter = jitter
        self.reset("", 0)

    def reset(self, instruction: str, seed: int) -> None:  # noqa: ARG002
        """Draw this episode's habits from `seed`."""
        self.done = False
        self.phase = ""
        self._generator = np.random.default_rng(seed)
        draw, scale = self._generator.uniform, self.jitter
        self._habits = Habits(
            grasp=scale * np.array([draw(-0.004, 0.004), draw(-0.004, 0.004), draw(0.0, 0.004)]),
            lean=scale * draw(-0.08, 0.08),
            lift=scale * draw(-0.01, 0.02),
            speed=1.0 + scale * draw(-0.15, 0.15),
        )
        self._last_fingers = 0.0
        self._last_position = np.full(3, np.inf)
        self._frozen = 0
        self._sway = np.zeros(3)
        self._start_bottom: float | None = None
        self._rotation: Vector | None = None

    # ---- grasping -------------------------------------------------------------------------

    def holds(self, hand: Hand, item: Item) -> bool:
        """Whether the fingers are closed around the object and have come to a stop."""
        stalled = abs(hand.fingers - self._last_fingers) < 0.03
        near = float(np.linalg.norm(hand.position - item.grasp)) < 0.055
        return bool(
            near and stalled and hand.finger_target > GRASPED_TARGET and 0.4 < hand.fingers < EMPTY
        )

    def grasp(self, hand: Hand, item: Item) -> Goal:
        """Towards the object from above, then close."""
        # High above the far side of the table the wrist would have to bend beyond its limit.
        above = ABOVE if item.top - item.grasp[2] > FLAT else ABOVE_FLAT
        above = max(0.05, above - 0.01 * self._frozen)
        if self._rotation is None or hand.position[2] > item.grasp[2] + 0.055:
            self._rotation = grasp_rotation(item.narrow, item.centre, self._habits.lean)
        rotation = self._rotation
        at = item.grasp + self._habits.grasp
        along = rotation[:, 2]
        off = hand.position - at
        ahead = float(off @ along)
        aside = float(np.linalg.norm(off - ahead * along))
        turned = hand.turn_to(rotation)
        closing = hand.finger_target > 0.5 and hand.fingers < EMPTY
        if closing and aside < 0.035 and abs(ahead) < 0.035:
            return Goal(
                at, rotation, SHUT, phase="grasp"
            )  # what the hand touches moves it a little
        if aside < 0.014 and abs(ahead) < 0.014 and turned < 0.2:
            if hand.fingers < 0.3:
                return Goal(at, rotation, SHUT, phase="grasp")
            return Goal(at, rotation, OPEN, phase="grasp again")
        if aside < 0.02 and -ahead < above + 0.03 and turned < 0.25 and hand.fingers < 0.4:
            return Goal(at, rotation, OPEN, phase="descend")
        if off[2] < above - 0.05 and aside >= 0.02:
            up = np.array([*hand.position[:2], at[2] + above + 0.01])
            return Goal(up, rotation, OPEN, phase="rise")
        return Goal(at - above * along, rotation, OPEN, phase="go above")

    # ---- the action -----------------------------------------------------------------------

    def action(self, hand: Hand, goal: Goal) -> NDArray[np.float32]:
        """The action `(1, 7)` that leads a part of the way to `goal`."""
        goal = self._unstuck(hand, self._swayed(hand, goal))
        self.phase = goal.phase
        self._last_fingers, self._last_position = hand.fingers, hand.position
        reach = self.max_translation * self._habits.speed
        step = shortened(self.gain * (goal.position - hand.position), reach)
        turn = self.gain * rotation_between(hand.rotation, goal.rotation)
        to_base = hand.base_rotation.T
        turn = to_base @ shortened(turn, self.max_rotation)
        return np.concatenate([to_base @ step, turn, [goal.fingers]])[None].astype(np.float32)

    def _unstuck(self, hand: Hand, goal: Goal) -> Goal:
        """Something smaller to ask for while the arm stands still for want of a joint solution."""
        moved = float(np.linalg.norm(hand.position - self._last_position)) > 0.002
        near = float(np.linalg.norm(goal.position - hand.position)) < 0.01
        self._frozen = 0 if moved or near else self._frozen + 1
        if self._frozen < 2:
            return goal
        way = self._frozen % 4
        if way < 2:  # first the way alone, a part of it
            part = hand.position + (goal.position - hand.position) * 0.4
            return goal._replace(position=part, rotation=hand.rotation)
        if way == 2:  # then the turn alone
            return goal._replace(position=hand.position)
        towards_robot = np.array([0.04, 0.0, 0.03])
        return goal._replace(position=hand.position + towards_robot, rotation=hand.rotation)

    def _swayed(self, hand: Hand, goal: Goal) -> Goal:
        """The goal, led astray by a slowly changing offset while it is still far away."""
        if self.jitter == 0.0:
            return goal
        kick = self._generator.normal(size=3) * 0.01 * self.jitter
        self._sway = 0.85 * self._sway + kick
        away = float(np.linalg.norm(goal.position - hand.position))
        if goal.phase not in ("go above", "carry") or away < 0.08:
            return goal
        share = min(1.0, (away - 0.08) / 0.1)
        return goal._replace(position=goal.position + share * self._sway * [1.0, 1.0, 0.3])
