"""Rule of picking: lift the object off everything."""

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.simpler.rules.base import Report, Rule

LIFTED = 0.01
LIFTED_HIGH = 0.02
STEPS_HIGH = 5
STEPS_GRASPED = 5


@dataclass
class GraspState:
    """What one control step ends with, all `(b,)`.

    grasped: both fingers press on the object from about opposite sides. touched: something other
    than the robot presses on it. rise: height of its frame above where it settled (m).
    """

    grasped: Tensor
    touched: Tensor
    rise: Tensor


class LiftObject(Rule):
    """Pick the object up.

    Lifted means that it was more than 1 cm up with nothing but the robot touching it, and has been
    in the grasp since. Success: lifted now, or lifted and 2 cm up in five steps of the episode.
    Strict: lifted, in the grasp and 2 cm up at the same step.
    """

    def __init__(self, batch: int = 1, device: torch.device | str = "cpu") -> None:
        super().__init__(batch, device)
        self.lifted = self._remembered(self._no())
        self.grasped_for = self._remembered(self._zeros())
        self.steps_high = self._remembered(self._zeros())
        self.ever_grasped = self._remembered(self._no())
        self.ever_held = self._remembered(self._no())

    def update(self, state: GraspState) -> Tensor:
        self.grasped_for[:] = torch.where(state.grasped, self.grasped_for + 1, 0)
        self.lifted &= state.grasped
        self.lifted |= ~state.touched & (state.rise > LIFTED)
        high = self.lifted & (state.rise > LIFTED_HIGH)
        held = self.grasped_for >= STEPS_GRASPED
        self.steps_high += high
        self.ever_grasped |= state.grasped
        self.ever_held |= held
        return self._judge(
            self.lifted | (self.steps_high >= STEPS_HIGH),
            high & state.grasped,
            is_grasped=state.grasped,
            consecutive_grasp=held,
            lifted_object=self.lifted.clone(),
            lifted_object_significantly=high,
        )

    @property
    def statistics(self) -> Report:
        return {
            "n_lift_significant": self.steps_high,
            "consec_grasp": self.ever_held,
            "grasped": self.ever_grasped,
        }
