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
from torch import Tensor, nn
from torch.utils.checkpoint import (
    checkpoint,
    create_selective_checkpoint_contexts,
    noop_context_fn,
)

from worldmodel.blocks import DoubleStream, ParallelSingleStream, Recall, SingleStream, modulate
from worldmodel.embedding import PositionEmbedding, Rotary, Timestep

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
