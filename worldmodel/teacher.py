"""The teacher: an exponential moving average of the student, and the model that is evaluated."""

import copy
from collections.abc import Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from worldmodel.model import Tokens, WorldModel
from worldmodel.text import TextTokens

AnyModel = TypeVar("AnyModel", bound=nn.Module)


class Teacher(Generic[AnyModel]):
    """Holds the averaged copy `model`; it belongs to the trainer and takes no gradient.

    The decay warms up as `(1 + step) / (10 + step)` to `decay`, so that the copy forgets the
    random start within the first steps (Self-Flow, Sec. 3.4: decay 0.9999).
    """

    def __init__(self, student: AnyModel, decay: float) -> None:
        self.model = copy.deepcopy(student).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """Move the copy towards `student` after optimiser step number `step`, counted from 0."""
        weight = 1.0 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(student.parameters()), weight)


@torch.no_grad()
def features(teacher: Teacher[WorldModel], parts: Mapping[str, Tokens], text: TextTokens) -> Tensor:
    """Return the teacher's features `(b, n_total, d)` after layer k; later layers do not run."""
    layer = teacher.model.teacher_layer
    return teacher.model(parts, text, capture=(layer,), stop=layer).features[layer]
