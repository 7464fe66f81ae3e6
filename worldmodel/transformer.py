"""The trunk: a diffusion transformer conditioned on one timestep per token.

After Self-Flow, App. A.3 (FLUX.2 style): modulation shared by all blocks, SwiGLU, bias on qkv,
rotary positions over three axes (time, height, width), normalised queries and keys. Under autocast
the products run in the low precision; angles, norms, modulation and the residual stream stay in
float32.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

_TIME_FEATURES = 128
_POSITION_OCTAVES = 8
_EPSILON = 1e-6


def sinusoids(values: Tensor, frequencies: Tensor) -> Tensor:
    """Return cosines and sines `(..., 2 f)` of `values` `(...)` at `frequencies` `(f,)`."""
    angles = values.unsqueeze(-1) * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def axis_channels(head_width: int) -> tuple[int, int, int]:
    """Return the rotary channel pairs of time, height and width; their sum is `head_width // 2`."""
    pairs = head_width // 2
    space = pairs * 3 // 8
    return pairs - 2 * space, space, space


class Rotary(nn.Module):
    """Rotary position embedding over (time, height, width), positions real-valued."""

    frequencies: Tensor
    axis: Tensor

    def __init__(self, head_width: int, longest: float = 100.0) -> None:
        super().__init__()
        pairs = axis_channels(head_width)
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


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the channel pairs of `x` `(b, n, h, c)` by the angles of `rotation`."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Timestep(nn.Module):
    """Times `(...)` in [0, 1] -> `(..., width)`."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        octaves = torch.arange(_TIME_FEATURES) / _TIME_FEATURES
        self.register_buffer("frequencies", 1000.0 * 10_000.0**-octaves, persistent=False)
        self.mlp = nn.Sequential(
            nn.Linear(2 * _TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )

    def forward(self, tau: Tensor) -> Tensor:
        return self.mlp(sinusoids(tau, self.frequencies))


class PositionEmbedding(nn.Module):
    """Absolute positions `(b, n, 3)` -> `(b, n, width)`: rotary positions alone are relative."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        frequencies = math.pi * 2.0 ** -torch.arange(_POSITION_OCTAVES)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.out = nn.Linear(6 * _POSITION_OCTAVES, width)

    def forward(self, position: Tensor) -> Tensor:
        return self.out(sinusoids(position, self.frequencies).flatten(-2))


class Block(nn.Module):
    """Attention and SwiGLU over `(b, n, d)`, each modulated per token."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.query_scale = nn.Parameter(torch.ones(width // heads))
        self.key_scale = nn.Parameter(torch.ones(width // heads))
        self.attended = nn.Linear(width, width)
        self.gate_and_value = nn.Linear(width, 2 * hidden)
        self.down = nn.Linear(hidden, width)

    def forward(
        self, x: Tensor, modulation: Sequence[Tensor], rotation: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return `(b, n, d)`; `modulation` is shift, scale, gate of both halves, `(b, n, d)`."""
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation
        x = torch.addcmul(x, gate1, self._attend(modulate(x, shift1, scale1), rotation))
        gate, value = self.gate_and_value(modulate(x, shift2, scale2)).chunk(2, dim=-1)
        return torch.addcmul(x, gate2, self.down(F.silu(gate) * value))

    def _attend(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "b n (s h c) -> s b n h c", s=3, h=self.heads)
        q = rotate(_unit(q) * self.query_scale, rotation).to(v.dtype)
        k = rotate(_unit(k) * self.key_scale, rotation).to(v.dtype)
        q, k, v = (heads.transpose(1, 2) for heads in (q, k, v))
        if x.device.type == "cpu":
            # On the CPU the backward pass of attention is three times slower in bfloat16.
            with torch.autocast("cpu", enabled=False):
                heads = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
        else:
            heads = F.scaled_dot_product_attention(q, k, v)
        return self.attended(rearrange(heads, "b h n c -> b n (h c)"))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalise `x` `(b, n, d)` over its channels, then scale and shift it per token."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=_EPSILON), scale)


def _unit(x: Tensor) -> Tensor:
    return F.rms_norm(x.float(), x.shape[-1:], eps=_EPSILON)


class Transformer(nn.Module):
    """Token embeddings `(b, n, d)` with times and positions `(b, n, 3)` -> `(b, n, d)`, float32.

    The times of a sample are few: `levels` `(b, k)` holds them, `index` `(b, n)` says which of them
    a token has.
    """

    ones: Tensor

    def __init__(self, width: int, depth: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        # Two of SwiGLU's three matrices read the input: 2/3 keeps the cost of a plain MLP.
        hidden = 32 * round(mlp_ratio * width * 2 / 3 / 32)
        self.place = PositionEmbedding(width)
        self.timestep = Timestep(width)
        self.modulation = nn.Linear(width, 8 * width)
        self.rotary = Rotary(width // heads)
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))
        # The layer's output is added to these: 1 for scales, 0 for shifts and gates.
        ones = torch.tensor([0.0, 1, 0, 0, 1, 0, 0, 1]).repeat_interleave(width)
        self.register_buffer("ones", ones, persistent=False)

    def forward(
        self,
        x: Tensor,
        levels: Tensor,
        index: Tensor,
        position: Tensor,
        capture: Sequence[int] = (),
        stop: int | None = None,
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Return the output and the features after the layers in `capture` (1 is the first block).

        With `stop` only that many blocks run and the output is the last one's, not normalised.
        """
        *modulation, shift, scale = self.modulations(levels, index)
        rotation = self.rotary(position)
        x = x.float() + self.place(position).float()
        features = {0: x} if 0 in capture else {}
        for layer, block in enumerate(self.blocks[:stop], start=1):
            x = block(x, modulation, rotation)
            if layer in capture:
                features[layer] = x
        return (x if stop is not None else modulate(x, shift, scale)), features

    def modulations(self, levels: Tensor, index: Tensor) -> Sequence[Tensor]:
        """Return the eight shifts, scales and gates of each token, `(b, n, d)` float32."""
        # The layers run once for each time of a sample, and tokens look their row up.
        rows = self.modulation(self.timestep(levels)).float() + self.ones
        first = torch.arange(len(levels), device=index.device)[:, None] * levels.shape[1]
        return F.embedding(index + first, rows.flatten(0, 1)).chunk(8, dim=-1)
