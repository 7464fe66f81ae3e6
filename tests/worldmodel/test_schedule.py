"""The schedule: timeshift identities, marginals of the draws."""

import math

import pytest
import torch

from experiment.errors import UserError
from tests.worldmodel.tiny import generator
from worldmodel.schedule import ARMS, TimestepDensity, draw, timeshift

PLAIN = TimestepDensity(shift=1.0, tail_share=0.0)


def quantiles(values: torch.Tensor) -> torch.Tensor:
    return values.flatten().quantile(torch.linspace(0.02, 0.98, 33))


def test_timeshift_keeps_the_ends_and_composes() -> None:
    t = torch.linspace(0, 1, 11)
    assert timeshift(0.0, 7.0) == 0.0
    assert timeshift(1.0, 7.0) == 1.0
    torch.testing.assert_close(timeshift(t, 1.0), t)
    torch.testing.assert_close(timeshift(timeshift(t, 2.0), 3.0), timeshift(t, 6.0))
    torch.testing.assert_close(timeshift(timeshift(t, 5.0), 1 / 5.0), t)


def test_shifted_logit_normal_is_a_logit_normal_with_another_mean() -> None:
    shifted = TimestepDensity(mean=0.3, std=0.8, shift=2.95, tail_share=0.0)
    moved = TimestepDensity(mean=0.3 + math.log(2.95), std=0.8, shift=1.0, tail_share=0.0)
    torch.testing.assert_close(
        shifted.sample(1000, generator()), moved.sample(1000, generator()), atol=1e-6, rtol=1e-5
    )


def test_the_tail_takes_its_share() -> None:
    density = TimestepDensity(mean=-4.0, std=0.1, shift=1.0, tail_share=0.25, tail_start=0.9)
    t = density.sample(20_000, generator())
    assert ((t >= 0.9).float().mean() - 0.25).abs() < 0.02
    assert abs(t[t >= 0.9].mean().item() - 0.95) < 0.005


@pytest.mark.parametrize(
    "arm", ["flow_matching", "dual_timestep", "self_flow", "diffusion_forcing"]
)
@pytest.mark.parametrize("ratio", [0.1, 0.5])
def test_every_token_keeps_the_marginal_density(arm: str, ratio: float) -> None:
    density = TimestepDensity()
    tau = draw(arm, density, ratio, 20_000, 4, generator(1)).tau
    wanted = quantiles(density.sample(100_000, generator(2)))
    for token in range(4):
        assert (quantiles(tau[:, token]) - wanted).abs().max() < 0.02


def test_dual_timestep_gives_two_times_a_sample_and_the_teacher_the_smaller() -> None:
    drawn = draw("dual_timestep", PLAIN, 0.3, 500, 64, generator())
    for tau, smallest in zip(drawn.tau, drawn.lowest, strict=True):
        times = tau.unique()
        assert len(times) <= 2
        assert smallest <= times.min()
    first = draw("flow_matching", PLAIN, 0.3, 500, 64, generator()).tau
    share = (drawn.tau != first).float().mean()
    assert abs(share.item() - 0.3) < 0.02


def test_flow_matching_gives_all_tokens_of_a_sample_one_time() -> None:
    drawn = draw("flow_matching", PLAIN, 0.5, 50, 16, generator())
    assert torch.equal(drawn.tau, drawn.tau[:, :1].expand(50, 16))
    assert len(drawn.tau[:, 0].unique()) == 50


def test_dual_timestep_without_a_mask_is_flow_matching() -> None:
    dual = draw("dual_timestep", PLAIN, 0.0, 50, 16, generator())
    plain = draw("flow_matching", PLAIN, 0.0, 50, 16, generator())
    assert torch.equal(dual.tau, plain.tau)


def test_full_masking_puts_the_masked_tokens_at_noise() -> None:
    tau = draw("full_masking", PLAIN, 0.3, 200, 32, generator()).tau
    plain = draw("flow_matching", PLAIN, 0.3, 200, 32, generator()).tau
    masked = tau != plain
    assert abs(masked.float().mean().item() - 0.3) < 0.03
    assert (tau[masked] == 1).all()


def test_arms_take_the_same_numbers_from_the_generator() -> None:
    after = set()
    for arm in set(ARMS) - {"diffusion_forcing"}:
        g = generator()
        draw(arm, PLAIN, 0.2, 8, 4, g)
        after.add(torch.rand((), generator=g).item())
    assert len(after) == 1


@pytest.mark.parametrize("arm", ARMS)
def test_every_token_has_one_of_its_samples_few_levels(arm: str) -> None:
    drawn = draw(arm, PLAIN, 0.3, 5, 16, generator())
    assert drawn.levels.shape == (5, 16 if arm == "diffusion_forcing" else 2)
    assert (drawn.index.shape, drawn.index.dtype) == ((5, 16), torch.int64)
    for sample in range(5):
        assert set(drawn.tau[sample].tolist()) <= set(drawn.levels[sample].tolist())


def test_an_unknown_arm_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'self_flow'"):
        draw("selfflow", PLAIN, 0.1, 2, 2, generator())
    with pytest.raises(UserError, match="must be positive"):
        TimestepDensity(std=0.0)
