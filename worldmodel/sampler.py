"""Sampling: integrate the velocity from noise (t = 1) to data (t = 0)."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from experiment.errors import UserError
from worldmodel.device import CPU, Compute
from worldmodel.model import Batch, Tokens, WorldModel, samples_in
from worldmodel.path import velocity
from worldmodel.schedule import timeshift

State = dict[str, Tensor]

LARGEST_STEPS = 1000
"""More Euler steps than this are a slip: the paper takes 50."""


@dataclass(frozen=True)
class Sampling:
    """`steps` Euler steps on the uniform grid shifted by `shift`, from noise or from zeros.

    Zeros make the result a function of the input alone: near the mean of what was learned.
    """

    steps: int = 10
    shift: float = 1.0
    start: Literal["noise", "zeros"] = "noise"

    def __post_init__(self) -> None:
        if not (1 <= self.steps <= LARGEST_STEPS and self.shift > 0):
            raise UserError(
                f"sampling: steps={self.steps} must lie between 1 and {LARGEST_STEPS}, "
                f"shift={self.shift} must be positive."
            )
        if self.start not in ("noise", "zeros"):
            raise UserError(f"sampling.start={self.start!r} must be noise or zeros.")


def grid(steps: int, shift: float) -> list[float]:
    """Return the `steps + 1` times from 1 to 0 (Self-Flow, App. A.2)."""
    return [timeshift(1.0 - i / steps, shift) for i in range(steps + 1)]


def integrate(field: Callable[[State, float], State], state: State, times: list[float]) -> State:
    """Follow `field` from `times[0]` to `times[-1]` by Euler steps."""
    for now, later in itertools.pairwise(times):
        slope = field(state, now)
        state = {name: x + (later - now) * slope[name] for name, x in state.items()}
    return state


@torch.no_grad()
def sample(
    model: WorldModel,
    known: Batch,
    unknown: Mapping[str, Tensor],
    sampling: Sampling,
    generator: torch.Generator,
    compute: Compute = CPU,
) -> State:
    """Denoise the `unknown` modalities, given the `known` ones; return `(b, n, c)` by modality.

    `unknown` maps a predicted modality to the positions `(1 or b, n, 3)` of its tokens. Known
    tokens keep the times they carry (0: clean). The same call is a policy (actions unknown), a
    world model (video unknown, actions known) and an inverse dynamics model (the reverse). Products
    run in the precision of `compute`, the integration in float32.
    """
    batch, device = samples_in(known), compute.device

    def start(name: str, position: Tensor) -> Tensor:
        shape = (batch, position.shape[1], model.modalities[name].channels)
        if sampling.start == "zeros":
            return torch.zeros(shape, device=device)
        return torch.randn(shape, generator=generator, device=generator.device).to(device)

    def field(state: State, t: float) -> State:
        tokens = dict(known)
        for name, x in state.items():
            tokens[name] = Tokens.at(x, x.new_full((batch,), t), unknown[name])
        with compute.autocast():
            output = model(tokens).prediction
        kind = model.config.prediction
        return {name: velocity(output[name], x, t, kind) for name, x in state.items()}

    noise = {name: start(name, position) for name, position in unknown.items()}
    return integrate(field, noise, grid(sampling.steps, sampling.shift))
