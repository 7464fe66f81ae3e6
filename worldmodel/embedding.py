"""What positions and times are to the trunk: rotary and absolute positions, embedded timesteps.

Rotary positions over three axes (time, height, width) and normalised queries and keys as in
Self-Flow, App. A.3. Angles and norms stay in float32 under autocast.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

TIME_FEATURES = 128
POSITION_OCTAVES = 8
POSITION_FEATURES = 6 * POSITION_OCTAVES
_EPSILON = 1e-6

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines of each token's angles, `(b, n, 1, c / 2)`."""


def sinusoids(values: Tensor, frequencies: Tensor) -> Tensor:
    """Return cosines and sines `(..., 2 f)` of `values` `(...)` at `frequencies` `(f,)`."""
    angles = values.unsqueeze(-1) * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def axis_channels(head_width: int, *, equal: bool = False) -> tuple[int, int, int]:
    """Return the rotary channel pairs of time, height and width; their sum is `head_width // 2`.

    `equal` gives each a third (App. A.3: 24 of 72 channels), otherwise time has a quarter. What
    does not divide goes to time.
    """
    pairs = head_width // 2
    space = pairs // 3 if equal else pairs * 3 // 8
    return pairs - 2 * space, space, space


class Rotary(nn.Module):
    """Rotary position embedding over (time, height, width), positions real-valued."""

    frequencies: Tensor
    axis: Tensor

    def __init__(self, head_width: int, longest: float = 100.0, *, equal: bool = False) -> None:
        super().__init__()
        pairs = axis_channels(head_width, equal=equal)
        frequencies = [longest ** (-torch.arange(n) / n) for n in pairs]
        axis = torch.tensor([number for number, count in enumerate(pairs) for _ in range(count)])
        self.register_buffer("frequencies", torch.cat(frequencies), persistent=False)
        self.register_buffer("axis", axis, persistent=False)

    def forward(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines `(b, n, 1, head_width / 2)` of positions `(b, n, 3)`.

        A plain product: autocast would take a matrix product in bfloat16, whose angles are off by
        a quarter of a radian at position 60.
        """
        angles = (position[..., self.axis] * self.frequencies).unsqueeze(2)
        return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn the channel pairs of `x` `(b, n, h, c)` by the angles of `rotation`."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class UnitRotated(torch.autograd.Function):
    """`rotate(rms_norm(x) * scale)` of `x` `(..., h, c)`, by its last dimension, in float32.

    Written out because it is most of what a block does beside its products: autograd would keep
    four times as much and take twice as many passes. Angles take no gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        full = x.float()
        inverse = torch.rsqrt(full.square().mean(-1, keepdim=True) + _EPSILON)
        ctx.save_for_backward(x, inverse, scale, cos, sin)
        return rotate(full * inverse * scale, (cos, sin))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, inverse, scale, cos, sin = ctx.saved_tensors
        grad = rotate(grad, (cos, -sin))
        unit = x.float() * inverse
        along = grad * unit
        of_scale = along.sum_to_size(scale.shape)
        along = (along * scale).mean(-1, keepdim=True)
        of_x = torch.addcmul(grad * scale, unit, along, value=-1.0) * inverse
        return of_x.to(x.dtype), of_scale, None, None


class Timestep(nn.Module):
    """Times `(...)` in [0, 1] -> `(..., width)`."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        octaves = torch.arange(TIME_FEATURES) / TIME_FEATURES
        self.register_buffer("frequencies", 1000.0 * 10_000.0**-octaves, persistent=False)
        self.mlp = nn.Sequential(
            nn.Linear(2 * TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )

    def forward(self, tau: Tensor) -> Tensor:
        return self.mlp(sinusoids(tau, self.frequencies))


class PositionEmbedding(nn.Module):
    """Absolute positions `(b, n, 3)` -> `(b, n, width)`: rotary positions alone are relative."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        frequencies = math.pi * 2.0 ** -torch.arange(POSITION_OCTAVES)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.out = nn.Linear(POSITION_FEATURES, width)

    def forward(self, position: Tensor) -> Tensor:
        return self.out(sinusoids(position, self.frequencies).flatten(-2))
