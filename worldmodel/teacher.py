"""The teacher: an exponential moving average of the student, and the model that is evaluated."""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from worldmodel.model import Batch, WorldModel

AnyModel = TypeVar("AnyModel", bound=nn.Module)


class Teacher(Generic[AnyModel]):
    """Holds the averaged copy `model`; it belongs to the trainer and takes no gradient.

    With a `warmup` of w the decay grows as `(1 + step) / (w + step)` to `decay`, so that the copy
    forgets the random start early; it then spans about `step / (w - 1)` steps for long. 0: the
    decay is the same at all steps (Self-Flow, Sec. 3.4: 0.9999).
    """

    def __init__(self, student: AnyModel, decay: float, warmup: int = 10) -> None:
        self.model = copy.deepcopy(student).requires_grad_(False).eval()
        self.decay, self.warmup = decay, warmup

    def decay_at(self, step: int) -> float:
        """Return the decay after optimiser step number `step`, counted from 0."""
        if self.warmup == 0:
            return self.decay
        return min(self.decay, (1 + step) / (self.warmup + step))

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """Move the copy towards `student` after optimiser step number `step`, counted from 0."""
        weight = 1.0 - self.decay_at(step)
        torch._foreach_lerp_(list(self.model.parameters()), list(student.parameters()), weight)


@torch.no_grad()
def features(teacher: Teacher[WorldModel], batch: Batch) -> Tensor:
    """Return the features `(b, n, d)` of predicted tokens after layer k; no later layer runs."""
    layer = teacher.model.teacher_layer
    return teacher.model(batch, capture=(layer,), stop=layer).features[layer]
