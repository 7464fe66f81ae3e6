"""Masks of tokens, tubes and frames: who shares a number, and that marginals stay p(t)."""

import pytest
import torch

from tests.worldmodel import tiny
from worldmodel.corruption import corrupt
from worldmodel.masks import MASKS, leaders
from worldmodel.objective import Objective
from worldmodel.schedule import TimestepDensity
from worldmodel.tokens import Tokens

TIMES, ROWS, COLUMNS = 3, 2, 2
TOKENS = TIMES * ROWS * COLUMNS
POSITION = torch.stack(
    torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in (TIMES, ROWS, COLUMNS)),
    indexing="ij"), -1,
).view(1, TOKENS, 3)  # fmt: skip


def drawn(kind: str, samples: int = 400) -> torch.Tensor:
    """Return which tokens have the second time, bool `(b, t, h w)`."""
    video = Tokens.clean(torch.zeros(samples, TOKENS, 24), POSITION)
    modalities = tiny.model().modalities
    settings = Objective(arm="dual_timestep", mask_ratio=0.3, mask=kind)  # type: ignore[arg-type]
    seen = corrupt({"video": video}, modalities, settings, tiny.generator())
    return seen.student["video"].index.view(samples, TIMES, ROWS * COLUMNS).bool()


def test_a_tube_is_one_place_through_time() -> None:
    masked = drawn("tubes")
    assert torch.equal(masked, masked[:, :1].expand_as(masked))
    share = masked[:, 0].float().mean(0)
    assert ((share - 0.3).abs() < 0.08).all()
    assert (masked[:, 0, 0] != masked[:, 0, 1]).any()


def test_a_frame_is_one_time_in_every_place() -> None:
    masked = drawn("frames")
    assert torch.equal(masked, masked[:, :, :1].expand_as(masked))
    assert (masked[:, 0] != masked[:, 1]).any()


def test_tokens_are_masked_one_by_one() -> None:
    masked = drawn("tokens")
    assert (masked != masked[:, :1]).any()
    assert (masked != masked[:, :, :1]).any()


def test_actions_are_one_tube_and_one_frame_each() -> None:
    chunk = torch.tensor([[[float(step), -1.0, -1.0] for step in range(6)]])
    joined = torch.cat([POSITION, chunk], 1)
    tubes, frames = leaders("tubes", joined), leaders("frames", joined)
    assert tubes is not None
    assert frames is not None
    assert tubes[0, TOKENS:].tolist() == [TOKENS] * 6
    # Steps 0 to 2 are the times of frames, 3 to 5 are not.
    assert frames[0, TOKENS:].tolist() == [0, 4, 8, TOKENS + 3, TOKENS + 4, TOKENS + 5]


@pytest.mark.parametrize("kind", MASKS)
def test_every_token_keeps_the_marginal_density(kind: str) -> None:
    density, samples = TimestepDensity(), 20_000
    video = Tokens.clean(torch.zeros(samples, TOKENS, 1), POSITION)
    modalities = tiny.model().modalities
    settings = Objective(arm="self_flow", mask_ratio=0.5, mask=kind)  # type: ignore[arg-type]
    tau = corrupt({"video": video}, modalities, settings, tiny.generator(1)).student["video"].tau
    at = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
    wanted = density.sample(100_000, tiny.generator(2)).quantile(at)
    for token in (0, 5, TOKENS - 1):
        assert (tau[:, token].quantile(at) - wanted).abs().max() < 0.02
