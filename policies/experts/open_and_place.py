"""The scripted closed-loop expert of open_and_place: reads the true state, acts like any policy.

The next goal follows from the present state (drawer, apple, hand, fingers), hardly from what was
done before: the expert recovers from its own failures, and it can label states that another policy
got into. Poses are planned in the world frame, whose x points out of the cabinet, and each action
leads a part of the way towards one goal pose.

Numbers: the cabinet's drawer front is a board 1.5 cm thick whose upper edge stands 10.7 cm below
the table top's underside; the hand reaches through that gap, one finger behind the board, one in
front. Handles have no collision shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from policies.contract import Observation
from policies.experts.drawer_state import DrawerState, hand_rotation
from policies.experts.from_above import EMPTY, OPEN, SHUT
from policies.experts.motion import Drift, Expert, Goal, Vector, share_of

HALF_OPEN = 0.60
"""Finger target (rad) of a hand that reaches over the board."""

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

PAST_CENTRE = 0.02
"""How far along the hand the gripper point lies past the apple's centre when it is grasped (m)."""


@dataclass
class OpenAndPlaceExpert(Expert[DrawerState]):
    """Opens the top drawer by pinching its board, then puts the apple into it and retreats.

    `done` is set after the retreat, once the second subtask is on (SIMPLER counts success there).
    `subtask_done` says that the drawer is open, so the rollout advances the subtask. It does so in
    a share of the episodes only: demonstrations then show the same states under both instructions,
    as a policy meets them that never advances by itself and is forced on after 100 steps.
    `advance_share`: share of the episodes that advance the subtask by themselves.
    """

    advance_share: float = 0.5

    variation: ClassVar[Mapping[str, Any]] = {
        "pinch_y": (-0.02, 0.02),
        "pitch": (-0.03, 0.03),
        "carry_height": (-0.01, 0.02),
        "drop": ((-0.012, 0.012), (-0.04, 0.04), (0.0, 0.015)),
    }
    drift = Drift(("go to drawer", "go to apple", "carry"), kick=0.012)
    _state = DrawerState

    def reset(self, instruction: str, seed: int) -> None:
        super().reset(instruction, seed)
        self.subtask_done = False
        self._advances = self._generator.random() < self.advance_share

    def _finish_step(self, state: DrawerState, observation: Observation) -> None:
        opened = state.drawer >= DRAWER_ENOUGH and self.phase != "pull"
        self.subtask_done = self._advances and opened
        placing = observation.instruction.startswith("place")
        self.done = self.phase == "lost" or (self.phase == "rest" and placing)

    # ---- what to do -----------------------------------------------------------------------

    def _goal(self, state: DrawerState) -> Goal:
        holding = self._holds_apple(state)
        if state.apple_inside() and not holding:
            return self._retreat(state)
        if state.apple_lost():
            return state.stay(state.command_to(state.finger_target), "lost")
        if holding:
            return self._carry(state)
        if state.drawer < DRAWER_ENOUGH or (state.drawer < DRAWER_GOAL and self._pinches(state)):
            return self._open(state)
        return self._pick(state)

    def _pitch(self, pitch: float) -> float:
        """A pitch (rad) with this episode's variation."""
        return pitch + self._varied["pitch"]

    def _open(self, state: DrawerState) -> Goal:
        rotation = hand_rotation(self._pitch(PITCH_OPEN), sideways=False)
        half_open = state.command_to(HALF_OPEN)
        edge = state.board + np.array([0.0, self._varied["pinch_y"], 0.0])
        at = state.hand - edge
        if self._pinches(state):
            ahead = edge + PINCH + [0.05 * self._speed, 0.0, 0.0]
            return Goal(np.array([ahead[0], *state.hand[1:]]), rotation, SHUT, "pull")
        off = at - PINCH
        tilt = state.turn_to(rotation)
        aligned = tilt < 0.2 and abs(at[1]) < 0.08
        if aligned and abs(off[0]) < 0.016 and abs(off[2]) < 0.016:
            closing = state.finger_target > 1.0 and state.fingers < EMPTY
            if closing or 0.45 < state.fingers < 0.75:
                return Goal(edge + PINCH, rotation, SHUT, "pinch")
            return Goal(edge + ABOVE, rotation, half_open, "pinch again")
        astride = abs(at[1]) < 0.08 and -0.05 < at[0] < 0.02 and -0.09 < at[2] < 0.06
        if astride and tilt < 0.5:
            if aligned and abs(off[0]) < 0.022:
                return Goal(edge + PINCH, rotation, half_open, "reach down")
            return Goal(edge + ABOVE, rotation, half_open, "straighten")
        before = abs(at[1]) < 0.08 and -0.03 < at[0] < 0.20 and abs(at[2] - ABOVE[2]) < 0.04
        if before and tilt < 0.3:
            return Goal(edge + ABOVE, rotation, half_open, "reach in")
        if at[0] < 0.06 and at[2] < 0.10:
            # Somewhere in or on the cabinet: come out first.
            out = state.hand + np.array([0.05, 0.0, 0.03])
            return Goal(out, state.rotation, half_open, "come out")
        return Goal(edge + BEFORE, rotation, half_open, "go to drawer")

    def _pick(self, state: DrawerState) -> Goal:
        rotation = hand_rotation(self._pitch(PITCH_PICK), sideways=True)
        along = rotation[:, 2]
        grasp = state.apple + PAST_CENTRE * along
        off = state.hand - grasp
        behind = float(off @ along)
        aside = float(np.linalg.norm(off - behind * along))
        turn = state.turn_to(rotation)
        if state.hand[2] < state.board[2] + 0.09 and state.hand[0] > state.cabinet[0] + 0.25:
            return self._let_go_of_board(state)
        if turn < 0.25 and aside < 0.015 and abs(behind) < 0.015:
            closing = state.finger_target > 0.5 and state.fingers < EMPTY
            if closing or state.fingers < 0.3:
                return Goal(grasp, rotation, SHUT, "grasp")
            return Goal(grasp, rotation, OPEN, "grasp again")
        # By degrees, as in `policies.experts.from_above`.
        back = max(
            share_of(aside, 0.015, 0.035),
            share_of(turn, 0.25, 0.4),
            share_of(-behind, 0.11, 0.16),
            share_of(behind, 0.02, 0.04),
        )
        place = grasp - 0.10 * back * along
        low = share_of(state.table + 0.055 - state.hand[2], 0.0, 0.03)
        rise = low * share_of(aside, 0.025, 0.045)
        up = np.array([state.hand[0] + 0.02, state.hand[1], grasp[2] - 0.10 * along[2]])
        ahead = "approach" if back < 0.5 else "go to apple"
        return Goal(place + rise * (up - place), rotation, OPEN, "rise" if rise > 0.5 else ahead)

    def _let_go_of_board(self, state: DrawerState) -> Goal:
        """At the board after pulling: let go, then straight up."""
        free = state.fingers < 0.62 or state.hand_at_board[2] > 0.0
        up = state.hand + (self._way_up(state) if free else 0.0)
        return Goal(up, state.rotation, OPEN, "let go of board")

    def _carry(self, state: DrawerState) -> Goal:
        rotation = self._placing_rotation()
        hold = state.hand - state.apple
        drop = np.array([*state.board[:2], state.floor[2]]) + DROP + self._varied["drop"]
        high = state.table + 0.075 + self._varied["carry_height"]
        off = state.apple - drop
        over = self._over_drop(off)
        if over and (off[2] < 0.015 or self._stuck(state, off)):
            return Goal(state.hand, rotation, OPEN, "release")
        if over:
            return Goal(self._lowered(state, drop) + hold, rotation, SHUT, "lower")
        if state.apple[2] < high - 0.02 and state.apple[0] < state.cabinet[0] + 0.37:
            up = np.array([state.apple[0] + 0.01, state.apple[1], high + 0.02])
            return Goal(up + hold, rotation, SHUT, "lift")
        return Goal(np.array([drop[0], drop[1], high]) + hold, rotation, SHUT, "carry")

    def _lowered(self, state: DrawerState, drop: Vector) -> Vector:  # noqa: ARG002
        """Where the apple goes next (3,) from above `drop` (3,)."""
        return drop

    def _placing_rotation(self) -> Vector:
        """How the hand is turned (3, 3) from the lift on."""
        return hand_rotation(self._pitch(PITCH_PICK), sideways=True)

    def _retreat(self, state: DrawerState) -> Goal:
        rotation = self._placing_rotation()
        if state.hand[2] < self._clear(state):
            free = state.fingers < 0.35
            up = state.hand + (self._way_up(state) if free else 0.0)
            return Goal(up, rotation, OPEN, "retreat" if free else "open hand")
        phase = "rest" if state.apple_speed < 0.02 else "wait"
        return state.stay(OPEN, phase)

    # ---- conditions -----------------------------------------------------------------------

    def _over_drop(self, off: Vector) -> bool:
        """Whether the apple, `off` (3,) from where it is let go, can be lowered from there."""
        return bool(abs(off[0]) < 0.03 and abs(off[1]) < 0.04)

    def _stuck(self, state: DrawerState, off: Vector) -> bool:
        """Whether the arm came to lie on the board; then the apple falls the last centimetres."""
        return bool(off[2] < 0.08 and state.hand[2] > self._last_hand[2] - 0.003)

    def _clear(self, state: DrawerState) -> float:
        """Height (m) from which on the hand is out of the drawer."""
        return state.table - 0.02

    def _pinches(self, state: DrawerState) -> bool:
        """Whether the fingers are closed around the board (they stall at about 0.83 rad)."""
        at = state.hand_at_board
        near = abs(at[0] - PINCH[0]) < 0.04 and abs(at[2] - PINCH[2]) < 0.04
        return bool(near and state.finger_target > 1.2 and 0.72 < state.fingers < 1.15)

    def _holds_apple(self, state: DrawerState) -> bool:
        """Whether the fingers are closed around the apple and have come to a stop."""
        centre = state.hand - PAST_CENTRE * state.rotation[:, 2]
        near = float(np.linalg.norm(centre - state.apple)) < 0.035
        stalled = abs(state.fingers - self._last_fingers) < 0.03
        return bool(near and state.finger_target > 1.2 and 0.45 < state.fingers < 1.1 and stalled)

    @staticmethod
    def _way_up(state: DrawerState) -> Vector:
        """Step (3,) out of the drawer: up, and away from the table above it."""
        under_table = state.hand[0] < state.cabinet[0] + 0.36
        return np.array([0.06, 0.0, 0.03] if under_table else [0.01, 0.0, 0.08])
