"""The straight path from data to noise, and what the network predicts on it.

`x_t = (1 - t) x0 + t x1` with data x0 and noise x1 ~ N(0, I); t = 1 is noise, t = 0 is data; the
velocity is `v = x1 - x0` (Self-Flow, Eq. 1-2).
"""

from typing import Literal

from torch import Tensor

Prediction = Literal["x", "v"]
"""What the network's output means: the clean data x0 or the velocity v."""

SMALLEST_TIME = 0.05
"""Times below it count as this one where a loss in velocity divides by the time (JiT, Sec. 4)."""


def interpolate(x0: Tensor, x1: Tensor, tau: Tensor) -> Tensor:
    """Return `x_tau` `(b, n, c)`; `tau` `(b, n)` holds one time per token."""
    return x0.lerp(x1, tau.unsqueeze(-1))


def velocity_error(output: Tensor, x0: Tensor, x1: Tensor, tau: Tensor, kind: Prediction) -> Tensor:
    """Return the squared error on the velocity, `(b, n, c)`, each token against its own target.

    For `kind="x"` the velocities of output and target are `(x_tau - x) / tau`, so that their
    difference is `(x0 - output) / tau`.
    """
    if kind == "v":
        return (output - (x1 - x0)).square()
    return ((output - x0) / tau.clamp(min=SMALLEST_TIME).unsqueeze(-1)).square()


def velocity(output: Tensor, x_t: Tensor, t: float, kind: Prediction) -> Tensor:
    """Return the velocity at time t > 0 that the network's output stands for."""
    return output if kind == "v" else (x_t - output) / t
