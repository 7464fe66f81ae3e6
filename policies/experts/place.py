"""The scripted closed-loop expert that opens any drawer and puts any object into it.

Opening is the drawers' expert, balls are grasped and placed as in open_and_place. Everything else
(cans, bottles, sponges) lies across the cabinet: the fingers close across its narrow side from
above, as at the table, and the hand keeps that rotation down into the drawer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from envs.simpler.tasks.start import FIXED_POSES
from policies.experts.drawer import AnyDrawerExpert
from policies.experts.drawer_state import DrawerState
from policies.experts.from_above import GRASP_VARIATION, SQUARE, GraspFromAbove, item_of
from policies.experts.motion import Goal, Vector, shortened
from policies.experts.open_and_place import OPEN, OpenAndPlaceExpert
from policies.experts.tabletop import smaller

STAND = np.array([*FIXED_POSES["grasp"][:2], 0.0])
"""Where the robot stands at the table, for which the slanted grasps were found (m)."""
SLANT = float(np.deg2rad(38.5))
"""Between the hand and straight down (rad): further away the wrist meets its limits sooner."""
OUT = 0.107
"""Height (m) above the board's edge from which on the hand is out of a drawer."""
ROOM, MORE_ROOM = np.array([0.04, 0.12]), np.array([0.06, 0.20])
"""How far (m) along x and y an object may be from where it is let go: before it is lowered, and
then; a drawer is wide, and low down the arm drifts."""
LOWER = 0.055
"""How far (m) below the object the goal is at most while it is lowered."""
LOWERING = ("lower", "release")
DEEPER = np.array([-0.010, 0.0, -0.012])
"""Where from the place at the table an object is grasped (m), lower and further from the robot:
full cans slip forward out of a slanted hand that holds them by the finger tips."""
GENTLE = np.array([0.003, 0.0, 0.012])
"""How far (m) the hand goes up in a step while it lifts an object."""
SLOWLY = 0.025
"""How far (m) at most it is led on its way to the drawer."""
WAYS = 4
"""Steps in which an arm that stands still tries what is `smaller`; then the hand leans less."""
SLOW = 0.008
"""A hand that sinks less than this in a step (m) is taken to be held up."""


class PlaceState(DrawerState):
    """The robot, the drawer and the object, `apple` being the object's centre of mass."""

    def __init__(self, privileged: Mapping[str, Any]) -> None:
        super().__init__(privileged)
        source = privileged["objects"][privileged["source"]]
        self.item = item_of(source)
        self.apple = self.item.centre
        self.round = bool(max(source["size"]) < SQUARE * min(source["size"]))
        self.moved = np.array([*privileged["base_pose"][:2], 0.0]) - STAND


@dataclass
class PlaceExpert(AnyDrawerExpert):
    """Opens a drawer by pinching its board, puts the object into it and retreats.

    `advance_share`, `subtask_done` and `done` as in `OpenAndPlaceExpert`.
    """

    _seen: PlaceState = field(init=False, repr=False)
    variation: ClassVar[Mapping[str, Any]] = {
        **OpenAndPlaceExpert.variation,
        **GRASP_VARIATION,
    }
    _state = PlaceState

    def reset(self, instruction: str, seed: int) -> None:
        super().reset(instruction, seed)
        offset = self._varied["grasp"] + DEEPER
        self._from_above = GraspFromAbove(offset, self._varied["lean"], SLANT)
        self._held_up = 0

    def _goal(self, state: DrawerState) -> Goal:
        assert isinstance(state, PlaceState)
        self._seen = state
        slow = self.phase in LOWERING and state.hand[2] > self._last_hand[2] - SLOW
        self._held_up = self._held_up + 1 if slow else 0
        return super()._goal(state)

    def _pick(self, state: DrawerState) -> Goal:
        if self._seen.round:
            return super()._pick(state)
        in_front = state.hand[0] > state.cabinet[0] + 0.37
        if in_front and state.hand[2] < state.board[2] + 0.09:
            return self._let_go_of_board(state)
        if in_front and state.hand[2] < state.table + 0.04:
            up = np.array([state.hand[0] + 0.02, state.hand[1], state.table + 0.16])
            return Goal(up, state.rotation, OPEN, "rise")
        if self.phase == "go above" and self._frozen % WAYS == WAYS - 1:
            self._from_above.lean_less()
        goal = self._from_above.goal(state, self._seen.item, self._frozen, self._seen.moved)
        return smaller(goal, state, self._frozen)

    def _placing_rotation(self) -> Vector:
        if self._seen.round or self._from_above.rotation is None:
            return super()._placing_rotation()
        return self._from_above.rotation

    def _lowered(self, state: DrawerState, drop: Vector) -> Vector:
        # By steps: a goal far below would leave no share of a step for what drifts aside.
        return np.array([*drop[:2], max(drop[2], state.apple[2] - LOWER)])

    def _carry(self, state: DrawerState) -> Goal:
        goal = super()._carry(state)
        if self._seen.round or goal.phase not in ("lift", "carry"):
            return goal
        # A full can slips from a hand that pulls it up at once, or away.
        way = GENTLE if goal.phase == "lift" else shortened(goal.position - state.hand, SLOWLY)
        return goal._replace(position=state.hand + way)

    def _holds_apple(self, state: DrawerState) -> bool:
        if self._seen.round:
            return super()._holds_apple(state)
        return self._from_above.holds(state, self._seen.item, self._last_fingers)

    def _over_drop(self, off: Vector) -> bool:
        room = MORE_ROOM if self.phase in LOWERING else ROOM
        return bool((np.abs(off[:2]) < room).all())

    def _stuck(self, state: DrawerState, off: Vector) -> bool:
        """Whether the arm reaches no further down; then the object falls the rest."""
        low = state.apple[2] < state.table - 0.05
        return super()._stuck(state, off) or bool(low and self._held_up > 1)

    def _clear(self, state: DrawerState) -> float:
        return float(state.board[2]) + OUT
