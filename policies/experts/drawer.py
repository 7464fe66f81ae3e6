"""The scripted closed-loop expert that opens or closes any of the three drawers.

Opening is the first half of open_and_place: pinch the front board through the gap above it (the
same 10.7 cm above each drawer) and pull. Closing pushes the board with a shut hand. The hand comes
from in front of the cabinet, where nothing is in its way, whichever drawer it is.
"""

from dataclasses import dataclass, field

import numpy as np

from policies.contract import Observation
from policies.experts.drawer_state import DrawerState, hand_rotation
from policies.experts.from_above import OPEN, SHUT
from policies.experts.motion import Goal, Vector
from policies.experts.open_and_place import DRAWER_GOAL, OpenAndPlaceExpert

PITCH_CLOSE = np.deg2rad(45.0)
# Gripper point relative to the board's upper edge: before it, and where it pushes.
BEFORE_BOARD = np.array([0.075, 0.0, -0.06])
PUSH_HEIGHT = -0.06
# Far from the cabinet the arm reaches the lowest board only with a flatter hand (rad).
FLATTER, FAR = np.deg2rad(9.0), 0.78
# Where the hand passes by on its way down, so that it does not come from above an open drawer.
CLEAR = 0.07
SHUT_ENOUGH = 0.012
STALLED = 0.002
"""A drawer that moves less than this in a step (m) is taken to stand still."""


@dataclass
class AnyDrawerExpert(OpenAndPlaceExpert):
    """Opens whichever drawer it is, from further away as well; then goes on as open_and_place."""

    def reset(self, instruction: str, seed: int) -> None:
        super().reset(instruction, seed)
        self._frozen = 0

    def _goal(self, state: DrawerState) -> Goal:
        self._adapt_pitch(state)
        return super()._goal(state)

    def _adapt_pitch(self, state: DrawerState) -> None:
        """Choose this step's pitch by where the board is and whether the arm moves."""
        low = state.lowest and state.far - state.board[0] + state.drawer > FAR
        self._steeper = self._unstick(state) - (FLATTER if low else 0.0)

    def _pitch(self, pitch: float) -> float:
        return super()._pitch(pitch) + self._steeper

    def _pinches(self, state: DrawerState) -> bool:
        """Whether the fingers are closed around the board; a flat hand closes a little less."""
        stalled = abs(state.fingers - self._last_fingers) < 0.02
        high = state.hand_at_board[2] < 0.0 and abs(state.hand_at_board[0]) < 0.06
        flat = high and stalled and state.finger_target > 1.2 and 0.6 < state.fingers < 1.15
        return flat or super()._pinches(state)

    def _unstick(self, state: DrawerState) -> float:
        """Another pitch (rad) to try while the arm stands still for want of a joint solution."""
        moved = float(np.linalg.norm(state.hand - self._last_hand)) > 0.002
        waiting = self.phase in ("pinch", "let go", "rest")
        self._frozen = 0 if moved or waiting or self._idle else self._frozen + 1
        if self._frozen < 3:
            return 0.0
        size = 0.08 * (1 + (self._frozen - 3) // 4)
        return size if (self._frozen - 3) % 4 < 2 else -size


@dataclass
class DrawerExpert(AnyDrawerExpert):
    """Opens the drawer to 0.2 m, or pushes it shut, and is `done` when it has let go of it."""

    advance_share: float = field(default=0.0, init=False)

    def reset(self, instruction: str, seed: int) -> None:
        super().reset(instruction, seed)
        self._closing = instruction.startswith("close")
        self._last_drawer = np.inf
        self._still = 0
        self._finished = False

    def _goal(self, state: DrawerState) -> Goal:
        self._adapt_pitch(state)
        return self._close(state) if self._closing else self._pull(state)

    def _finish_step(self, state: DrawerState, observation: Observation) -> None:  # noqa: ARG002
        self.done = self.phase == "rest"
        moved = abs(state.drawer - self._last_drawer) > STALLED
        self._still = 0 if moved else self._still + 1
        self._last_drawer = state.drawer

    # ---- opening --------------------------------------------------------------------------

    def _pull(self, state: DrawerState) -> Goal:
        if state.drawer >= DRAWER_GOAL or self._finished:
            self._finished = True
            return self._let_go(state)
        return self._open(state)

    def _let_go(self, state: DrawerState) -> Goal:
        """Open the hand, then up and out of the drawer."""
        if state.fingers > 0.62 and state.hand_at_board[2] < 0.0:
            return state.stay(OPEN, "let go")
        if state.hand_at_board[2] < 0.015:
            up = state.hand + np.array([0.01, 0.0, 0.06])
            return Goal(up, state.rotation, OPEN, "retreat")
        return state.stay(OPEN, "rest")

    # ---- closing --------------------------------------------------------------------------

    def _close(self, state: DrawerState) -> Goal:
        rotation = hand_rotation(self._pitch(PITCH_CLOSE), sideways=False)
        at = state.hand_at_board
        shut = state.drawer < SHUT_ENOUGH or (state.drawer < 0.035 and self._still > 2)
        if shut or self._finished:
            self._finished = True
            if at[0] < 0.06:
                return Goal(state.hand + np.array([0.06, 0.0, 0.0]), rotation, SHUT, "retreat")
            return state.stay(SHUT, "rest")
        edge = state.board + np.array([0.0, self._varied["pinch_y"], 0.0])
        aside, high = abs(at[1] - self._varied["pinch_y"]), abs(at[2] - PUSH_HEIGHT)
        if aside < 0.05 and high < 0.035 and state.turn_to(rotation) < 0.3 and at[0] < 0.16:
            ahead = np.array([-0.06 * self._speed, 0.0, PUSH_HEIGHT])
            return Goal(edge + ahead + self._reach(at), rotation, SHUT, "push")
        if at[0] < 0.03 and at[2] < 0.06:
            # In, on or behind the board: come out first.
            out = state.hand + np.array([0.08, 0.0, 0.0])
            return Goal(out, state.rotation, SHUT, "come out")
        if at[2] > 0.10 and at[0] < 0.03:
            over = np.array([edge[0] + CLEAR, state.hand[1], state.hand[2] - 0.04])
            return Goal(over, rotation, SHUT, "go round")
        return Goal(edge + BEFORE_BOARD, rotation, SHUT, "go to drawer")

    @staticmethod
    def _reach(at: Vector) -> Vector:
        """Where the push leads from: the hand's own distance from the board along x."""
        return np.array([at[0], 0.0, 0.0])
