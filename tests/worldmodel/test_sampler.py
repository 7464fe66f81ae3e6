"""The sampler: grid, integration, which modalities are known."""

import dataclasses
import math
from typing import cast

import pytest
import torch

from experiment.errors import UserError
from tests.worldmodel import tiny
from worldmodel.device import CPU, Compute
from worldmodel.model import Output, WorldModel
from worldmodel.model_config import ModelConfig
from worldmodel.sampler import Sampling, grid, integrate, sample
from worldmodel.tokens import Batch


def test_the_grid_runs_from_noise_to_data() -> None:
    assert grid(4, 1.0) == [1.0, 0.75, 0.5, 0.25, 0.0]
    shifted = grid(4, 15.0)
    assert (shifted[0], shifted[-1]) == (1.0, 0.0)
    assert shifted[2] == pytest.approx(15 / 16)
    assert shifted == sorted(shifted, reverse=True)


def test_a_known_equation_is_integrated() -> None:
    # dx/dt = x from t = 1 to 0 divides by e; Euler's error falls in proportion to the step.
    errors = []
    for steps in (50, 100, 200):
        start = {"x": torch.ones(1, 1, 1)}
        end = integrate(lambda state, _: state, start, grid(steps, 2.0))["x"].item()
        errors.append(abs(end - math.exp(-1)))
    assert errors[2] < 2e-3
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(2.0, rel=0.1)


def test_a_constant_velocity_is_exact_in_one_step() -> None:
    end = integrate(lambda *_: {"x": torch.tensor(3.0)}, {"x": torch.tensor(5.0)}, grid(1, 7.0))
    assert end["x"].item() == 2.0


@pytest.mark.parametrize("steps", [1, 7])
def test_a_model_that_knows_the_data_samples_it(steps: int) -> None:
    model = tiny.model()
    truth = torch.arange(7.0)
    output = cast(torch.nn.Linear, model.outputs["action"])
    torch.nn.init.zeros_(output.weight)
    with torch.no_grad():
        output.bias.copy_(truth)
    found = draw(model, Sampling(steps=steps, shift=3.0))["action"]
    torch.testing.assert_close(found, truth.expand(3, 6, 7))


def draw(
    model: WorldModel,
    sampling: Sampling,
    unknown: tuple[str, ...] = ("action",),
    seed: int = 0,
    compute: Compute = CPU,
) -> dict[str, torch.Tensor]:
    batch = tiny.batch()
    positions = {name: batch[name].position for name in unknown}
    given = {name: part for name, part in batch.items() if name not in unknown}
    return sample(model, given, positions, sampling, tiny.generator(seed), compute)


@pytest.mark.parametrize("unknown", [("action",), ("video",), ("video", "action")])
def test_policy_world_model_and_inverse_dynamics_are_one_call(unknown: tuple[str, ...]) -> None:
    shapes = {"video": (3, 4, 24), "action": (3, 6, 7)}
    found = draw(tiny.model(), Sampling(steps=2), unknown)
    assert {name: tuple(x.shape) for name, x in found.items()} == {n: shapes[n] for n in unknown}
    assert not any(x.requires_grad for x in found.values())


def test_noise_follows_the_generator_and_zeros_need_none() -> None:
    model = tiny.model()
    noise = Sampling(steps=3)
    assert torch.equal(draw(model, noise)["action"], draw(model, noise)["action"])
    assert not torch.equal(draw(model, noise)["action"], draw(model, noise, seed=1)["action"])
    zeros = dataclasses.replace(noise, start="zeros")
    assert torch.equal(draw(model, zeros)["action"], draw(model, zeros, seed=1)["action"])


def test_the_sampler_uses_its_precision_and_agrees_within_a_bound() -> None:
    low = Compute(torch.device("cpu"), "bfloat16")
    exact = draw(tiny.model(), Sampling(steps=4))["action"]
    rounded = draw(tiny.model(), Sampling(steps=4), compute=low)["action"]
    assert rounded.dtype == torch.float32
    error = (rounded - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert 1e-5 < error < 0.02


def test_bad_settings_are_named() -> None:
    for steps in (0, 10**9):
        with pytest.raises(UserError, match="between 1 and 1000"):
            Sampling(steps=steps)
    with pytest.raises(UserError, match="noise or zeros"):
        Sampling(start="ones")  # type: ignore[arg-type]


class Gaussian(WorldModel):
    """Predicts the mean of clean data given noisy data, for data from N(2, 0.5 I)."""

    MEAN, VARIANCE = 2.0, 0.5

    def forward(self, batch: Batch, **_: object) -> Output:
        tokens = batch["action"]
        tau = tokens.tau.unsqueeze(-1)
        spread = (1 - tau).square() * self.VARIANCE + tau.square()
        gain = (1 - tau) * self.VARIANCE / spread
        clean = self.MEAN + gain * (tokens.values - (1 - tau) * self.MEAN)
        return Output({"action": clean}, {}, None)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_samples_have_the_moments_of_the_data(shift: float) -> None:
    model = Gaussian(tiny.MODALITIES, tiny.CONFIG, tiny.generator())
    batch = tiny.batch(2000)
    found = sample(
        model, {"text": batch["text"]}, {"action": batch["action"].position},
        Sampling(steps=100, shift=shift), tiny.generator(1),
    )["action"]  # fmt: skip
    assert found.mean().item() == pytest.approx(2.0, abs=0.01)
    assert found.var().item() == pytest.approx(0.5, rel=0.05)
    skewness = ((found - found.mean()) / found.std()).pow(3).mean()
    assert abs(skewness.item()) < 0.05


@pytest.mark.parametrize("unknown", [("action",), ("video",), ("video", "action")])
@pytest.mark.parametrize("config", [tiny.CONFIG, tiny.FLUX], ids=["nano", "paper"])
@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_conditions_that_see_nothing_else_run_once_for_all_steps(
    config: ModelConfig,
    unknown: tuple[str, ...],
    guidance: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny.model(config=dataclasses.replace(config, conditions="conditions"))
    tokens: list[int] = []
    model.trunk.register_forward_pre_hook(lambda _, given: tokens.append(given[0].shape[1]))
    sampling = Sampling(steps=3, guidance=guidance)
    once = draw(model, sampling, unknown)
    assert tokens == [10, 10, 10, 10]  # text 5, frame 4, state 1; then video 4 and actions 6
    monkeypatch.setattr(WorldModel, "remember", lambda _, known: (None, known))
    every_time = draw(model, sampling, unknown)
    assert tokens[4:] == [20, 20, 20]
    for name, values in once.items():
        torch.testing.assert_close(values, every_time[name], rtol=1e-4, atol=1e-5)
