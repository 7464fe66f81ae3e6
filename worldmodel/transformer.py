"""The trunk: a diffusion transformer conditioned on one timestep per token.

After Self-Flow, App. A.3 (FLUX.2 style): double-stream blocks, in which the text has weights of its
own, then single-stream blocks; modulation shared by all blocks, SwiGLU, bias on qkv, rotary
positions over three axes (time, height, width), normalised queries and keys. Under autocast the
products run in the low precision; angles, norms, modulation and the residual stream stay in
float32.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import (
    checkpoint,
    create_selective_checkpoint_contexts,
    noop_context_fn,
)

from worldmodel.embedding import PositionEmbedding, Rotary, Rotation, Timestep, UnitRotated

_EPSILON = 1e-6

Checkpointing = Literal["none", "selective", "blocks"]
"""What the backward pass computes again: nothing, all but products and attention, or all."""

_aten = torch.ops.aten
_KEPT = [
    _aten.mm.default,
    _aten.addmm.default,
    _aten._scaled_dot_product_flash_attention.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
    _aten._scaled_dot_product_efficient_attention.default,
    _aten._scaled_dot_product_cudnn_attention.default,
]


@dataclass(frozen=True)
class Modulation:
    """What each token's time does to it; every entry is `(b, n, d)` float32.

    `double` are the six of the text followed by the six of the other tokens, `single` those of a
    single-stream block, `final` shift and scale of the output. Two are None where no block needs
    them.
    """

    double: Sequence[Tensor] | None
    single: Sequence[Tensor] | None
    final: Sequence[Tensor]


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


class Transformer(nn.Module):
    """Token embeddings `(b, n, d)` with times and positions `(b, n, 3)` -> `(b, n, d)`, float32.

    The times of a sample are few: `levels` `(b, k)` holds them, `index` `(b, n)` says which of them
    a token has. The first `double` of the `depth` blocks are double-stream, the others
    single-stream, or `parallel` ones. `checkpointing` may be set at any time: it changes memory and
    time, not what is computed.
    """

    ones: Tensor
    checkpointing: Checkpointing = "none"

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        hidden: int,
        *,
        double: int = 0,
        parallel: bool = False,
        biases: bool = True,
        equal_axes: bool = False,
    ) -> None:
        """`hidden` is SwiGLU's; `biases` are those of all layers of a block, not of qkv alone."""
        super().__init__()
        kind = ParallelSingleStream if parallel else SingleStream
        single = 0 if double == depth else 3 if parallel else 6
        # In the modulation's output: single-stream blocks, output, text and others in double ones.
        self.parts = (single, 2, 6, 6) if double else (single, 2)
        self.double_stream = double
        self.place = PositionEmbedding(width)
        self.timestep = Timestep(width)
        self.modulation = nn.Linear(width, sum(self.parts) * width)
        self.rotary = Rotary(width // heads, equal=equal_axes)
        blocks = [DoubleStream(width, heads, hidden, biases=biases) for _ in range(double)]
        more = [kind(width, heads, hidden, biases=biases) for _ in range(depth - double)]
        self.blocks = nn.ModuleList([*blocks, *more])
        # The layer's output is added to these: 1 for scales, 0 for shifts and gates.
        of_parts = [0.0, 1, 0] * (single // 3) + [0.0, 1] + [0.0, 1, 0] * (4 if double else 0)
        ones = torch.tensor(of_parts).repeat_interleave(width)
        self.register_buffer("ones", ones, persistent=False)

    def forward(
        self,
        x: Tensor,
        levels: Tensor,
        index: Tensor,
        position: Tensor,
        capture: Sequence[int] = (),
        stop: int | None = None,
        text: int = 0,
        seen: Tensor | None = None,
        recall: Sequence[Recall] | None = None,
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Return the output and the features after the layers in `capture` (1 is the first block).

        The first `text` tokens are the text; `seen` and, one a block, `recall` are as in `attend`.
        With `stop` only that many blocks run and the output is the last one's, not normalised.
        """
        modulation = self.modulations(levels, index, text)
        rotation = self.rotary(position)
        x = x.float() + self.place(position).float()
        features = {0: x} if 0 in capture else {}
        for layer, block in enumerate(self.blocks[:stop], start=1):
            parts = modulation.double if layer <= self.double_stream else modulation.single
            own = None if recall is None else recall[layer - 1]
            x = self._applied(block, x, parts, rotation, seen, own)
            if layer in capture:
                features[layer] = x
        return (x if stop is not None else modulate(x, *modulation.final)), features

    def _applied(self, block: nn.Module, *given: Any) -> Tensor:
        if self.checkpointing == "none" or not torch.is_grad_enabled():
            return block(*given)
        contexts = noop_context_fn
        if self.checkpointing == "selective":
            contexts = functools.partial(create_selective_checkpoint_contexts, _KEPT)
        # Nothing in a block is random.
        return checkpoint(
            block, *given, use_reentrant=False, preserve_rng_state=False, context_fn=contexts
        )

    def modulations(self, levels: Tensor, index: Tensor, text: int = 0) -> Modulation:
        """Return the shifts, scales and gates of each token."""
        # The layers run once for each time of a sample, and tokens look their row up.
        rows = self.modulation(self.timestep(levels)).float() + self.ones
        first = torch.arange(len(levels), device=index.device)[:, None] * levels.shape[1]
        index = index + first
        width = rows.shape[-1] // sum(self.parts)

        def of_tokens(index: Tensor, rows: Tensor) -> Sequence[Tensor]:
            return F.embedding(index, rows.flatten(0, 1)).chunk(rows.shape[-1] // width, dim=-1)

        if not self.double_stream:
            *single, shift, scale = of_tokens(index, rows)
            return Modulation(None, single, (shift, scale))
        common, own, other = rows.split([width * (sum(self.parts) - 12), 6 * width, 6 * width], -1)
        *single, shift, scale = of_tokens(index, common)
        double = [*of_tokens(index[:, :text], own), *of_tokens(index[:, text:], other)]
        return Modulation(double, single or None, (shift, scale))
