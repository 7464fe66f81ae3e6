"""The representation loss: what the student's projected features are compared with, and how.

The paper takes the cosine to the teacher's features (Self-Flow, Eq. 6-7). A predictor that knows a
token's position alone can score high on it, so every figure here comes with that predictor's.
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

Target = Literal["paper", "zscore", "centred", "running", "layernorm", "relations"]
"""The teacher's features as they are (`paper`), z-scored over the tokens of a sample (iREPA, arXiv
2512.10794), less the mean of their position over the batch (`centred`) or over past batches
(`running`), layer-normalised on both sides (I-JEPA, arXiv 2301.08243), or, instead of features, the
similarities between the tokens of a sample (`relations`, VideoREPA, arXiv 2505.23656)."""

TARGETS: tuple[str, ...] = get_args(Target)

_EPSILON = 1e-6
_RELATED = 512


def representation(
    projected: Tensor,
    target: Tensor,
    kind: Target,
    weight: Tensor | None,
    centre: Tensor | None,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Return `representation`, the term to minimise, and what it is worth.

    Args: `projected`, `target` `(b, n, e)`; `weight` `(b, n)` of the tokens, None for all alike;
    `centre` `(n, e)`, the running mean of `target`; `generator` chooses tokens for `relations`
    where there are many. `cosine` is the mean agreement, `constant_cosine` that of the best
    predictor that knows only the position, `excess_cosine` their difference; for `relations` the
    mean squared errors `relation_error` and `constant_relation_error`.
    """
    projected = projected.float()
    if weight is None:
        weight = projected.new_ones(projected.shape[:2])
    if kind == "relations":
        return _relations(projected, target, weight, generator)
    target = shaped(target, kind, weight, centre)
    if kind == "layernorm":
        projected = F.layer_norm(projected, projected.shape[-1:], eps=_EPSILON)
    cosine = weighted_mean(F.cosine_similarity(projected, target, dim=-1), weight)
    constant = constant_cosine(target, weight)
    return {
        "representation": -cosine,
        "cosine": cosine,
        "constant_cosine": constant,
        "excess_cosine": cosine.detach() - constant,
    }


@torch.no_grad()
def shaped(target: Tensor, kind: Target, weight: Tensor, centre: Tensor | None) -> Tensor:
    """Return the target `(b, n, e)` in the geometry `kind`."""
    if kind == "zscore":
        mean = _mean_over(target, weight, 1)
        variance = _mean_over((target - mean).square(), weight, 1)
        return (target - mean) * (variance + _EPSILON).rsqrt()
    if kind == "centred":
        return target - _mean_over(target, weight, 0)
    if kind == "running" and centre is not None:
        return target - centre
    if kind == "layernorm":
        return F.layer_norm(target, target.shape[-1:], eps=_EPSILON)
    return target


@torch.no_grad()
def constant_cosine(target: Tensor, weight: Tensor) -> Tensor:
    """Return the cosine of the best predictor that gives each position one vector, a scalar.

    It is the length of the mean direction, estimated from pairs of different samples so that a
    small batch does not flatter it; 0 for a batch of one, which cannot tell.
    """
    unit = F.normalize(target.float(), dim=-1)
    whole = (unit * weight.unsqueeze(-1)).sum(0)
    own, count = weight.square().sum(0), weight.sum(0)
    pairs = count.square() - own
    squared = (whole.square().sum(-1) - own) / pairs.clamp(min=_EPSILON)
    return weighted_mean(squared.clamp(min=0).sqrt(), (pairs > 0).float())


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp(min=1.0)


def _mean_over(values: Tensor, weight: Tensor, dim: int) -> Tensor:
    weight = weight.unsqueeze(-1)
    return (values * weight).sum(dim, keepdim=True) / weight.sum(dim, keepdim=True).clamp(min=1.0)


def _relations(
    projected: Tensor, target: Tensor, weight: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Compare the similarities of all pairs of at most 512 tokens, drawn for the whole batch.

    Features are centred over the tokens of a sample first: what all tokens have in common makes all
    pairs alike.
    """
    count = projected.shape[1]
    if count > _RELATED:
        order = torch.randperm(count, generator=generator, device=generator.device)
        chosen = order[:_RELATED].to(projected.device)
        projected, target, weight = projected[:, chosen], target[:, chosen], weight[:, chosen]
    student, teacher = _similarities(projected, weight), _similarities(target.float(), weight)
    pairs = weight.unsqueeze(2) * weight.unsqueeze(1)
    error = weighted_mean((student - teacher).square(), pairs)
    mean = (teacher * pairs).sum(0) / pairs.sum(0).clamp(min=1.0)
    constant = weighted_mean((teacher - mean).square(), pairs).detach()
    return {
        "representation": error,
        "relation_error": error,
        "constant_relation_error": constant,
    }


def _similarities(features: Tensor, weight: Tensor) -> Tensor:
    unit = F.normalize(features - _mean_over(features, weight, 1), dim=-1)
    return unit @ unit.transpose(1, 2)
