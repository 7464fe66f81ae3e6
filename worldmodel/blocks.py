"""The blocks of the trunk: attention and SwiGLU over tokens, modulated one by one.

After Self-Flow, App. A.3: double-stream blocks, in which the text has weights of its own, and
single-stream ones, with attention and MLP in turn or side by side.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from worldmodel.embedding import Rotation, UnitRotated

_EPSILON = 1e-6


class Recall:
    """The keys and values `(b, n, h, c)` that some tokens had in a block, for later ones to read.

    What is joined first is kept, and put before everything that is joined afterwards.
    """

    def __init__(self) -> None:
        self._kept: tuple[Tensor, Tensor] | None = None

    def join(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if self._kept is None:
            self._kept = k, v
            return self._kept
        return torch.cat([self._kept[0], k], 1), torch.cat([self._kept[1], v], 1)


class Stream(nn.Module):
    """The weights with which a block reads its tokens: attention's projections and a SwiGLU."""

    def __init__(self, width: int, heads: int, hidden: int, *, biases: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.query_scale = nn.Parameter(torch.ones(width // heads))
        self.key_scale = nn.Parameter(torch.ones(width // heads))
        self.attended = nn.Linear(width, width, bias=biases)
        self.gate_and_value = nn.Linear(width, 2 * hidden, bias=biases)
        self.down = nn.Linear(hidden, width, bias=biases)

    def heads_of(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values `(b, n, h, c)`."""
        qkv = rearrange(self.qkv(x), "b n (s h c) -> b n s h c", s=3, h=self.heads)
        v = qkv[:, :, 2]
        scale = torch.stack([self.query_scale, self.key_scale]).unsqueeze(1)
        cos, sin = (part.unsqueeze(2) for part in rotation)
        q, k = UnitRotated.apply(qkv[:, :, :2], scale, cos, sin).to(v.dtype).unbind(2)
        return q, k, v

    def mlp(self, x: Tensor) -> Tensor:
        gate, value = self.gate_and_value(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


class SingleStream(Stream):
    """Attention and SwiGLU over `(b, n, d)`, each modulated per token."""

    def forward(
        self,
        x: Tensor,
        modulation: Sequence[Tensor],
        rotation: Rotation,
        seen: Tensor | None,
        recall: Recall | None = None,
    ) -> Tensor:
        """Return `(b, n, d)`; `modulation` is shift, scale, gate of both halves."""
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation
        heads = attend(*self.heads_of(modulate(x, shift1, scale1), rotation), seen, recall)
        x = torch.addcmul(x, gate1, self.attended(heads))
        return torch.addcmul(x, gate2, self.mlp(modulate(x, shift2, scale2)))


class ParallelSingleStream(Stream):
    """Attention and SwiGLU side by side, of the same input and added together (FLUX)."""

    def forward(
        self,
        x: Tensor,
        modulation: Sequence[Tensor],
        rotation: Rotation,
        seen: Tensor | None,
        recall: Recall | None = None,
    ) -> Tensor:
        """Return `(b, n, d)`; `modulation` is one shift, scale and gate."""
        shift, scale, gate = modulation
        inner = modulate(x, shift, scale)
        heads = attend(*self.heads_of(inner, rotation), seen, recall)
        return torch.addcmul(x, gate, self.attended(heads) + self.mlp(inner))


class DoubleStream(nn.Module):
    """Text and all other tokens, each with weights of its own, attend to each other jointly."""

    def __init__(self, width: int, heads: int, hidden: int, *, biases: bool) -> None:
        super().__init__()
        self.text = Stream(width, heads, hidden, biases=biases)
        self.other = Stream(width, heads, hidden, biases=biases)

    def forward(
        self,
        x: Tensor,
        modulation: Sequence[Tensor],
        rotation: Rotation,
        seen: Tensor | None,
        recall: Recall | None = None,
    ) -> Tensor:
        """Return `(b, n, d)`, the text first.

        `modulation` is shift, scale, gate of both halves, for the text and then for the others.
        """
        count = modulation[0].shape[1]
        streams = (self.text, self.other)
        parts = (x[:, :count], x[:, count:])
        turns = [(cos[:, :count], cos[:, count:]) for cos in rotation]
        own = (modulation[:6], modulation[6:])
        projected = [
            stream.heads_of(modulate(part, shift, scale), turn)
            for stream, part, (shift, scale, *_), turn in zip(
                streams, parts, own, zip(*turns, strict=True), strict=True
            )
        ]
        q, k, v = (torch.cat(both, 1) for both in zip(*projected, strict=True))
        heads = attend(q, k, v, seen, recall)
        done = []
        for stream, part, attended, (_, _, gate1, shift2, scale2, gate2) in zip(
            streams, parts, (heads[:, :count], heads[:, count:]), own, strict=True
        ):
            part = torch.addcmul(part, gate1, stream.attended(attended))
            done.append(torch.addcmul(part, gate2, stream.mlp(modulate(part, shift2, scale2))))
        return torch.cat(done, 1)


def attend(
    q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None, recall: Recall | None = None
) -> Tensor:
    """Return what `(b, n, h, c)` queries read, `(b, n, d)`.

    `seen` bool `(n, n)` says which tokens (columns) each query (row) reads, None for all. Tokens of
    `recall` are read as well.
    """
    if recall is not None:
        k, v = recall.join(k, v)
    q, k, v = (heads.transpose(1, 2) for heads in (q, k, v))
    if q.device.type == "cpu":
        # On the CPU the backward pass of attention is three times slower in bfloat16.
        with torch.autocast("cpu", enabled=False):
            heads = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), seen)
    else:
        heads = F.scaled_dot_product_attention(q, k, v, seen)
    return rearrange(heads, "b h n c -> b n (h c)")


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalise `x` `(b, n, d)` over its channels, then scale and shift it per token."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=_EPSILON), scale)
