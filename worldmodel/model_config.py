"""Size and kind of the network, as `configs/model` names them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from experiment.errors import UserError
from worldmodel.embedding import axis_channels
from worldmodel.path import Prediction


@dataclass(frozen=True)
class ModelConfig:
    """Size and kind of the network and what it predicts: clean data (`x`) or velocity (`v`).

    The first `double` of the `depth` blocks are double-stream; the others are single-stream, with
    attention and MLP in turn (`sequential`) or side by side (`parallel`). SwiGLU's hidden layer is
    `mlp_ratio` widths wide (`full`), or two thirds of that, which costs what a plain MLP of the
    ratio does (`matched`). `bias` is on `all` layers of a block or on `qkv` alone. `rope` gives
    each axis of the positions an `equal` share of the channels, or more to `space`. The head h has
    a hidden layer of `head_ratio` widths and returns `projected` channels, None for `width`.
    `conditions` (tokens that are not predicted) attend to `all` tokens or to `conditions` alone:
    then what is made of them does not depend on what is denoised. The defaults are those of
    checkpoints that do not say.
    """

    width: int = 192
    depth: int = 6
    heads: int = 3
    mlp_ratio: float = 4.0
    prediction: Prediction = "x"
    double: int = 0
    single: Literal["sequential", "parallel"] = "sequential"
    swiglu: Literal["matched", "full"] = "matched"
    bias: Literal["all", "qkv"] = "all"
    rope: Literal["space", "equal"] = "space"
    head_ratio: float = 2.0
    projected: int | None = None
    conditions: Literal["all", "conditions"] = "all"

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "mlp_ratio", "head_ratio"):
            if not getattr(self, name) > 0:
                raise UserError(f"model.{name}={getattr(self, name)} must be positive.")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(
                    f"model.{name}={getattr(self, name)!r} must be {' or '.join(choices)}."
                )
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise UserError(
                f"model.width={self.width} must be model.heads={self.heads} times an even number."
            )
        if min(axis_channels(self.width // self.heads, equal=self.rope == "equal")) < 1:
            raise UserError(
                f"model.heads={self.heads} leaves {self.width // self.heads} channels a head, too "
                "few for positions on three axes: take fewer heads."
            )
        if not 0 <= self.double <= self.depth:
            raise UserError(
                f"model.double={self.double} must lie between 0 and model.depth={self.depth}."
            )
        if self.student_layer >= min(self.teacher_layer, self.depth):
            raise UserError(
                f"model.depth={self.depth} has no layer k above layer l (0.7 and 0.3 of the depth) "
                "for the representation loss: take at least 2."
            )

    @property
    def hidden(self) -> int:
        """Width of SwiGLU's hidden layer."""
        if self.swiglu == "full":
            return round(self.mlp_ratio * self.width)
        # Two of SwiGLU's three matrices read the input: 2/3 keeps the cost of a plain MLP.
        return 32 * round(self.mlp_ratio * self.width * 2 / 3 / 32)

    @property
    def student_layer(self) -> int:
        """l = 0.3 D, after which the student's features are taken (Sec. 3.4)."""
        return max(1, round(0.3 * self.depth))

    @property
    def teacher_layer(self) -> int:
        """k = 0.7 D, after which the teacher's features are taken (Sec. 3.4)."""
        return max(self.student_layer + 1, round(0.7 * self.depth))


_CHOICES: Mapping[str, tuple[str, ...]] = {
    "prediction": ("x", "v"),
    "single": ("sequential", "parallel"),
    "swiglu": ("matched", "full"),
    "bias": ("all", "qkv"),
    "rope": ("space", "equal"),
    "conditions": ("all", "conditions"),
}
