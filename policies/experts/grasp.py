"""The scripted closed-loop expert of the picking tasks: grasp from above, lift, hold."""

import numpy as np

from policies.experts.from_above import SHUT
from policies.experts.motion import Goal
from policies.experts.tabletop import PickingExpert, TableState

LIFT = 0.10
HIGH_ENOUGH = 0.045


class GraspExpert(PickingExpert):
    """Picks the task's object; `done` once it is held well above the table."""

    def _goal(self, state: TableState) -> Goal:
        risen = self.risen(state.item)
        if not self.holds(state):
            return self.grasp(state)
        height = state.hand[2] + LIFT + self._varied["lift"] - risen
        phase = "hold" if risen > HIGH_ENOUGH else "lift"
        return Goal(np.array([*state.hand[:2], height]), state.rotation, SHUT, phase)
