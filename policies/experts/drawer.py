"""The scripted closed-loop expert that opens or closes any of the three drawers.

Opening is the first half of open_and_place: pinch the front board through the gap above it (the
same 10.7 cm above each drawer) and pull. Closing pushes the board with a shut hand. The hand comes
from in front of the cabinet, where nothing is in its way, whichever drawer it is.
"""

import numpy as np

from policies.contract import Observation
from policies.experts.drawer_state import Scene, Vector, hand_rotation
from policies.experts.open_and_place import DRAWER_GOAL, OPEN, SHUT, Goal, OpenAndPlaceExpert

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


class DrawerExpert(OpenAndPlaceExpert):
    """Opens the drawer to 0.2 m, or pushes it shut, and is `done` when it has let go of it."""

    def __init__(
        self,
        max_translation: float = 0.09,
        max_rotation: float = 0.30,
        gain: float = 1.6,
        jitter: float = 1.0,
    ) -> None:
        """Set how the expert moves: as `OpenAndPlaceExpert`, without subtasks."""
        super().__init__(max_translation, max_rotation, gain, jitter, advance_share=0.0)

    def reset(self, instruction: str, seed: int) -> None:
        """Draw this episode's habits from `seed`."""
        super().reset(instruction, seed)
        self._closing = instruction.startswith("close")
        self._last_drawer = np.inf
        self._still = 0
        self._finished = False
        self._frozen = 0

    def act(self, observation: Observation) -> np.ndarray:
        """One action `(1, 7)` towards the goal of the present state."""
        scene = Scene(observation.privileged)
        distance = float(observation.privileged["base_pose"][0]) - scene.board[0] + scene.drawer
        low = observation.privileged["drawer"] == "bottom" and distance > FAR
        self._steeper = self._unstick(scene) - (FLATTER if low else 0.0)
        goal = self._swayed(scene, self._close(scene) if self._closing else self._pull(scene))
        self.phase = goal.phase
        self.done = goal.phase == "rest"
        moved = abs(scene.drawer - self._last_drawer) > STALLED
        self._still = 0 if moved else self._still + 1
        self._last_fingers, self._last_hand = scene.fingers, scene.hand
        self._last_drawer = scene.drawer
        return self._towards(scene, goal)[None].astype(np.float32)

    def _pitch(self, pitch: float) -> float:
        return super()._pitch(pitch) + self._steeper

    def _pinches(self, scene: Scene) -> bool:
        """Whether the fingers are closed around the board; a flat hand closes a little less."""
        stalled = abs(scene.fingers - self._last_fingers) < 0.02
        high = scene.hand_at_board[2] < 0.0 and abs(scene.hand_at_board[0]) < 0.06
        flat = high and stalled and scene.finger_target > 1.2 and 0.6 < scene.fingers < 1.15
        return flat or super()._pinches(scene)

    def _unstick(self, scene: Scene) -> float:
        """Another pitch (rad) to try while the arm stands still for want of a joint solution."""
        moved = float(np.linalg.norm(scene.hand - self._last_hand)) > 0.002
        waiting = self.phase in ("pinch", "let go", "rest")
        self._frozen = 0 if moved or waiting else self._frozen + 1
        if self._frozen < 3:
            return 0.0
        size = 0.08 * (1 + (self._frozen - 3) // 4)
        return size if (self._frozen - 3) % 4 < 2 else -size

    # ---- opening --------------------------------------------------------------------------

    def _pull(self, scene: Scene) -> Goal:
        if scene.drawer >= DRAWER_GOAL or self._finished:
            self._finished = True
            return self._let_go(scene)
        return self._open(scene)

    def _let_go(self, scene: Scene) -> Goal:
        """Open the hand, then up and out of the drawer."""
        if scene.fingers > 0.62 and scene.hand_at_board[2] < 0.0:
            return Goal(scene.hand, scene.rotation, OPEN, phase="let go")
        if scene.hand_at_board[2] < 0.015:
            up = scene.hand + np.array([0.01, 0.0, 0.06])
            return Goal(up, scene.rotation, OPEN, phase="retreat")
        return Goal(scene.hand, scene.rotation, OPEN, phase="rest")

    # ---- closing --------------------------------------------------------------------------

    def _close(self, scene: Scene) -> Goal:
        rotation = hand_rotation(self._pitch(PITCH_CLOSE), sideways=False)
        at = scene.hand_at_board
        shut = scene.drawer < SHUT_ENOUGH or (scene.drawer < 0.035 and self._still > 2)
        if shut or self._finished:
            self._finished = True
            if at[0] < 0.06:
                return Goal(
                    scene.hand + np.array([0.06, 0.0, 0.0]), rotation, SHUT, phase="retreat"
                )
            return Goal(scene.hand, scene.rotation, SHUT, phase="rest")
        edge = scene.board + np.array([0.0, self._habits.pinch_y, 0.0])
        aside, high = abs(at[1] - self._habits.pinch_y), abs(at[2] - PUSH_HEIGHT)
        if aside < 0.05 and high < 0.035 and scene.turn_to(rotation) < 0.3 and at[0] < 0.16:
            ahead = np.array([-0.06 * self._habits.speed, 0.0, PUSH_HEIGHT])
            return Goal(edge + ahead + self._reach(at), rotation, SHUT, phase="push")
        if at[0] < 0.03 and at[2] < 0.06:
            # In, on or behind the board: come out first.
            out = scene.hand + np.array([0.08, 0.0, 0.0])
            return Goal(out, scene.rotation, SHUT, phase="come out")
        if at[2] > 0.10 and at[0] < 0.03:
            over = np.array([edge[0] + CLEAR, scene.hand[1], scene.hand[2] - 0.04])
            return Goal(over, rotation, SHUT, phase="go round")
        return Goal(edge + BEFORE_BOARD, rotation, SHUT, phase="go to drawer")

    @staticmethod
    def _reach(at: Vector) -> Vector:
        """Where the push leads from: the hand's own distance from the board along x."""
        return np.array([at[0], 0.0, 0.0])
