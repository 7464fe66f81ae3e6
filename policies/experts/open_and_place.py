"""The scripted closed-loop expert of open_and_place: reads the true state, acts like any policy.

What to do next is decided from what is there (drawer, apple, hand, fingers), hardly from what was
done before: the expert recovers from its own failures, and it can label states that another policy
got into. Poses are planned in the world frame, whose x points out of the cabinet, and each action
leads a part of the way towards one goal pose.

Numbers: the cabinet's drawer front is a board 1.5 cm thick whose upper edge stands 10.7 cm below
the table top's underside; the hand reaches through that gap, one finger behind the board, one in
front. Handles have no collision shape.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.contract import Observation
from policies.experts.drawer_state import Scene, Vector, hand_rotation, rotation_between, shortened

GRIPPER_STROKE = 1.31
"""Radians of finger target for an action of 1."""

# Below the horizontal (rad). Flatter, the forearm comes to lie on the open drawer's board; from 75
# degrees on the arm does not reach that far.
PITCH_OPEN = np.deg2rad(48.0)
PITCH_PICK = np.deg2rad(51.5)

# Gripper point relative to the board's edge when it is pinched, and above it before that.
PINCH = np.array([-0.014, 0.0, -0.055])
ABOVE = np.array([-0.014, 0.0, -0.012])
BEFORE = np.array([0.135, 0.0, -0.006])
# Where the apple is let go, relative to the board's edge in x and y and to the panel in z.
DROP = np.array([-0.125, 0.0, 0.06])

DRAWER_GOAL = 0.22
DRAWER_ENOUGH = 0.15

# Finger targets (rad). For OPEN and SHUT the action is a full stroke, repeated as long as it is
# meant: a delta on the target is only exact while the fingers stand still.
OPEN = 0.0
SHUT = 1.31
HALF_OPEN = 0.60
# Fingers this far shut hold nothing.
EMPTY = 1.15

PAST_CENTRE = 0.02
"""How far along the hand the gripper point lies past the apple's centre when it is grasped (m)."""


class Goal(NamedTuple):
    """A gripper pose in the world, the finger target (rad), and what it is for."""

    position: Vector
    rotation: Vector
    fingers: float
    phase: str


@dataclass(frozen=True)
class Habits:
    """One episode's random choices, all zero-mean around what works."""

    pinch_y: float
    pitch: float
    carry_height: float
    drop: Vector
    speed: float


class OpenAndPlaceExpert:
    """Opens the top drawer by pinching its board, then puts the apple into it and retreats.

    `done` is set after the retreat, once the second subtask is on (SIMPLER counts success there).
    `subtask_done` says that the drawer is open, so the rollout advances the subtask. It does so in
    a share of the episodes only: demonstrations then show the same states under both instructions,
    as a policy meets them that never advances by itself and is forced on after 100 steps.
    `phase` names what the last action was for.
    """

    name = "oracle"

    def __init__(
        self,
        max_translation: float = 0.09,
        max_rotation: float = 0.30,
        gain: float = 1.6,
        jitter: float = 1.0,
        advance_share: float = 0.5,
    ) -> None:
        """Set how the expert moves.

        Args: `max_translation` (m) and `max_rotation` (rad) bound one action; `gain` multiplies the
            remaining error, as only a third of a commanded step is realised within it; `jitter`
            scales the random waypoints of an episode (0: the action follows from the state alone);
            `advance_share` of the episodes advance the subtask by themselves.
        """
        self.max_translation = max_translation
        self.max_rotation = max_rotation
        self.gain = gain
        self.jitter = jitter
        self.advance_share = advance_share
        self.reset("", 0)

    def reset(self, instruction: str, seed: int) -> None:  # noqa: ARG002
        """Draw this episode's habits from `seed`."""
        self.done = False
        self.subtask_done = False
        self.phase = ""
        self._last_fingers = 0.0
        self._last_hand = np.full(3, np.inf)
        self._generator = np.random.default_rng(seed)
        draw = self._generator.uniform
        scale = self.jitter
        self._habits = Habits(
            pinch_y=scale * draw(-0.02, 0.02),
            pitch=scale * draw(-0.03, 0.03),
            carry_height=scale * draw(-0.01, 0.02),
            drop=scale * np.array([draw(-0.012, 0.012), draw(-0.04, 0.04), draw(0.0, 0.015)]),
            speed=1.0 + scale * draw(-0.15, 0.15),
        )
        self._sway = np.zeros(3)
        self._advances = self._generator.random() < self.advance_share

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """One action `(1, 7)` towards the goal of the present state."""
        scene = Scene(observation.privileged)
        goal = self._swayed(scene, self._goal(scene))
        self.phase = goal.phase
        opened = scene.drawer >= DRAWER_ENOUGH and goal.phase != "pull"
        self.subtask_done = self._advances and opened
        if goal.phase in ("rest", "lost"):
            self.done = goal.phase == "lost" or observation.instruction.startswith("place")
        self._last_fingers, self._last_hand = scene.fingers, scene.hand
        return self._towards(scene, goal)[None].astype(np.float32)

    # ---- what to do -----------------------------------------------------------------------

    def _goal(self, scene: Scene) -> Goal:
        holding = self._holds_apple(scene)
        if scene.apple_inside() and not holding:
            return self._retreat(scene)
        if scene.apple_lost():
            return Goal(scene.hand, scene.rotation, scene.finger_target, phase="lost")
        if holding:
            return self._carry(scene)
        if scene.drawer < DRAWER_ENOUGH or (scene.drawer < DRAWER_GOAL and self._pinches(scene)):
            return self._open(scene)
        return self._pick(scene)

    def _pitch(self, pitch: float) -> float:
        """A pitch (rad) with this episode's habit."""
        return pitch + self._habits.pitch

    def _open(self, scene: Scene) -> Goal:
        rotation = hand_rotation(self._pitch(PITCH_OPEN), sideways=False)
        edge = scene.board + np.array([0.0, self._habits.pinch_y, 0.0])
        at = scene.hand - edge
        if self._pinches(scene):
            ahead = edge + PINCH + [0.05 * self._habits.speed, 0.0, 0.0]
            return Goal(np.array([ahead[0], *scene.hand[1:]]), rotation, SHUT, phase="pull")
        off = at - PINCH
        tilt = scene.turn_to(rotation)
        aligned = tilt < 0.2 and abs(at[1]) < 0.08
        if aligned and abs(off[0]) < 0.016 and abs(off[2]) < 0.016:
            closing = scene.finger_target > 1.0 and scene.fingers < EMPTY
            if closing or 0.45 < scene.fingers < 0.75:
                return Goal(edge + PINCH, rotation, SHUT, phase="pinch")
            return Goal(edge + ABOVE, rotation, HALF_OPEN, phase="pinch again")
        astride = abs(at[1]) < 0.08 and -0.05 < at[0] < 0.02 and -0.09 < at[2] < 0.06
        if astride and tilt < 0.5:
            if aligned and abs(off[0]) < 0.022:
                return Goal(edge + PINCH, rotation, HALF_OPEN, phase="reach down")
            return Goal(edge + ABOVE, rotation, HALF_OPEN, phase="straighten")
        before = abs(at[1]) < 0.08 and -0.03 < at[0] < 0.20 and abs(at[2] - ABOVE[2]) < 0.04
        if before and tilt < 0.3:
            return Goal(edge + ABOVE, rotation, HALF_OPEN, phase="reach in")
        if at[0] < 0.06 and at[2] < 0.10:
            # Somewhere in or on the cabinet: come out first.
            out = scene.hand + np.array([0.05, 0.0, 0.03])
            return Goal(out, scene.rotation, HALF_OPEN, phase="come out")
        return Goal(edge + BEFORE, rotation, HALF_OPEN, phase="go to drawer")

    def _pick(self, scene: Scene) -> Goal:
        rotation = hand_rotation(PITCH_PICK + self._habits.pitch, sideways=True)
        along = rotation[:, 2]
        grasp = scene.apple + PAST_CENTRE * along
        off = scene.hand - grasp
        behind = float(off @ along)
        aside = float(np.linalg.norm(off - behind * along))
        aligned = scene.turn_to(rotation) < 0.25
        if scene.hand[2] < scene.board[2] + 0.09 and scene.hand[0] > scene.cabinet[0] + 0.25:
            # At the board after pulling: let go, then straight up.
            free = scene.fingers < 0.62 or scene.hand_at_board[2] > 0.0
            up = scene.hand + (self._way_up(scene) if free else 0.0)
            return Goal(up, scene.rotation, OPEN, phase="let go of board")
        if aligned and aside < 0.015 and abs(behind) < 0.015:
            closing = scene.finger_target > 0.5 and scene.fingers < EMPTY
            if closing or scene.fingers < 0.3:
                return Goal(grasp, rotation, SHUT, phase="grasp")
            return Goal(grasp, rotation, OPEN, phase="grasp again")
        if aligned and aside < 0.03 and -0.16 < behind < 0.03:
            return Goal(grasp, rotation, OPEN, phase="approach")
        ready = grasp - 0.10 * along
        if scene.hand[2] < scene.table + 0.04 and aside > 0.03:
            return Goal(
                np.array([scene.hand[0] + 0.02, scene.hand[1], ready[2]]),
                rotation,
                OPEN,
                phase="rise",
            )
        return Goal(ready, rotation, OPEN, phase="go to apple")

    def _carry(self, scene: Scene) -> Goal:
        rotation = hand_rotation(PITCH_PICK + self._habits.pitch, sideways=True)
        hold = scene.hand - scene.apple
        drop = np.array([*scene.board[:2], scene.floor[2]]) + DROP + self._habits.drop
        high = scene.table + 0.075 + self._habits.carry_height
        off = scene.apple - drop
        over = abs(off[0]) < 0.03 and abs(off[1]) < 0.04
        # The arm may come to lie on the board; then the apple falls the last centimetres.
        stuck = off[2] < 0.08 and scene.hand[2] > self._last_hand[2] - 0.003
        if over and (off[2] < 0.015 or stuck):
            return Goal(scene.hand, rotation, OPEN, phase="release")
        if over:
            return Goal(drop + hold, rotation, SHUT, phase="lower")
        if scene.apple[2] < high - 0.02 and scene.apple[0] < scene.cabinet[0] + 0.37:
            up = np.array([scene.apple[0] + 0.01, scene.apple[1], high + 0.02])
            return Goal(up + hold, rotation, SHUT, phase="lift")
        return Goal(np.array([drop[0], drop[1], high]) + hold, rotation, SHUT, phase="carry")

    def _retreat(self, scene: Scene) -> Goal:
        rotation = hand_rotation(PITCH_PICK + self._habits.pitch, sideways=True)
        if scene.hand[2] < scene.table - 0.02:
            free = scene.fingers < 0.35
            up = scene.hand + (self._way_up(scene) if free else 0.0)
            return Goal(up, rotation, OPEN, phase="retreat" if free else "open hand")
        phase = "rest" if scene.apple_speed < 0.02 else "wait"
        return Goal(scene.hand, scene.rotation, OPEN, phase=phase)

    # ---- what is the case -----------------------------------------------------------------

    def _pinches(self, scene: Scene) -> bool:
        """Whether the fingers are closed around the board (they stall at about 0.83 rad)."""
        at = scene.hand_at_board
        near = abs(at[0] - PINCH[0]) < 0.04 and abs(at[2] - PINCH[2]) < 0.04
        return bool(near and scene.finger_target > 1.2 and 0.72 < scene.fingers < 1.15)

    def _holds_apple(self, scene: Scene) -> bool:
        """Whether the fingers are closed around the apple and have come to a stop."""
        centre = scene.hand - PAST_CENTRE * scene.rotation[:, 2]
        near = float(np.linalg.norm(centre - scene.apple)) < 0.035
        stalled = abs(scene.fingers - self._last_fingers) < 0.03
        return bool(near and scene.finger_target > 1.2 and 0.45 < scene.fingers < 1.1 and stalled)

    @staticmethod
    def _way_up(scene: Scene) -> Vector:
        """Step (3,) out of the drawer: up, and away from the table above it."""
        under_table = scene.hand[0] < scene.cabinet[0] + 0.36
        return np.array([0.06, 0.0, 0.03] if under_table else [0.01, 0.0, 0.08])

    # ---- the action -----------------------------------------------------------------------

    def _swayed(self, scene: Scene, goal: Goal) -> Goal:
        """The goal, led astray by a slowly changing offset while it is still far away."""
        if self.jitter == 0.0:
            return goal
        kick = self._generator.normal(size=3) * 0.012 * self.jitter
        self._sway = 0.85 * self._sway + kick
        away = float(np.linalg.norm(goal.position - scene.hand))
        if goal.phase not in ("go to drawer", "go to apple", "carry") or away < 0.08:
            return goal
        return goal._replace(position=goal.position + min(1.0, (away - 0.08) / 0.1) * self._sway)

    def _towards(self, scene: Scene, goal: Goal) -> Vector:
        reach = self.max_translation * self._habits.speed
        step = shortened(self.gain * (goal.position - scene.hand), reach)
        rotation = rotation_between(scene.rotation, goal.rotation)
        turn = shortened(self.gain * rotation, self.max_rotation)
        to_base = scene.base_rotation.T
        return np.concatenate([to_base @ step, to_base @ turn, [self._fingers(scene, goal)]])

    @staticmethod
    def _fingers(scene: Scene, goal: Goal) -> float:
        if goal.fingers >= SHUT:
            return 1.0
        if goal.fingers <= OPEN:
            return -1.0
        missing = goal.fingers - scene.finger_target
        return float(np.clip(missing / GRIPPER_STROKE, -1.0, 1.0)) if abs(missing) > 0.03 else 0.0
