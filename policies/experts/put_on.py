"""The scripted closed-loop expert of the WidowX's tasks: put one object onto another.

The next goal follows from the present state (hand, fingers, both objects), so the expert tries
again after a failure. Poses are planned in the world frame; each action moves the target pose a
part of the way towards one goal pose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from policies.contract import Observation
from policies.experts.motion import Drift, Expert, Goal, Vector, check_steps, share_of, turned
from policies.experts.put_on_state import EMPTY, LOOSE, STALLED, PutOnState, downward, nearest_turn
from policies.experts.target_pose import TargetPose

OPEN, SHUT = 1.0, -1.0
"""Gripper commands of SIMPLER's WidowX."""

TIP = 0.0156
"""How far the fingers reach beyond the gripper point (m)."""
TABLE = 0.87
READY, RETREAT = 0.05, 0.09
"""Above a grasp before it, and above the source after its release (m)."""
# More than the room of a release by so little (m) is not worth going on downwards.
TOUCHING = 0.004
# Room between finger tips and table.
TIP_ROOM = 0.003
# Fingers that were told to shut and are open for longer than so many steps are held by what their
# tips stand on; so much higher (m) they hang free.
JAMMED, FREE = 2, 0.005
# Within the former of these distances (m) aside of a grasp the hand comes all the way down, from
# the latter on it stays above. In between by degrees, here and over the place: a learner that
# cannot see a few millimetres learns the mean of a border's sides, and that of up and down is to
# stay.
APPROACH = 0.006, 0.018
# From the gripper point to the outside of an open finger, and to a finger's side.
OUTSIDE, SIDE = 0.040, 0.013
# Angle (rad) between sides that count as parallel.
SQUARE = 0.2
# The sink's basin between its walls: smallest and largest x and y.
BASIN = ((-0.198, 0.117), (-0.0625, 0.2905))


@dataclass(frozen=True)
class Handling:
    """How a pair of objects is handled (m).

    along: where the source is grasped, from its centre of mass along its longest axis. depth:
    gripper point above its centre. room: between both when it is let go. carry: the same on the
    way. aside: largest horizontal error of the place. spread: how far an episode moves the place on
    each axis. slack: gap between both that still counts. square: sides are made parallel. walls:
    where the open fingers must stay when they grasp.
    """

    along: float = 0.0
    depth: float = 0.002
    room: float = 0.003
    carry: float = 0.05
    aside: float = 0.012
    spread: float = 0.01
    slack: float = 0.02
    square: bool = False
    walls: tuple[tuple[float, float], tuple[float, float]] | None = None


HANDLINGS = {
    "spoon": Handling(along=0.012),
    "carrot": Handling(),
    # As forgiving as a stack of 3 cm cubes allows: nobody learns from pictures to wait for more.
    "cube": Handling(room=0.002, aside=0.006, spread=0.002, square=True),
    # The basket's walls stand 45 mm above the plane that counts as its bottom.
    "eggplant": Handling(
        depth=0.005, room=0.02, carry=0.085, aside=0.015, spread=0.012, slack=0.06, walls=BASIN
    ),
}


def handling_of(model: str) -> Handling:
    return next((handling for name, handling in HANDLINGS.items() if name in model), Handling())


@dataclass
class PutOnExpert(Expert[PutOnState]):
    """Grasps the source from above, puts it onto the target, lets go and retreats upwards.

    `done` is set after the retreat, or when the source fell from the table. The hand then rests for
    `rest_steps` control steps more, which shows a learner to leave alone what it has put there: an
    evaluation goes on to the step limit after the success.
    """

    rest_steps: int = 0
    max_translation: float = 0.035
    gain: float = 1.0

    variation: ClassVar[Mapping[str, Any]] = {
        "ready": (-0.01, 0.02),
        "yaw": (-0.08, 0.08),
        "tilt": (-0.05, 0.05),
        "along": (-0.004, 0.004),
        "carry": (0.0, 0.025),
        "place": ((-1.0, 1.0), (-1.0, 1.0)),
        "retreat": (-0.01, 0.03),
    }
    drift = Drift(("go to object", "carry"), kick=0.006, decay=0.8, near=0.05, ramp=0.05)
    _state = PutOnState

    def __post_init__(self) -> None:
        check_steps("rest_steps", self.rest_steps)
        super().__post_init__()

    def reset(self, instruction: str, seed: int) -> None:
        super().reset(instruction, seed)
        self._target: TargetPose | None = None
        self._jammed = self._rested = 0

    def _finish_step(self, state: PutOnState, observation: Observation) -> None:
        super()._finish_step(state, observation)
        if self.phase == "rest":
            self._rested += 1
            self.done = self._rested > self.rest_steps

    def _towards(self, state: PutOnState, goal: Goal) -> Vector:
        """Each action moves the target pose, which the arm follows."""
        assert self._target is not None
        arm = self._target.move(*self._step(self._target.position, self._target.rotation, goal))
        to_base = state.base_rotation.T
        return np.concatenate([to_base @ arm[:3], to_base @ arm[3:], [goal.fingers]])

    # ---- what to do -----------------------------------------------------------------------

    def _goal(self, state: PutOnState) -> Goal:
        if self._target is None:
            self._target = TargetPose(state.hand, state.rotation)
        self._target.observe(state.hand, state.rotation)
        shutting = state.told_to_shut and state.fingers > LOOSE
        self._jammed = self._jammed + 1 if shutting else 0
        handling = handling_of(state.model)
        if state.lost():
            return Goal(state.hand, state.rotation, OPEN, "lost")
        if state.holds(self._last_fingers):
            return self._carry(state, handling)
        # Shut fingers that do not hold it lift what it lies on, if they grasp once more.
        slack = handling.room + TOUCHING if state.told_to_shut else handling.slack
        if state.on_target(slack):
            return self._retreat(state)
        return self._pick(state, handling)

    def _pick(self, state: PutOnState, handling: Handling) -> Goal:
        rotation = self._grasp_rotation(state)
        grasp = state.source + (handling.along + self._varied["along"]) * state.long_axis
        grasp[2] = max(state.source[2] + handling.depth, TABLE + TIP + TIP_ROOM)
        if handling.walls is not None:
            room = OUTSIDE * np.abs(rotation[:2, 1]) + SIDE * np.abs(rotation[:2, 2])
            grasp[:2] = np.clip(grasp[:2], handling.walls[0] + room, handling.walls[1] - room)
        off = state.hand - grasp
        aside = float(np.linalg.norm(off[:2]))
        tilt = state.turn_to(rotation)
        if state.told_to_shut and state.fingers > EMPTY and aside < 0.02 and abs(off[2]) < 0.02:
            if self._jammed > JAMMED:
                up = state.hand + np.array([0.0, 0.0, FREE])
                return Goal(up, state.rotation, SHUT, "free fingers")
            return self._still(SHUT, "grasp")
        there = aside < 0.007 and abs(off[2]) < 0.005 and tilt < 0.12 and state.fingers > LOOSE
        # Something holds the hand up, but the source is already between the fingers.
        held_up = aside < 0.012 and abs(off[2]) < 0.018 and self._stands(state)
        if there or held_up:
            return self._still(SHUT, "grasp")
        if state.told_to_shut and aside < 0.03:
            return self._still(OPEN, "grasp again")
        high = READY + self._varied["ready"]
        if tilt < 0.2 and off[2] > -0.01:
            high *= share_of(aside, *APPROACH)
        height = grasp[2] + high
        if high < READY / 2:
            return Goal(np.array([*grasp[:2], height]), rotation, OPEN, "approach")
        low = aside > 0.03 and state.hand[2] < height - 0.02
        ready = np.array([*(state.hand if low else grasp)[:2], height])
        return Goal(ready, rotation, OPEN, "rise" if low else "go to object")

    def _carry(self, state: PutOnState, handling: Handling) -> Goal:
        hold = state.hand - state.source
        error = state.yaw_error() if handling.square else 0.0
        closing = turned(np.array([0.0, 0.0, error])) @ state.rotation[:, 1]
        rotation = downward(closing, self._varied["tilt"])
        place = state.target.copy()
        place[:2] += handling.spread * self._varied["place"]
        off = state.source[:2] - place[:2]
        aside = float(np.linalg.norm(off))
        level = state.source[2] - state.gap
        high = level + handling.carry + self._varied["carry"]
        off_place = max(
            share_of(aside, handling.aside, 2 * handling.aside),
            share_of(abs(error), SQUARE, 2 * SQUARE),
        )
        if off_place == 0.0:
            touches = self._stands(state) and state.gap < handling.room + TOUCHING
            if state.gap < handling.room + 0.0015 or touches:
                return self._still(OPEN, "release")
        if off_place < 1.0 or aside < 0.025:
            # Near enough to correct where it is, and the nearer the lower.
            lowest = level + handling.room
            height = min(high, max(float(state.source[2]), lowest + 0.01))
            at = np.array([*place[:2], lowest + off_place * (height - lowest)])
            return Goal(at + hold, rotation, SHUT, "lower" if off_place < 0.5 else "align")
        if state.source[2] < high - 0.02:
            return Goal(np.array([*state.source[:2], high]) + hold, rotation, SHUT, "lift")
        return Goal(np.array([*place[:2], high]) + hold, rotation, SHUT, "carry")

    def _retreat(self, state: PutOnState) -> Goal:
        height = state.source[2] + RETREAT + self._varied["retreat"]
        if state.hand[2] < height - 0.02:
            opening = state.told_to_shut or state.fingers - self._last_fingers > STALLED
            if state.fingers < LOOSE and opening:
                return self._still(OPEN, "open hand")
            up = np.array([*state.hand[:2], height])
            return Goal(up, state.rotation, OPEN, "retreat")
        phase = "rest" if state.source_speed < 0.02 else "wait"
        return self._still(OPEN, phase)

    # ---- how to hold and move ---------------------------------------------------------------

    def _grasp_rotation(self, state: PutOnState) -> Vector:
        """The hand downwards, closing across the source, by the smaller turn from now."""
        axis = state.long_axis
        across = np.arctan2(axis[0], -axis[1])
        now = float(np.arctan2(state.rotation[1, 1], state.rotation[0, 1]))
        cube = bool(np.ptp(state.source_size) < 0.002)
        turn = nearest_turn(float(across) - now, np.pi / 2 if cube else np.pi)
        yaw = now + turn + self._varied["yaw"]
        return downward(np.array([np.cos(yaw), np.sin(yaw), 0.0]), self._varied["tilt"])

    def _stands(self, state: PutOnState) -> bool:
        """Whether the hand hardly moved in the last control step."""
        return float(np.linalg.norm(state.hand - self._last_hand)) < 0.0015

    def _still(self, gripper: float, phase: str) -> Goal:
        assert self._target is not None
        return Goal(self._target.position, self._target.rotation, gripper, phase)
