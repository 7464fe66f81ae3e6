"""A batch that is divided among processes and passes gives the gradients of the whole."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from experiment.seeding import row_generator
from tests.worldmodel import tiny
from worldmodel.loss import losses
from worldmodel.objective import Objective
from worldmodel.schedule import ARMS
from worldmodel.teacher import Teacher
from worldmodel.tokens import Batch, Tokens


def rows(batch: Batch, chosen: slice) -> Batch:
    def cut(tokens: Tokens) -> Tokens:
        values = {field.name: getattr(tokens, field.name) for field in fields(tokens)}
        count = len(tokens.values)
        tensors: dict[str, Any] = {n: t for n, t in values.items() if isinstance(t, torch.Tensor)}
        return replace(tokens, **{n: t[chosen] for n, t in tensors.items() if len(t) == count})

    return {name: cut(tokens) for name, tokens in batch.items()}


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm != "repa"])
@pytest.mark.parametrize("mask", ["tokens", "frames"])
def test_parts_have_the_gradients_of_the_whole(arm: str, mask: str) -> None:
    settings = Objective(arm=arm, mask=mask, mask_ratio=0.5, dropout={"action": 0.5})  # type: ignore[arg-type]
    batch = tiny.batch(size=4)
    gradients = []
    for parts in (1, 2):
        model = tiny.model()
        teacher = Teacher(tiny.model(seed=1), 0.9)
        for part in range(parts):
            size = 4 // parts
            own = rows(batch, slice(part * size, (part + 1) * size))
            terms = losses(model, teacher, own, row_generator(part, parts, 1, 2), settings)
            (terms["total"] / parts).backward()
        gradients.append([p.grad for p in model.parameters()])
    for whole, summed in zip(*gradients, strict=True):
        assert (whole is None) == (summed is None)
        if whole is not None and summed is not None:
            assert torch.allclose(whole, summed, rtol=1e-4, atol=1e-6)
