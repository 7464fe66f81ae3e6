"""Whether the representation loss can teach anything: figures that the cosine alone hides.

A student that agrees with its teacher may have learned nothing: a predictor that knows no more
than a token's position may agree as well, and so may a head on features that were never trained for
it. All are measured on the averaged model, which is student and teacher here, and on windows that
the heads and means were not fitted on. `worldmodel.diagnostics` has what training logs of a batch.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiment.seeding import seed_of, torch_generator
from worldmodel.corruption import corrupt
from worldmodel.data.windows import WindowBatch
from worldmodel.objective import Objective
from worldmodel.probes.features import Probed
from worldmodel.targets import Target, shaped
from worldmodel.tokens import Batch

_AT_ONCE, _NOISE, _HEAD, _ORDER = 64, 1, 2, 3
_STEPS, _TOKENS, _RATE = 400, 2048, 2e-3
# Running means belong to training; of relations there is no feature to compare.
_GEOMETRY: dict[str, Target] = {"running": "centred", "relations": "paper"}


@dataclass(frozen=True)
class Representation:
    """Mean cosines over tokens, but for the first two to the teacher's features as the target.

    noisy_clean: the teacher's layer k on its view and on clean tokens. views: layer k on the
    student's view and on the teacher's. floor: the student's layer l against the teacher's layer k,
    no head. head: through the head as it was trained, None where its teacher was another model.
    headroom: through a head that is fitted to the frozen trunk; from 0.95 on there is nothing to
    teach. constant: a predictor that knows the token's position alone; constant_global: one that
    knows nothing. excess: headroom over constant, and head_excess: the trained head over it.
    """

    noisy_clean: float
    views: float
    floor: float
    head: float | None
    headroom: float
    constant: float
    constant_global: float

    @property
    def excess(self) -> float:
        return self.headroom - self.constant

    @property
    def head_excess(self) -> float | None:
        return None if self.head is None else self.head - self.constant

    def section(self) -> dict[str, float | None]:
        return asdict(self) | {"excess": self.excess, "head_excess": self.head_excess}


@dataclass(frozen=True)
class _Seen:
    """Features `(b, n, d)`: layer l of the student, its projection, layer k in three views."""

    student: Tensor
    projected: Tensor
    student_late: Tensor
    teacher: Tensor
    clean: Tensor


def measure(
    probed: Probed,
    windows: WindowBatch,
    episodes: np.ndarray,
    test: np.ndarray,
    objective: Objective,
    seed: int,
    steps: int = _STEPS,
) -> Representation:
    """Measure on the windows `test`, fit on the others; `objective` says how views are noised."""
    seen = _features(probed, windows, objective, seed)
    held = torch.from_numpy(np.isin(np.arange(len(episodes)), test))
    shape = _GEOMETRY.get(objective.target, objective.target)
    target, there = (
        shaped(part, shape, part.new_ones(part.shape[:2]), None)
        for part in (seen.teacher[held], seen.teacher[~held])
    )
    direction = F.normalize(there, dim=-1)
    positions, everywhere = direction.mean(0), direction.mean((0, 1))
    head = fitted_head(seen.student[~held], there, seed, steps)
    with torch.no_grad():
        fitted = head(seen.student[held])
    trained = seen.projected[held]
    return Representation(
        noisy_clean=_cosine(seen.teacher[held], seen.clean[held]),
        views=_cosine(seen.student_late[held], seen.teacher[held]),
        floor=_cosine(seen.student[held], target),
        head=_cosine(trained, target) if trained.shape == target.shape else None,
        headroom=_cosine(fitted, target),
        constant=_cosine(positions[None], target),
        constant_global=_cosine(everywhere[None, None], target),
    )


def fitted_head(inputs: Tensor, targets: Tensor, seed: int, steps: int = _STEPS) -> nn.Module:
    """Return a head like the model's, fitted to the cosine of `(b, n, d)` to `(b, n, e)`."""
    width = inputs.shape[-1]
    last = nn.Linear(2 * width, targets.shape[-1])
    head = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), last)
    generator = torch_generator(seed, _HEAD)
    for layer in (head[0], last):
        nn.init.xavier_uniform_(layer.weight, generator=generator)  # type: ignore[arg-type]
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    x, y = inputs.flatten(0, 1), targets.flatten(0, 1)
    optimiser = torch.optim.AdamW(head.parameters(), lr=_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    order = torch_generator(seed, _ORDER)
    for _ in range(steps):
        rows = torch.randint(len(x), (min(_TOKENS, len(x)),), generator=order)
        loss = -F.cosine_similarity(head(x[rows]), y[rows], dim=-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return head.eval()


@torch.no_grad()
def _features(probed: Probed, windows: WindowBatch, objective: Objective, seed: int) -> _Seen:
    model, early, late = probed.model, probed.model.student_layer, probed.model.teacher_layer
    settings = replace(objective, arm="self_flow", gamma=1.0, dropout={}, outside=None)
    parts = []
    for start in range(0, windows.samples, _AT_ONCE):
        batch = probed.batch(windows.rows(slice(start, start + _AT_ONCE)))
        generator = torch_generator(seed_of(seed, _NOISE, start), device=probed.compute.device)
        noised = corrupt(batch, model.modalities, settings, generator)

        def layers(view: Batch, *chosen: int) -> list[Tensor]:
            with probed.compute.autocast():
                found = model(view, capture=chosen, stop=max(chosen)).features
            return [found[layer].float() for layer in chosen]

        student, student_late = layers(noised.student, early, late)
        (teacher,), (clean,) = layers(noised.teacher, late), layers(batch, late)
        values = (student, model.projection(student), student_late, teacher, clean)
        parts.append([value.cpu() for value in values])
    return _Seen(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _cosine(first: Tensor, second: Tensor) -> float:
    return float(F.cosine_similarity(first, second, dim=-1).mean())
