"""The losses: flow matching with a time per token, and the Self-Flow representation loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from experiment.errors import UserError, nearest
from experiment.seeding import torch_generator
from worldmodel.model import Batch, Modality, Tokens, WorldModel, samples_in
from worldmodel.path import interpolate, velocity_error
from worldmodel.schedule import ARMS, Arm, Draw, TimestepDensity, draw
from worldmodel.teacher import Teacher, features

_DROPOUT = 1


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
        for setting in ("condition_noise", "dropout"):
            for name, value in getattr(self, setting).items():
                if not 0 <= value <= 1:
                    raise UserError(f"objective.{setting}.{name}={value} must lie in [0, 1].")

    @property
    def with_teacher(self) -> bool:
        """Whether the representation loss is taken."""
        return self.arm == "self_flow" and self.gamma > 0

    def check(self, modalities: Mapping[str, Modality]) -> None:
        """Raise `UserError` where the settings do not fit a model of these modalities."""
        for setting in ("own_timesteps", "condition_noise", "weights", "dropout"):
            for name in getattr(self, setting):
                if name not in modalities:
                    raise UserError(
                        f"objective.{setting}: the model has no modality {name!r}."
                        f"{nearest(name, modalities)}"
                    )
        for name in self.condition_noise:
            if modalities[name].predicted or modalities[name].vocabulary is not None:
                kind = "predicted" if modalities[name].predicted else "whole numbers"
                raise UserError(f"objective.condition_noise: {name} is {kind}, it takes no noise.")
        predicted = [name for name, modality in modalities.items() if modality.predicted]
        if all(self.dropout.get(name, 0) > 0 for name in predicted):
            raise UserError(
                f"objective.dropout may leave out all that is predicted ({', '.join(predicted)}): "
                "set it to 0 for one of them."
            )


@dataclass(frozen=True)
class Corrupted:
    """One batch as student and teacher see it, and the `noise` x1 that both were given."""

    student: Batch
    teacher: Batch
    noise: Mapping[str, Tensor]


def losses(
    model: WorldModel,
    teacher: Teacher[WorldModel] | None,
    batch: Batch,
    generator: torch.Generator,
    settings: Objective,
) -> dict[str, Tensor]:
    """Return the named terms of the loss, each a scalar; `total` is the one to minimise.

    `generation` and `generation/<modality>` are mean squared errors on the velocity (Eq. 2),
    `representation` is minus the mean `cosine` of the student's projected features after layer l
    and the teacher's after layer k (Eq. 6-7), `tokens` counts the sequence's tokens. A pure
    function of its arguments: all that is random comes from `generator`, best one of the batch's
    device.
    """
    batch = _with_dropout(batch, settings.dropout, generator)
    noised = corrupt(batch, model.modalities, settings, generator)
    output = model(noised.student, project=model.student_layer if settings.with_teacher else None)
    terms: dict[str, Tensor] = {}
    weighted: list[Tensor] = []
    for name, prediction in output.prediction.items():
        clean = batch[name]
        error = velocity_error(
            prediction, clean.values, noised.noise[name], noised.student[name].tau,
            model.config.prediction,
        )  # fmt: skip
        terms[f"generation/{name}"] = _mean(error.mean(-1), clean.valid)
        weighted.append(settings.weights.get(name, 1.0) * terms[f"generation/{name}"])
    terms["generation"] = terms["total"] = torch.stack(weighted).sum()
    if settings.with_teacher:
        if teacher is None or output.projected is None:
            raise ValueError("the arm self_flow needs a teacher")
        # Only predicted tokens: the others are the same for both, and would flatter the agreement.
        target = features(teacher, noised.teacher)
        cosine = F.cosine_similarity(output.projected.float(), target, dim=-1)
        terms["cosine"] = _mean(cosine, _valid([batch[name] for name in output.prediction]))
        terms["representation"] = -terms["cosine"]
        terms["total"] = terms["generation"] - settings.gamma * terms["cosine"]
    count = samples_in(batch) * sum(tokens.values.shape[1] for tokens in batch.values())
    return terms | {"tokens": torch.tensor(float(count))}


def corrupt(
    batch: Batch,
    modalities: Mapping[str, Modality],
    settings: Objective,
    generator: torch.Generator,
) -> Corrupted:
    """Noise a clean batch: per-token times for the student, their minimum for the teacher."""
    drawn = _times(batch, modalities, settings, generator)
    student: dict[str, Tokens] = {}
    teacher: dict[str, Tokens] = {}
    noise: dict[str, Tensor] = {}
    for name in (name for name in modalities if name in batch):
        clean = batch[name]
        if name in drawn:
            noise[name] = _noise(clean, generator)
            student[name] = _at(clean, noise[name], drawn[name].levels, drawn[name].index)
            if settings.with_teacher:
                lowest = drawn[name].lowest[:, None]
                index = torch.zeros_like(clean.index)
                teacher[name] = _at(clean, noise[name], lowest, index)
        elif name in settings.condition_noise:
            x1 = _noise(clean, generator)
            level = torch.rand(len(x1), 1, generator=generator, device=generator.device).to(x1)
            level = settings.condition_noise[name] * level
            student[name] = teacher[name] = _at(clean, x1, level, clean.index)
        else:
            student[name] = teacher[name] = clean
    return Corrupted(student, teacher, noise)


def _times(
    batch: Batch,
    modalities: Mapping[str, Modality],
    settings: Objective,
    generator: torch.Generator,
) -> dict[str, Draw]:
    """Return the times of the predicted modalities."""
    names = [name for name in modalities if modalities[name].predicted and name in batch]
    if not names:
        raise ValueError("the batch has no modality that is predicted")
    shared = [name for name in names if name not in settings.own_timesteps]
    times: dict[str, Draw] = {}
    groups = [(shared, settings.density)] if shared else []
    groups += [([name], settings.own_timesteps[name]) for name in names if name not in shared]
    for group, density in groups:
        sizes = [batch[name].values.shape[1] for name in group]
        drawn = draw(
            settings.arm, density, settings.mask_ratio, samples_in(batch), sum(sizes), generator
        )
        for name, index in zip(group, drawn.index.split(sizes, 1), strict=True):
            device = batch[name].values.device
            levels, lowest = drawn.levels.to(device), drawn.lowest.to(device)
            times[name] = Draw(levels, index.to(device), lowest)
    return times


def _noise(clean: Tokens, generator: torch.Generator) -> Tensor:
    shape, device = clean.values.shape, generator.device
    return torch.randn(shape, generator=generator, device=device).to(clean.values)


def _at(clean: Tokens, x1: Tensor, levels: Tensor, index: Tensor) -> Tokens:
    moved = replace(clean, levels=levels, index=index)
    return replace(moved, values=interpolate(clean.values, x1, moved.tau))


def _with_dropout(batch: Batch, dropout: Mapping[str, float], generator: torch.Generator) -> Batch:
    if not dropout:
        return batch
    # What a batch consists of is decided on the CPU: a number read off a GPU waits for it.
    chance = torch_generator(generator.initial_seed(), _DROPOUT)
    dropped = {n for n, p in dropout.items() if torch.rand((), generator=chance).item() < p}
    return {name: tokens for name, tokens in batch.items() if name not in dropped}


def _valid(predicted: Sequence[Tokens]) -> Tensor | None:
    if all(tokens.valid is None for tokens in predicted):
        return None
    masks = [
        torch.ones_like(tokens.index, dtype=torch.bool) if tokens.valid is None else tokens.valid
        for tokens in predicted
    ]
    return torch.cat(masks, 1)


def _mean(values: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return values.mean()
    weight = valid.to(values)
    return (values * weight).sum() / weight.sum().clamp(min=1.0)
