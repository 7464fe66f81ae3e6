"""What all success rules share: step count, subtask, success now, ever and in a stricter sense."""

from typing import Any

import torch
from torch import Tensor

CONTACT_IMPULSE = 1e-6
"""Impulse (N s) above which SIMPLER counts a contact."""
REST_SPEED = 0.05
"""Speed (m/s) below which an object counts as resting, for strict success."""

Report = dict[str, Tensor]


class Rule:
    """Episode statistics of `batch` environments; all tensors have shape `(b,)`.

    `success` is SIMPLER's at the last step, `success_ever` and `success_strict` are sticky (each
    rule documents what is strict). `statistics` are the original's episode statistics, `report` its
    evaluation of the last step.
    """

    subtasks = 1

    def __init__(self, batch: int = 1, device: torch.device | str = "cpu") -> None:
        self.batch, self.device = batch, torch.device(device)
        self.success = self._no()
        self.success_ever = self._no()
        self.success_strict = self._no()
        self.elapsed_steps = self._zeros()
        self.subtask = self._zeros()
        self.report: Report = {}
        self._sticky = [
            self.success,
            self.success_ever,
            self.success_strict,
            self.elapsed_steps,
            self.subtask,
        ]

    def _no(self) -> Tensor:
        return torch.zeros(self.batch, dtype=torch.bool, device=self.device)

    def _zeros(self) -> Tensor:
        return torch.zeros(self.batch, dtype=torch.long, device=self.device)

    def _remembered(self, values: Tensor) -> Tensor:
        """Note a tensor that a reset clears."""
        self._sticky.append(values)
        return values

    def reset(self, index: Tensor | None = None) -> None:
        """Forget the episodes of the environments `index` (all if None)."""
        chosen = slice(None) if index is None else index
        for values in self._sticky:
            values[chosen] = 0

    def advance(self, index: Tensor | None = None) -> None:
        """Advance to the next subtask, in environments `index` (all if None), if there is one."""

    def update(self, state: Any) -> Tensor:
        """Take in the end of a control step; returns SIMPLER's success at this step `(b,)`.

        Each rule documents its `state`.
        """
        raise NotImplementedError

    def before_step(self) -> None:
        """Call before every control step."""
        self.elapsed_steps += 1

    @property
    def statistics(self) -> Report:
        return {}

    def _judge(self, success: Tensor, strict: Tensor, **report: Any) -> Tensor:
        self.success[:] = success
        self.success_ever |= success
        self.success_strict |= strict
        self.report = {**report, "success": success}
        return success
