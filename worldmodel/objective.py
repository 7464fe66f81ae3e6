"""The losses: flow matching with a time per token, and the Self-Flow representation loss."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from experiment.errors import UserError, nearest
from worldmodel.model import Batch, Modality, Tokens, WorldModel
from worldmodel.path import interpolate, velocity_error
from worldmodel.schedule import ARMS, Arm, TimestepDensity, draw
from worldmodel.teacher import Teacher, features


@dataclass(frozen=True)
class Objective:
    """What is learned.

    `arm`: how tokens share times, `self_flow` with the representation loss weighted by `gamma`.
    `own_timesteps`: modalities that draw times of their own, from their own density; all others
    share theirs (App. E shares those of video and action). `mask_ratio` is R_M. `condition_noise`:
    modalities not predicted whose tokens are noised up to this time (App. E: 0.2 for the frame).
    `weights`: of each modality's loss, 1 where not named. `dropout`: probability that a modality is
    left out of a whole batch, so that the model can do without it.
    """

    arm: Arm = "self_flow"
    gamma: float = 0.8
    mask_ratio: float = 0.1
    density: TimestepDensity = field(default_factory=TimestepDensity)
    own_timesteps: Mapping[str, TimestepDensity] = field(default_factory=dict)
    condition_noise: Mapping[str, float] = field(default_factory=lambda: {"frame": 0.2})
    weights: Mapping[str, float] = field(default_factory=dict)
    dropout: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.arm not in ARMS:
            raise UserError(f"objective.arm={self.arm!r} is unknown.{nearest(self.arm, ARMS)}")
        if not 0 <= self.mask_ratio <= 0.5:
            raise UserError(f"objective.mask_ratio={self.mask_ratio} must lie in [0, 0.5].")

    @property
    def with_teacher(self) -> bool:
        """Return whether the representation loss is taken."""
        return self.arm == "self_flow" and self.gamma > 0


@dataclass(frozen=True)
class Corrupted:
    """One batch as student and teacher see it, and the `noise` x1 that both were given."""

    student: Mapping[str, Tokens]
    teacher: Mapping[str, Tokens]
    noise: Mapping[str, Tensor]


def losses(
    model: WorldModel,
    teacher: Teacher[WorldModel] | None,
    batch: Batch,
    generator: torch.Generator,
    settings: Objective,
) -> dict[str, Tensor]:
    """Return the named parts of the loss, each a scalar; `total` is the one to minimise.

    `generation` and `generation/<modality>` are mean squared errors on the velocity (Eq. 2),
    `representation` is minus the mean `cosine` of the student's projected features after layer l
    and the teacher's after layer k (Eq. 6-7), `tokens` counts the sequence tokens seen. A pure
    function of its arguments: all that is random comes from `generator`, a CPU generator.
    """
    batch = _with_dropout(batch, settings.dropout, generator)
    seen = corrupt(batch, model.modalities, settings, generator)
    capture = (model.student_layer,) if settings.with_teacher else ()
    output = model(seen.student, batch.text, capture=capture)
    parts: dict[str, Tensor] = {}
    generation = torch.zeros((), device=batch.text.ids.device)
    for name, prediction in output.prediction.items():
        clean = batch.parts[name]
        error = velocity_error(
            prediction, clean.values, seen.noise[name], seen.student[name].tau,
            model.config.prediction,
        )  # fmt: skip
        parts[f"generation/{name}"] = _mean(error.mean(-1), clean.valid)
        generation = generation + settings.weights.get(name, 1.0) * parts[f"generation/{name}"]
    parts["generation"] = parts["total"] = generation
    if settings.with_teacher:
        if teacher is None:
            raise ValueError("the arm self_flow needs a teacher")
        target = features(teacher, seen.teacher, batch.text)
        cosine = _cosine(model, output.features[model.student_layer], target, output.spans, batch)
        parts |= {"cosine": cosine, "representation": -cosine}
        parts["total"] = generation - settings.gamma * cosine
    count = batch.samples * max(span.stop for span in output.spans.values())
    return parts | {"tokens": torch.tensor(float(count))}


def corrupt(
    batch: Batch,
    modalities: Mapping[str, Modality],
    settings: Objective,
    generator: torch.Generator,
) -> Corrupted:
    """Noise a clean batch: per-token times for the student, their minimum for the teacher."""
    tau, tau_min = _times(batch, modalities, settings, generator)
    student: dict[str, Tokens] = {}
    teacher: dict[str, Tokens] = {}
    noise: dict[str, Tensor] = {}
    for name in (name for name in modalities if name in batch.parts):
        clean = batch.parts[name]
        if modalities[name].predicted:
            noise[name] = torch.randn(clean.values.shape, generator=generator).to(clean.values)
            student[name] = _at(clean, noise[name], tau[name])
            if settings.with_teacher:
                teacher[name] = _at(clean, noise[name], tau_min[name])
        elif name in settings.condition_noise:
            x1 = torch.randn(clean.values.shape, generator=generator).to(clean.values)
            level = torch.rand(batch.samples, 1, generator=generator).to(clean.values)
            times = settings.condition_noise[name] * level.expand_as(clean.tau)
            student[name] = teacher[name] = _at(clean, x1, times)
        else:
            student[name] = teacher[name] = clean
    return Corrupted(student, teacher, noise)


def _times(
    batch: Batch,
    modalities: Mapping[str, Modality],
    settings: Objective,
    generator: torch.Generator,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return tau and tau_min, `(b, n)` each, of the predicted modalities."""
    names = [name for name in modalities if modalities[name].predicted and name in batch.parts]
    if not names:
        raise ValueError("the batch has no modality that is predicted")
    shared = [name for name in names if name not in settings.own_timesteps]
    tau: dict[str, Tensor] = {}
    tau_min: dict[str, Tensor] = {}
    groups = [(shared, settings.density)] if shared else []
    groups += [([name], settings.own_timesteps[name]) for name in names if name not in shared]
    for group, density in groups:
        sizes = [batch.parts[name].values.shape[1] for name in group]
        times = draw(
            settings.arm, density, settings.mask_ratio, batch.samples, sum(sizes), generator
        )
        for name, own in zip(group, times.tau.split(sizes, 1), strict=True):
            device = batch.parts[name].values.device
            tau[name] = own.to(device)
            tau_min[name] = times.tau_min[:, None].expand_as(own).to(device)
    return tau, tau_min


def _at(clean: Tokens, x1: Tensor, tau: Tensor) -> Tokens:
    return replace(clean, values=interpolate(clean.values, x1, tau), tau=tau)


def _with_dropout(batch: Batch, dropout: Mapping[str, float], generator: torch.Generator) -> Batch:
    dropped = {
        name
        for name, probability in dropout.items()
        if torch.rand((), generator=generator).item() < probability
    }
    return replace(batch, parts={n: part for n, part in batch.parts.items() if n not in dropped})


def _cosine(
    model: WorldModel,
    student: Tensor,
    teacher: Tensor,
    spans: Mapping[str, slice],
    batch: Batch,
) -> Tensor:
    # Only predicted tokens: the others are the same for both, and would flatter the agreement.
    names = [name for name in spans if model.modalities[name].predicted]
    guess = torch.cat([student[:, spans[name]] for name in names], 1)
    target = torch.cat([teacher[:, spans[name]] for name in names], 1)
    valid = [batch.parts[name].valid for name in names]
    counted = torch.cat(
        [
            torch.ones_like(batch.parts[name].tau, dtype=torch.bool) if v is None else v
            for name, v in zip(names, valid, strict=True)
        ],
        1,
    )
    return _mean(F.cosine_similarity(model.projection(guess), target, dim=-1), counted)


def _mean(values: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return values.mean()
    weight = valid.to(values)
    return (values * weight).sum() / weight.sum().clamp(min=1.0)
