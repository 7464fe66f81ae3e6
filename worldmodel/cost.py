"""What a model costs: weights, operations and memory, from its sizes alone.

A product of `(n, a)` and `(a, b)` takes 2 n a b operations, its backward pass twice as many (one
product for each factor's gradient) or as many where no gradient of the input is needed. Nothing
else is counted, nor what is computed again in the backward pass, so that dividing by time and by
the processor's rate gives the utilisation that is called MFU.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from worldmodel.embedding import POSITION_FEATURES, TIME_FEATURES
from worldmodel.model import WorldModel
from worldmodel.model_config import ModelConfig
from worldmodel.stem import KERNEL, layer_channels, patch_width
from worldmodel.tokens import Modality


@dataclass(frozen=True)
class Weights:
    """Numbers of weights: the `trunk`, the `head` h, and the modalities' input and output layers.

    Frozen tokenizers and text encoders are no part of the model.
    """

    trunk: int
    head: int
    layers: int

    @classmethod
    def of(cls, model: WorldModel) -> "Weights":
        def count(*modules: nn.Module) -> int:
            return sum(weight.numel() for module in modules for weight in module.parameters())

        layers = count(model.inputs, model.stems, model.outputs)
        return cls(count(model.trunk), count(model.projection), layers)

    @property
    def total(self) -> int:
        return self.trunk + self.head + self.layers

    def __str__(self) -> str:
        parts = (self.total, self.trunk, self.head, self.layers)
        total, trunk, head, layers = (f"{part / 1e6:.1f}M" for part in parts)
        return (
            f"{total} weights (trunk {trunk}, representation head {head}, input and output "
            f"layers {layers})"
        )


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of one training step; those of the `teacher` are apart."""

    forward: float
    backward: float
    teacher: float

    @property
    def student(self) -> float:
        """What the step would take without a teacher: the numerator of MFU."""
        return self.forward + self.backward

    @property
    def total(self) -> float:
        return self.student + self.teacher


def flops(
    config: ModelConfig,
    modalities: Sequence[Modality],
    tokens: Mapping[str, int],
    levels: Mapping[str, int],
    batch: int = 1,
    *,
    with_teacher: bool = True,
    with_head: bool = True,
) -> Flops:
    """Return the operations of a step on `batch` sequences of `tokens` by modality.

    `levels` are the numbers of times of each modality's tokens, for which the modulation is
    computed; the teacher has one. `with_head`: the student's features pass through the head h,
    which an outside teacher asks for as well.

    A block's matrices have 4 D² + 3 D H weights (queries, keys, values and their output; SwiGLU of
    hidden width H), and each token passes through them once, in a double-stream block as well.
    Attention takes 4 n² D for n tokens: n² products of queries and keys, and of weights and values.
    """
    count = sum(tokens.values())
    width = config.width
    products = 2 * (4 * width**2 + 3 * width * config.hidden) * count
    block = products + 4 * count**2 * width
    first = 2.0 * POSITION_FEATURES * width * count
    rest = 0.0
    out = 0.0
    predicted = 0
    for modality in modalities:
        here = tokens.get(modality.name, 0)
        inner = 2 * (modality.hidden or modality.channels) * width * here
        if modality.vocabulary is not None:
            rest += inner
        elif modality.hidden is not None:
            first += 2 * modality.channels * modality.hidden * here
            rest += inner
        else:
            first += inner
        if modality.stem and here:
            of_picture, later = _stem(modality, width)
            first, rest = first + of_picture, rest + later
        if modality.predicted:
            out += 2 * width * modality.channels * here
            predicted += here

    def conditioning(count: int) -> tuple[float, float]:
        """Return what the first layer of the times takes, and the layers after it."""
        later = width**2 + modulation_parts(config) * width**2
        return 2.0 * 2 * TIME_FEATURES * width * count, 2.0 * later * count

    of_times, of_modulation = conditioning(sum(levels[name] for name in tokens))
    # The layers that read data, positions or times need no gradient of what they read.
    first, rest = first + of_times, rest + of_modulation + out + config.depth * block
    head, teacher = 0.0, 0.0
    if with_head:
        inner = round(config.head_ratio * width)
        head = 2.0 * inner * (width + (config.projected or width)) * predicted
    if with_teacher:
        teacher = config.teacher_layer * block + first + rest - config.depth * block - out
        # One time for each modality instead of `levels`.
        teacher += sum(conditioning(len(tokens))) - of_times - of_modulation
    return Flops(
        batch * (first + rest + head), batch * (first + 2 * (rest + head)), batch * teacher
    )


def _stem(modality: Modality, width: int) -> tuple[float, float]:
    """Return what the convolutions of one picture take: the first layer's, and all after it."""
    assert modality.grid is not None
    channels = layer_channels(modality)
    tokens = modality.grid[0] * modality.grid[1]
    places = tokens * patch_width(modality) ** 2
    products = []
    for before, after in itertools.pairwise(channels):
        places //= 4
        products.append(2.0 * KERNEL**2 * before * after * places)
    return products[0], sum(products[1:]) + 2.0 * channels[-1] * width * tokens


STATE_BYTES = 20
"""Bytes a weight in training: itself, its gradient, two moments of AdamW and the teacher's copy."""


def activation_bytes(
    config: ModelConfig,
    precision: Literal["float32", "bfloat16"],
    *,
    attention: Literal["float32", "bfloat16"] | None = None,
) -> float:
    """Return the bytes a token that the trunk's forward pass keeps for its backward pass.

    Of a model that is not compiled; the compiler keeps less. `attention` is the precision in which
    attention reads, None for that of the products (on the CPU it is always float32). A block keeps
    its input and each half's normalised input in float32 (4 D bytes each), and in the precision of
    the products (p bytes): what the layers read, queries, keys and values before and after they are
    turned, what is added to the input, and of SwiGLU gate, value, the gate's image and their
    product. The modulation is kept once for all blocks. Tokenizer, input and output layers and
    losses come on top.
    """
    width, heads = config.width, config.heads
    p = 2 if precision == "bfloat16" else 4
    a = p if attention is None else 2 if attention == "bfloat16" else 4
    recast = a != p
    # Queries, keys and values as they come, queries and keys turned, values unless they are read
    # where they are, and what attention returns.
    of_attention = 3 * p + 2 * a + a + (a + p if recast else 0)

    def block(*, parallel: bool, double: bool) -> float:
        norms = 1 if parallel else 2
        kept = norms * (4 + 4 + p) + of_attention + (1 if parallel else 2) * p
        # Joined with those of the other stream, values are a copy.
        kept += a if double and not recast else 0
        # Attention and MLP each cast what they read.
        kept += p if parallel and precision == "bfloat16" else 0
        return kept * width + 4 * p * config.hidden + 12 * heads + 8 * norms

    parallel = config.single == "parallel"
    blocks = [block(parallel=False, double=True)] * config.double
    blocks += [block(parallel=parallel, double=False)] * (config.depth - config.double)
    parts = modulation_parts(config) - (6 if config.double else 0)
    fixed = 4 * width * (parts + 2) + 4 * (width // heads) + p * POSITION_FEATURES + 16
    return fixed + sum(blocks)


def modulation_parts(config: ModelConfig) -> int:
    """Return how many shifts, scales and gates the shared modulation has, each of the width D."""
    single = 0 if config.double == config.depth else 3 if config.single == "parallel" else 6
    return single + 2 + (12 if config.double else 0)
