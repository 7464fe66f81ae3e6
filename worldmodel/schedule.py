"""Which time each token gets: the density p(t), the timeshift and the dual-timestep draw."""

from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor

from experiment.errors import UserError, nearest
from experiment.seeding import normal, uniform

Arm = Literal[
    "flow_matching",
    "dual_timestep",
    "self_flow",
    "sra",
    "repa",
    "diffusion_forcing",
    "full_masking",
]
"""How tokens share times, and what else is learned.

`self_flow` draws as `dual_timestep` does (Self-Flow, Sec. 3.3), `sra` and `repa` as
`flow_matching`; these three have a representation loss.
"""

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
        """Draw `(count,)` times on the generator's device."""
        logit = self.mean + self.std * normal(generator, count)
        bulk = timeshift(logit.sigmoid(), self.shift)
        in_tail = uniform(generator, count) < self.tail_share
        tail = uniform(generator, count)
        return torch.where(in_tail, self.tail_start + (1 - self.tail_start) * tail, bulk)


@dataclass(frozen=True)
class Draw:
    """Times of one batch, on the generator's device.

    `levels` `(b, k)` are the times of a sample, `index` int64 `(b, n)` says which of them a token
    has; `lowest` `(b,)` is the teacher's time.
    """

    levels: Tensor
    index: Tensor
    lowest: Tensor

    @property
    def tau(self) -> Tensor:
        """The time of each token, `(b, n)`."""
        return self.levels.gather(1, self.index)


def draw(
    arm: str,
    density: TimestepDensity,
    mask_ratio: float,
    batch: int,
    tokens: int,
    generator: torch.Generator,
    leader: Tensor | None = None,
    gap: float = 0.2,
) -> Draw:
    """Draw the times of `batch` sequences of `tokens` tokens (Self-Flow, Eq. 4-5).

    `leader` `(b or 1, n)` says whose random number a token takes for the mask, see
    `worldmodel.masks`. With `sra` the teacher's time is t - U(0, `gap`), at least 0 (SRA,
    arXiv 2505.02831). All arms but `diffusion_forcing` take the same numbers from the generator and
    have two levels, so that two arms differ in nothing but the rule. Every token's marginal density
    is p(t), except for `full_masking`, which puts the masked tokens at pure noise.
    """
    if arm == "diffusion_forcing":
        levels = density.sample(batch * tokens, generator).view(batch, tokens)
        index = torch.arange(tokens, device=generator.device).expand(batch, tokens)
        return Draw(levels, index, levels.amin(1))
    if arm not in ARMS:
        raise UserError(f"objective.arm={arm!r} is unknown.{nearest(arm, ARMS)}")
    t = density.sample(batch, generator)
    s = density.sample(batch, generator)
    chance = uniform(generator, batch, tokens)
    if leader is not None:
        chance = chance.gather(1, leader.expand(batch, -1))
    masked = (chance < mask_ratio).long()
    if arm in ("flow_matching", "sra", "repa"):
        # Nothing is masked here, so the number of the first token is free.
        lowest = (t - gap * chance[:, 0]).clamp(min=0) if arm == "sra" else t
        return Draw(torch.stack([t, s], 1), torch.zeros_like(masked), lowest)
    if arm == "full_masking":
        return Draw(torch.stack([t, torch.ones_like(t)], 1), masked, t)
    return Draw(torch.stack([t, s], 1), masked, torch.minimum(t, s))
