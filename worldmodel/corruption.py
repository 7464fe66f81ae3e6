"""A batch as student and teacher see it: a time and noise for each token (Self-Flow, Sec. 3.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from experiment.seeding import normal, torch_generator, uniform
from worldmodel.masks import leaders
from worldmodel.objective import Objective
from worldmodel.path import interpolate
from worldmodel.schedule import Draw, draw
from worldmodel.tokens import Batch, Modality, Tokens

_DROPOUT = 1


@dataclass(frozen=True)
class Corrupted:
    """One batch as student and teacher see it, and the `noise` x1 that both were given."""

    student: Batch
    teacher: Batch
    noise: Mapping[str, Tensor]


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
            level = uniform(generator, len(x1), 1).to(x1)
            level = settings.condition_noise[name] * level
            student[name] = teacher[name] = _at(clean, x1, level, clean.index)
        else:
            student[name] = teacher[name] = clean
    if settings.text_dropout > 0 and "text" in batch:
        # Drawn last, so that the noise is that of a run that drops none.
        text = _without_some(batch["text"], settings.text_dropout, generator)
        student["text"] = teacher["text"] = text
    return Corrupted(student, teacher, noise)


def _without_some(tokens: Tokens, probability: float, generator: torch.Generator) -> Tokens:
    """Return the tokens with a share of the samples at their null values."""
    if tokens.null is None:
        raise ValueError("tokens without null values cannot be dropped by sample")
    chance = uniform(generator, len(tokens.values))
    dropped = (chance < probability).to(tokens.values.device)
    rows = dropped.view(-1, *[1] * (tokens.values.ndim - 1))
    return replace(tokens, values=torch.where(rows, tokens.null, tokens.values))


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
            settings.arm, density, settings.mask_ratio, len(batch[group[0]].values), sum(sizes),
            generator,
            _leaders(batch, group, settings, generator.device), settings.teacher_gap,
        )  # fmt: skip
        for name, index in zip(group, drawn.index.split(sizes, 1), strict=True):
            device = batch[name].values.device
            levels, lowest = drawn.levels.to(device), drawn.lowest.to(device)
            times[name] = Draw(levels, index.to(device), lowest)
    return times


def _leaders(
    batch: Batch, names: Sequence[str], settings: Objective, device: torch.device
) -> Tensor | None:
    positions = [batch[name].position for name in names]
    most = max(len(position) for position in positions)
    joined = torch.cat([position.expand(most, -1, -1) for position in positions], 1)
    found = leaders(settings.mask, joined)
    return None if found is None else found.to(device)


def _noise(clean: Tokens, generator: torch.Generator) -> Tensor:
    return normal(generator, *clean.values.shape).to(clean.values)


def _at(clean: Tokens, x1: Tensor, levels: Tensor, index: Tensor) -> Tokens:
    moved = replace(clean, levels=levels, index=index)
    return replace(moved, values=interpolate(clean.values, x1, moved.tau))


def with_dropout(batch: Batch, dropout: Mapping[str, float], generator: torch.Generator) -> Batch:
    """Leave modalities out of the whole batch, each with its probability."""
    if not dropout:
        return batch
    # What a batch consists of is decided on the CPU: a number read off a GPU waits for it.
    chance = torch_generator(generator.initial_seed(), _DROPOUT)
    dropped = {n for n, p in dropout.items() if torch.rand((), generator=chance).item() < p}
    return {name: tokens for name, tokens in batch.items() if name not in dropped}
