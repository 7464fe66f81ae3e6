"""The scripted closed-loop expert of the picking tasks: grasp from above, lift, hold."""

import numpy as np
from numpy.typing import NDArray

from policies.contract import Observation
from policies.experts.tabletop import SHUT, Goal, Hand, Item, PickingExpert, item_of

LIFT = 0.10
HIGH_ENOUGH = 0.045


class GraspExpert(PickingExpert):
    """Picks the task's object; `done` once it is held well above the table."""

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """One action `(1, 7)` towards the goal of the present state."""
        privileged = observation.privileged
        hand = Hand(privileged)
        item = item_of(privileged["objects"][privileged["source"]])
        if self._start_bottom is None:
            self._start_bottom = item.bottom
        goal = self._lift(hand, item) if self.holds(hand, item) else self.grasp(hand, item)
        self.done = goal.phase == "hold"
        return self.action(hand, goal)

    def _lift(self, hand: Hand, item: Item) -> Goal:
        assert self._start_bottom is not None
        risen = item.bottom - self._start_bottom
        height = hand.position[2] + LIFT + self._habits.lift - risen
        phase = "hold" if risen > HIGH_ENOUGH else "lift"
        return Goal(np.array([*hand.position[:2], height]), hand.rotation, SHUT, phase=phase)
