"""Actions that have a time of their own in training are followed, those with the video's not."""

import numpy as np
import pytest
import torch

from tests.worldmodel import tiny
from tests.worldmodel.test_imagine import dreamer, world
from worldmodel.device import CPU
from worldmodel.imagination.clips import with_actions
from worldmodel.imagination.dream import Dreamer
from worldmodel.imagination.errors import ratio, squared_errors, verdict
from worldmodel.loss import losses
from worldmodel.model import WorldModel
from worldmodel.model_config import ModelConfig
from worldmodel.objective import Objective
from worldmodel.sampler import Sampling
from worldmodel.schedule import TimestepDensity
from worldmodel.tokens import Modality

STEPS, BATCH, RATE = 220, 48, 3e-3


def trained(own_timesteps: bool) -> Dreamer:
    assembler = dreamer().assembler
    modalities = (*assembler.modalities, Modality("action", 7))
    model = WorldModel(modalities, ModelConfig(width=48, depth=3, heads=2), tiny.generator())
    own = {"action": TimestepDensity(shift=1.0)} if own_timesteps else {}
    objective = Objective(arm="dual_timestep", own_timesteps=own, condition_noise={})
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE)
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = RATE * min(1.0, (STEPS - step) / 100)
        batch = assembler(world(BATCH, steps=6, seed=step))
        terms = losses(model, None, batch, tiny.generator(step), objective)
        optimiser.zero_grad()
        terms["total"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    return Dreamer(model.eval(), assembler, Sampling(10), CPU)


@pytest.mark.slow
@pytest.mark.parametrize("own_timesteps", [True, False])
def test_only_actions_with_a_time_of_their_own_are_followed(own_timesteps: bool) -> None:
    model, clips, count = trained(own_timesteps), world(64, steps=6, seed=10**6), 64
    real = clips.future.numpy()
    own = squared_errors(real, model(clips, 6, tiny.generator(), True)).mean(1)
    moved = with_actions(clips, np.roll(np.arange(count), 7).tolist())
    other = squared_errors(real, model(moved, 6, tiny.generator(), True)).mean(1)
    grown = ratio(other, own, np.arange(count), np.random.default_rng(0))
    said = verdict(grown, "others")
    assert ("the dream follows" in said) == own_timesteps, said
    assert (grown.value > 1.2) == own_timesteps
