"""The teacher: an exponential moving average of the student, and the model that is evaluated."""

import copy
from collections.abc import Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from worldmodel.model import WorldModel
from worldmodel.tokens import Batch

AnyModel = TypeVar("AnyModel", bound=nn.Module)

_CENTRE_DECAY = 0.99


class Teacher(Generic[AnyModel]):
    """Holds the averaged copy `model`; it belongs to the trainer and takes no gradient.

    With a `warmup` of w the decay grows as `(1 + step) / (w + step)` to `decay`, so that the copy
    forgets the random start early; it then spans about `step / (w - 1)` steps for long. 0: the
    decay is the same at all steps (Self-Flow, Sec. 3.4: 0.9999).
    """

    def __init__(self, student: AnyModel, decay: float, warmup: int = 10) -> None:
        self.model = copy.deepcopy(student).requires_grad_(False).eval()
        self.decay, self.warmup = decay, warmup
        self.centres: dict[str, Tensor] = {}
        """Running means `(n, e)` of its features by modality, for `objective.target=running`."""

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

    def centre(self, sizes: Mapping[str, int]) -> Tensor | None:
        """Return the running means `(n, e)` of these modalities; None before there are any."""
        if any(len(self.centres.get(name, ())) != size for name, size in sizes.items()):
            return None
        return torch.cat([self.centres[name] for name in sizes])

    @torch.no_grad()
    def recentre(self, sizes: Mapping[str, int], features: Tensor) -> None:
        """Move the running means towards those of `features` `(b, n, e)` over the batch."""
        means = features.mean(0).split(list(sizes.values()))
        for name, mean in zip(sizes, means, strict=True):
            old = self.centres.get(name)
            fits = old is not None and old.shape == mean.shape
            self.centres[name] = torch.lerp(old, mean, 1 - _CENTRE_DECAY) if fits else mean  # type: ignore[arg-type]


@torch.no_grad()
def features(teacher: Teacher[WorldModel], batch: Batch) -> Tensor:
    """Return the features `(b, n, d)` of predicted tokens after layer k; no later layer runs."""
    layer = teacher.model.teacher_layer
    return teacher.model(batch, capture=(layer,), stop=layer).features[layer]
