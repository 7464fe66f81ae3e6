"""A tiny model learns: it memorises windows, and what it dreams follows the actions it is given."""

import pytest
import torch

from tests.worldmodel import tiny
from worldmodel.loss import losses
from worldmodel.model import WorldModel
from worldmodel.objective import Objective
from worldmodel.sampler import Sampling, sample
from worldmodel.schedule import TimestepDensity
from worldmodel.teacher import Teacher
from worldmodel.tokens import Batch, Tokens

pytestmark = pytest.mark.slow

KNOWN = TimestepDensity(mean=-4.0, shift=1.0, tail_share=0.1)
"""Actions are nearly clean or pure noise: given, or to be found."""


def trained(batch: Batch, steps: int, density: TimestepDensity) -> WorldModel:
    model = WorldModel(tiny.MODALITIES, tiny.CONFIG, tiny.generator())
    teacher = Teacher(model, 0.98)
    settings = Objective(
        condition_noise={},
        own_timesteps={"action": KNOWN},
        weights={"action": 0.0},
        density=density,
    )
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.0)
    for step in range(steps):
        optimiser.zero_grad()
        losses(model, teacher, batch, tiny.generator(step), settings)["total"].backward()
        optimiser.step()
        teacher.update(model, step)
    return teacher.model


def dreamed(model: WorldModel, batch: Batch, sampling: Sampling) -> torch.Tensor:
    known = {name: tokens for name, tokens in batch.items() if name != "video"}
    unknown = {"video": batch["video"].position}
    return sample(model, known, unknown, sampling, tiny.generator(99))["video"]


def test_eight_windows_are_memorised() -> None:
    batch = tiny.batch(8)
    model = trained(batch, 400, TimestepDensity())
    real = batch["video"].values
    error = (dreamed(model, batch, Sampling(steps=10)) - real).square().mean()
    assert error < 0.1 * real.var()


def test_the_dream_follows_the_actions() -> None:
    """The same frame, instruction and state four times: only actions tell the videos apart."""
    batch = dict(tiny.batch(4))
    for name in ("text", "frame", "state"):
        tokens = batch[name]
        batch[name] = Tokens.clean(tokens.values[:1].repeat_interleave(4, 0), tokens.position)
    action = batch["action"]
    batch["action"] = Tokens.clean(2 * action.values, action.position)
    # From noise alone, so that it is the actions that decide.
    model = trained(batch, 450, TimestepDensity(mean=3.0, shift=1.0, tail_share=0.5))
    real, once = batch["video"].values, Sampling(steps=1, start="zeros")
    others = {**batch, "action": Tokens.clean(2 * action.values.roll(1, 0), action.position)}
    right = (dreamed(model, batch, once) - real).square().mean()
    followed = (dreamed(model, others, once) - real.roll(1, 0)).square().mean()
    assert right < 0.1 * real.var()
    assert followed < 0.1 * real.var()
