"""What a planned joint may do, and the search that finds how it does it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# A round cuts the interval into 32 parts at once: 11 rounds reach the end of float64's mantissa.
# On a GPU a round costs what a single bisection would.
ROUNDS = 11
PARTS = 32


@dataclass(frozen=True)
class Limits:
    """What a joint may do: rad/s, rad/s^2, rad/s^3."""

    velocity: float
    acceleration: float
    jerk: float

    def change_time(self, change: Tensor) -> Tensor:
        """Seconds that a change of velocity (rad/s, not negative) takes from rest to rest."""
        full = self.acceleration**2 / self.jerk
        return torch.where(
            change >= full,
            change / self.acceleration + self.acceleration / self.jerk,
            2 * torch.sqrt(change / self.jerk),
        )


def last_below(below: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """The end of where `below` holds, between `low` and `high`, elementwise.

    Args: `below` maps `(k, ...)` to truth values `(k, ...)`; from `low` on it holds up to the value
        that is looked for, and not beyond.
    """
    marks = torch.arange(1, PARTS, device=low.device).to(low).view(-1, *[1] * low.dim())
    width = high - low
    for _ in range(ROUNDS):
        width = width / PARTS
        low = low + below(low + marks * width).sum(0) * width
    return low
