"""Muon: momentum made orthogonal, for the matrices of a transformer's blocks.

Keller Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon); scaled so that AdamW's
learning rates fit, as in arXiv 2502.16982. `torch.optim.Muon` computes in bfloat16, which a CPU
without such products does twenty times more slowly, and takes no other weights beside it.
"""

from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
STEPS, COEFFICIENTS = 5, (3.4445, -4.775, 2.0315)
"""Newton-Schulz iterations and their quintic polynomial, chosen in the post above."""
SCALE = 0.2
"""Root mean square of an update at a learning rate of one: about what AdamW's is."""


class Muon(torch.optim.AdamW):
    """AdamW, but for groups with `orthogonal` set: all their weights are matrices."""

    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float]) -> None:
        for group in groups:
            group.setdefault("orthogonal", False)
        super().__init__(groups, betas=betas, fused=True)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        groups = self.param_groups
        self.param_groups = [g for g in groups if not g["orthogonal"]]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["orthogonal"]:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._step(weight, weight.grad, group["lr"], group["weight_decay"])
        return loss

    def _step(self, weight: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[weight]
        if not state:
            # AdamW looks for it in every state that it is given.
            state["step"] = torch.zeros(())
            state["momentum"] = torch.zeros_like(weight)
        state["step"] += 1
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        update = orthogonal(torch.lerp(gradient, momentum, MOMENTUM))
        weight.mul_(1 - rate * decay)
        weight.add_(update, alpha=-rate * SCALE * max(weight.shape) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """Return about the nearest (semi-)orthogonal matrix.

    Its singular values lie between 0.7 and 1.2, but for those that were a thousandth of the norm.
    """
    first, third, fifth = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.mT if tall else matrix
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(STEPS):
        product = wide @ wide.mT
        wide = first * wide + (third * product + fifth * product @ product) @ wide
    return wide.mT if tall else wide
