"""What the scripted experts at the table share: the state that they see, and how they pick."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from policies.experts.from_above import GRASP_VARIATION, GraspFromAbove, Item, item_of
from policies.experts.motion import Drift, Expert, Goal, RobotState


class TableState(RobotState):
    """The robot, the object to be moved, and the privileged objects by name."""

    def __init__(self, privileged: Mapping[str, Any]) -> None:
        super().__init__(privileged)
        self.privileged = privileged
        self.item = item_of(privileged["objects"][privileged["source"]])


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
