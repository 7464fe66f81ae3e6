"""Which time each token gets: the density p(t), the timeshift and the dual-timestep draw."""

from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor

from experiment.errors import UserError, nearest

Arm = Literal["flow_matching", "dual_timestep", "self_flow", "diffusion_forcing", "full_masking"]
"""How tokens share times; `self_flow` draws as `dual_timestep` does (Self-Flow, Sec. 3.3)."""

ARMS: tuple[str, ...] = get_args(Arm)

Time = TypeVar("Time", float, Tensor)


def timeshift(t: Time, shift: float) -> Time:
    """Return `s(a, t) = a t / (1 + (a - 1) t)`: a > 1 moves times towards noise (App. A.2)."""
    return shift * t / (1 + (shift - 1) * t)


@dataclass(frozen=True)
class TimestepDensity:
    """p(t): logit-normal, timeshifted, with a share of the draws uniform near noise (App. A.2, C).

    The defaults are the paper's for video.
    """

    mean: float = 0.0
    std: float = 1.0
    shift: float = 2.95
    tail_share: float = 0.05
    tail_start: float = 0.95

    def __post_init__(self) -> None:
        if self.std <= 0 or self.shift <= 0:
            raise UserError("objective.density: std and shift must be positive.")
        if not (0 <= self.tail_share <= 1 and 0 <= self.tail_start < 1):
            raise UserError("objective.density: tail_share and tail_start must lie in [0, 1).")

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw `(count,)` times."""
        logit = self.mean + self.std * torch.randn(count, generator=generator)
        bulk = timeshift(logit.sigmoid(), self.shift)
        in_tail = torch.rand(count, generator=generator) < self.tail_share
        tail = torch.rand(count, generator=generator)
        return torch.where(in_tail, self.tail_start + (1 - self.tail_start) * tail, bulk)


@dataclass(frozen=True)
class Draw:
    """Times of one batch: `tau` `(b, n)` per token, `tau_min` `(b,)` the teacher's."""

    tau: Tensor
    tau_min: Tensor


def draw(
    arm: str,
    density: TimestepDensity,
    mask_ratio: float,
    batch: int,
    tokens: int,
    generator: torch.Generator,
) -> Draw:
    """Draw the times of `batch` sequences of `tokens` tokens (Self-Flow, Eq. 4-5).

    All arms but `diffusion_forcing` take the same numbers from the generator, so that two arms
    differ in nothing but the rule. Every token's marginal density is p(t), except for
    `full_masking`, which puts the masked tokens at pure noise.
    """
    if arm == "diffusion_forcing":
        tau = density.sample(batch * tokens, generator).view(batch, tokens)
        return Draw(tau, tau.amin(1))
    if arm not in ARMS:
        raise UserError(f"objective.arm={arm!r} is unknown.{nearest(arm, ARMS)}")
    t = density.sample(batch, generator)
    s = density.sample(batch, generator)
    masked = torch.rand(batch, tokens, generator=generator) < mask_ratio
    if arm == "flow_matching":
        return Draw(t[:, None].expand(batch, tokens), t)
    if arm == "full_masking":
        return Draw(torch.where(masked, 1.0, t[:, None]), t)
    return Draw(torch.where(masked, s[:, None], t[:, None]), torch.minimum(t, s))
