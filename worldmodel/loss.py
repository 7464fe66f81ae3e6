"""The losses: flow matching with a time per token, and a representation loss beside it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from worldmodel.corruption import Corrupted, corrupt, with_dropout
from worldmodel.model import Output, WorldModel
from worldmodel.objective import Objective
from worldmodel.path import velocity_error
from worldmodel.targets import representation, weighted_mean
from worldmodel.teacher import Teacher, features
from worldmodel.tokens import Batch, Tokens, samples_in


def losses(
    model: WorldModel,
    teacher: Teacher[WorldModel] | None,
    batch: Batch,
    generator: torch.Generator,
    settings: Objective,
) -> dict[str, Tensor]:
    """Return the named terms of the loss, each a scalar; `total` is the one to minimise.

    `generation` and `generation/<modality>` are mean squared errors on the velocity (Eq. 2),
    `representation` compares the student's projected features after layer l with the teacher's
    after layer k (Eq. 6-7), see `worldmodel.targets`; `tokens` counts the sequence's tokens. Where
    one modality alone is predicted, it is noised `settings.draws` times, each at a time of its own,
    in one pass. All
    that is random comes from `generator`, best one of the batch's device; nothing is changed but
    the teacher's running means, where `settings.target` asks for them.
    """
    batch = with_dropout(batch, settings.dropout, generator)
    samples = samples_in(batch)
    predicted = [name for name in batch if model.modalities[name].predicted]
    draws = settings.draws if len(predicted) == 1 else 1
    if draws > 1:
        batch = {**batch, predicted[0]: batch[predicted[0]].repeated(draws)}
    noised = corrupt(batch, model.modalities, settings, generator)
    with_representation = settings.with_representation and (
        settings.with_teacher or any(tokens.target is not None for tokens in batch.values())
    )
    layer = model.student_layer if with_representation else None
    student = dict(noised.student)
    if draws > 1:
        student[predicted[0]] = student[predicted[0]].folded(draws)
    output = model(student, project=layer)
    terms: dict[str, Tensor] = {}
    weighted: list[Tensor] = []
    for name, prediction in output.prediction.items():
        clean = batch[name]
        error = velocity_error(
            prediction.reshape_as(clean.values), clean.values, noised.noise[name],
            noised.student[name].tau, model.config.prediction,
        )  # fmt: skip
        terms[f"generation/{name}"] = _mean(error.mean(-1), clean.valid)
        weighted.append(settings.weights.get(name, 1.0) * terms[f"generation/{name}"])
    terms["generation"] = terms["total"] = torch.stack(weighted).sum()
    if with_representation:
        terms |= _representation(batch, noised, output, teacher, generator, settings)
        terms["total"] = terms["generation"] + settings.gamma * terms["representation"]
    count = samples * sum(tokens.values.shape[1] for tokens in student.values())
    return terms | {"tokens": torch.tensor(float(count))}


def _representation(
    batch: Batch,
    noised: Corrupted,
    output: Output,
    teacher: Teacher[WorldModel] | None,
    generator: torch.Generator,
    settings: Objective,
) -> dict[str, Tensor]:
    """Return the terms of the representation loss, see `worldmodel.targets`.

    Only predicted tokens count: the others are the same for both, and would flatter the agreement.
    """
    if output.projected is None:
        raise ValueError("the model was not asked for projected features")
    names = list(output.prediction)
    weight = _valid([batch[name] for name in names])
    centre = None
    if settings.with_teacher:
        if teacher is None:
            raise ValueError(f"the arm {settings.arm} needs a teacher")
        target = features(teacher, noised.teacher)
        if settings.target == "running":
            sizes = {name: batch[name].values.shape[1] for name in names}
            centre = teacher.centre(sizes)
            if torch.is_grad_enabled():
                teacher.recentre(sizes, target)
    else:
        target, known = _outside(batch, names)
        weight = known if weight is None else weight & known
    if settings.representation_on == "noisier":
        noisier = [noised.student[name].tau > noised.teacher[name].tau for name in names]
        joined = torch.cat(noisier, 1)
        weight = joined if weight is None else weight & joined
    floats = None if weight is None else weight.float()
    return representation(output.projected, target, settings.target, floats, centre, generator)


def _outside(batch: Batch, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return an outside teacher's features `(b, n, e)` and which tokens have any `(b, n)`."""
    found = next((t for name in names if (t := batch[name].target) is not None), None)
    if found is None:
        raise ValueError("no token of the batch has an outside teacher's features")
    targets, known = [], []
    for name in names:
        shape, mine = batch[name].values.shape[:2], batch[name].target
        targets.append(found.new_zeros(*shape, found.shape[-1]) if mine is None else mine)
        known.append(torch.full(shape, mine is not None, device=found.device))
    return torch.cat(targets, 1), torch.cat(known, 1)


def _valid(predicted: Sequence[Tokens]) -> Tensor | None:
    if all(tokens.valid is None for tokens in predicted):
        return None
    masks = [
        torch.ones_like(tokens.index, dtype=torch.bool) if tokens.valid is None else tokens.valid
        for tokens in predicted
    ]
    return torch.cat(masks, 1)


def _mean(values: Tensor, valid: Tensor | None) -> Tensor:
    return values.mean() if valid is None else weighted_mean(values, valid.to(values))
