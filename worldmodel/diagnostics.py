"""Whether the representation loss can teach anything: figures for the log and for the probe."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from worldmodel.corruption import corrupt
from worldmodel.loss import losses
from worldmodel.model import WorldModel
from worldmodel.objective import Objective
from worldmodel.targets import constant_cosine
from worldmodel.teacher import Teacher
from worldmodel.tokens import Batch


@torch.no_grad()
def agreements(
    model: WorldModel,
    teacher: Teacher[WorldModel],
    batch: Batch,
    generator: torch.Generator,
    settings: Objective,
) -> dict[str, Tensor]:
    """Return cosines of features of predicted tokens, without the head h, each a scalar.

    The views are those of Self-Flow whatever the arm: the student's has two times, the teacher's
    the lower one (Sec. 3.3). `views`: the teacher's layer k on both views; `layers`: the student's
    layer l on its view and the teacher's k on its own, the floor that the head starts from;
    `same_layer`: layer k of both; `constant`: the best predictor by position alone; `constant_any`:
    the best single vector. A loss whose floor is near 1, or near the constants, teaches nothing.
    """
    seen = corrupt(
        batch,
        model.modalities,
        replace(settings, arm="self_flow", gamma=1.0, outside=None),
        generator,
    )
    early, late = model.student_layer, model.teacher_layer
    student = model(seen.student, capture=(early, late), stop=late).features
    target = teacher.model(seen.teacher, capture=(late,), stop=late).features[late]
    noisy = teacher.model(seen.student, capture=(late,), stop=late).features[late]
    weight = target.new_ones(target.shape[:2])
    return {
        "views": _cosine(noisy, target),
        "layers": _cosine(student[early], target),
        "same_layer": _cosine(student[late], target),
        "constant": constant_cosine(target, weight),
        "constant_any": constant_cosine(target.flatten(0, 1)[:, None], weight.flatten()[:, None]),
    }


def gradient_cosine(
    model: WorldModel,
    teacher: Teacher[WorldModel],
    batch: Batch,
    generator: torch.Generator,
    settings: Objective,
) -> dict[str, Tensor]:
    """Return `gradient_cosine` and `gradient_ratio` of the two losses on the weights they share.

    The ratio is the norm of the weighted representation loss's gradient to that of the generation
    loss's. Nothing without a representation loss. The model's own gradients are not touched.
    """
    if not settings.with_representation:
        return {}
    with torch.enable_grad():
        # The running means belong to training alone.
        centres = dict(teacher.centres)
        terms = losses(model, teacher, batch, generator, settings)
        teacher.centres = centres
        if "representation" not in terms:
            return {}
        weights = [p for p in model.parameters() if p.requires_grad]
        generation = torch.autograd.grad(
            terms["generation"], weights, retain_graph=True, allow_unused=True
        )
        both = torch.autograd.grad(terms["representation"], weights, allow_unused=True)
    shared = [
        (g, r) for g, r in zip(generation, both, strict=True) if g is not None and r is not None
    ]
    first, second = (_flat([pair[i] for pair in shared]) for i in (0, 1))
    return {
        "gradient_cosine": F.cosine_similarity(first, second, dim=0),
        "gradient_ratio": settings.gamma * second.norm() / first.norm().clamp(min=1e-12),
    }


def _flat(gradients: Sequence[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten().float() for gradient in gradients])


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return F.cosine_similarity(first.float(), second.float(), dim=-1).mean()
