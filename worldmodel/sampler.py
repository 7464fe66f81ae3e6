"""Sampling: integrate the velocity from noise (t = 1) to data (t = 0)."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from experiment.errors import UserError
from worldmodel.device import CPU, Compute
from worldmodel.model import WorldModel
from worldmodel.path import velocity
from worldmodel.schedule import timeshift
from worldmodel.tokens import Batch, Tokens, samples_in

State = dict[str, Tensor]

Randomness = torch.Generator | Sequence[torch.Generator]
"""One generator for all samples, or one for each: then its noise is that of a batch of one."""

_LARGEST_GUIDANCE = 100.0

LARGEST_STEPS = 1000
"""More Euler steps than this are a slip: the paper takes 50."""


@dataclass(frozen=True)
class Sampling:
    """`steps` Euler steps on the uniform grid shifted by `shift`, from noise or from zeros.

    Zeros make the result a function of the input alone: near the mean of what was learned.
    `guidance` g follows `v(null) + g (v(text) - v(null))` (classifier-free guidance,
    arXiv 2207.12598), where null is the empty instruction: 1 is none, and costs no second pass.
    The model must have learned with `objective.text_dropout`.
    """

    steps: int = 10
    shift: float = 1.0
    start: Literal["noise", "zeros"] = "noise"
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if not (1 <= self.steps <= LARGEST_STEPS and self.shift > 0):
            raise UserError(
                f"sampling: steps={self.steps} must lie between 1 and {LARGEST_STEPS}, "
                f"shift={self.shift} must be positive."
            )
        if not 0 <= self.guidance <= _LARGEST_GUIDANCE:
            raise UserError(
                f"sampling.guidance={self.guidance} must lie between 0 (without the instruction) "
                f"and {_LARGEST_GUIDANCE}; 1 is none."
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
    generator: Randomness,
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
        if isinstance(generator, torch.Generator):
            return torch.randn(shape, generator=generator, device=generator.device).to(device)
        one = [torch.randn(shape[1:], generator=own, device=own.device) for own in generator]
        return torch.stack(one).to(device)

    guided = sampling.guidance != 1.0
    given = _with_and_without_text(known) if guided else known
    kind = model.config.prediction
    with compute.autocast():
        recall, given = model.remember(given)

    def field(state: State, t: float) -> State:
        tokens = dict(given)
        for name, x in state.items():
            twice = torch.cat([x, x]) if guided else x
            position = unknown[name]
            if guided and len(position) > 1:
                position = torch.cat([position, position])
            tokens[name] = Tokens.at(twice, twice.new_full((len(twice),), t), position)
        with compute.autocast():
            output = model(tokens, recall=recall).prediction
        if not guided:
            return {name: velocity(output[name], x, t, kind) for name, x in state.items()}
        slopes = {}
        for name, x in state.items():
            with_text, without = (velocity(o, x, t, kind) for o in output[name].chunk(2))
            slopes[name] = without + sampling.guidance * (with_text - without)
        return slopes

    noise = {name: start(name, position) for name, position in unknown.items()}
    return integrate(field, noise, grid(sampling.steps, sampling.shift))


def _with_and_without_text(known: Batch) -> Batch:
    """Return every sample twice: as it is, then with the null values of its text."""
    text = known.get("text")
    if text is None or text.null is None:
        raise UserError("sampling.guidance: there is no text to be guided by, set it to 1.")
    doubled = {}
    for name, tokens in known.items():
        other = text.null.expand_as(tokens.values) if name == "text" else tokens.values
        both: dict[str, Tensor | None] = {"values": torch.cat([tokens.values, other])}
        for part in ("levels", "index", "valid"):
            value = getattr(tokens, part)
            both[part] = None if value is None else torch.cat([value, value])
        if len(tokens.position) > 1:
            both["position"] = torch.cat([tokens.position, tokens.position])
        doubled[name] = replace(tokens, **both)  # type: ignore[arg-type]
    return doubled
