"""The scripted closed-loop expert of the picking tasks: grasp from above, lift, hold."""

from dataclasses import dataclass

import numpy as np

from envs.episode import Observation
from policies.experts.from_above import SHUT
from policies.experts.motion import Goal, check_steps
from policies.experts.tabletop import PickingExpert, TableState

LIFT = 0.10
HIGH_ENOUGH = 0.045


@dataclass
class GraspExpert(PickingExpert):
    """Picks the task's object; `done` once it is held well above the table.

    It is then held for `hold_steps` control steps more, which shows a learner how to keep it: an
    evaluation goes on to the step limit after the success.
    """

    hold_steps: int = 0

    def __post_init__(self) -> None:
        check_steps("hold_steps", self.hold_steps)
        super().__post_init__()

    def reset(self, instruction: str, seed: int) -> None:
        super().reset(instruction, seed)
        self._held = 0

    def _goal(self, state: TableState) -> Goal:
        risen = self.risen(state.item)
        if not self.holds(state):
            return self.grasp(state)
        height = state.hand[2] + LIFT + self._varied["lift"] - risen
        phase = "hold" if risen > HIGH_ENOUGH else "lift"
        return Goal(np.array([*state.hand[:2], height]), state.rotation, SHUT, phase)

    def _finish_step(self, state: TableState, observation: Observation) -> None:
        super()._finish_step(state, observation)
        if self.phase == "hold":
            self._held += 1
            self.done = self._held > self.hold_steps
