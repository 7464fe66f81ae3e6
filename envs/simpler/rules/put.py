"""Rule of putting one object onto another (WidowX)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.simpler.rules.base import REST_SPEED, Report, Rule
from envs.simpler.rules.near import moved
from envs.simpler.tasks.registry import TaskSpec

SIDE_SLACK = 0.003
TABLE_SLACK, BASKET_SLACK = 0.02, 0.06
STEPS_GRASPED = 5
# Tasks in which the object may touch other things than its target.
LENIENT = ("spoon_on_towel", "eggplant_in_basket")


@dataclass
class PutState:
    """What one control step ends with; source first, target second.

    frames: frames' positions `(b, 2, 3)`. centres: centres of mass `(b, 2, 3)`. settled: positions
    after settling `(b, 2, 3)`. half: half extents `(b, 2, 3)` in the world at the start, all m.
    grasped, touched, released `(b,)`: the source is between both fingers; something other than the
    robot and the target presses on it; the robot does not touch it. speed `(b,)`: of the source.
    """

    frames: Tensor
    centres: Tensor
    settled: Tensor
    half: Tensor
    grasped: Tensor
    touched: Tensor
    released: Tensor
    speed: Tensor


class PutOn(Rule):
    """Put the source onto the target.

    On it means: horizontally within the target's half diagonal, above it, and no higher than both
    half heights and a slack. `alone` asks besides that nothing but target and robot touches it.
    Strict: success with the source let go and at rest.
    """

    def __init__(
        self,
        height_slack: float = TABLE_SLACK,
        alone: bool = True,
        batch: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(batch, device)
        self.height_slack, self.alone = height_slack, alone
        self.grasped_for = self._remembered(self._zeros())
        self.ever_grasped = self._remembered(self._no())
        self.ever_held = self._remembered(self._no())
        self._right, self._wrong, self._on = self._no(), self._no(), self._no()

    def update(self, state: PutState) -> Tensor:
        self._right, self._wrong = moved(state.frames, state.settled)
        self.grasped_for[:] = torch.where(state.grasped, self.grasped_for + 1, 0)
        held = self.grasped_for >= STEPS_GRASPED
        self.ever_grasped |= state.grasped
        self.ever_held |= held
        offset = state.centres[:, 0] - state.centres[:, 1]
        over = offset[:, :2].norm(dim=-1) <= state.half[:, 1, :2].norm(dim=-1) + SIDE_SLACK
        gap = offset[:, 2] - state.half[:, 1, 2] - state.half[:, 0, 2]
        on = over & (offset[:, 2] > 0) & (gap <= self.height_slack)
        if self.alone:
            on = on & ~state.touched
        self._on = on
        strict = on & state.released & (state.speed < REST_SPEED)
        return self._judge(
            on,
            strict,
            moved_correct_obj=self._right,
            moved_wrong_obj=self._wrong,
            is_src_obj_grasped=state.grasped,
            consecutive_grasp=held,
            src_on_target=on,
        )

    @property
    def statistics(self) -> Report:
        return {
            "moved_correct_obj": self._right,
            "moved_wrong_obj": self._wrong,
            "is_src_obj_grasped": self.ever_grasped,
            "consecutive_grasp": self.ever_held,
            "src_on_target": self._on,
        }


def put_on(task: TaskSpec, batch: int = 1, device: str = "cpu") -> PutOn:
    """The rule of a WidowX task; in the basket the eggplant may lie higher than on a plate."""
    slack = BASKET_SLACK if task.robot == "widowx_sink" else TABLE_SLACK
    return PutOn(slack, task.name not in LENIENT, batch, device)
