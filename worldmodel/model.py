"""One network over one sequence of tokens; a modality is one input and one output layer."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from experiment.errors import UserError, nearest
from worldmodel.path import Prediction
from worldmodel.text import TextConfig, TextEmbedding, TextTokens
from worldmodel.transformer import Transformer


@dataclass(frozen=True)
class Modality:
    """A kind of token: `channels` values each; `predicted` ones are noised and denoised.

    `hidden` is the width of a hidden layer at the input, None for a linear input layer.
    """

    name: str
    channels: int
    predicted: bool = True
    hidden: int | None = None


@dataclass(frozen=True)
class Tokens:
    """Tokens of one modality.

    `values` `(b, n, c)`, `tau` `(b, n)` their times (0 is clean), `position` `(b, n, 3)` or
    `(1, n, 3)`: time in control steps, row and column in patches. `valid` bool `(b, n)` says which
    tokens count in a loss, None for all; every token is attended to.
    """

    values: Tensor
    tau: Tensor
    position: Tensor
    valid: Tensor | None = None

    @classmethod
    def clean(cls, values: Tensor, position: Tensor, valid: Tensor | None = None) -> "Tokens":
        """Return tokens at time 0."""
        return cls(values, values.new_zeros(values.shape[:2]), position, valid)

    def to(self, device: torch.device | str) -> "Tokens":
        """Return the tokens on `device`."""
        valid = None if self.valid is None else self.valid.to(device)
        return Tokens(self.values.to(device), self.tau.to(device), self.position.to(device), valid)


def times_as_positions(times: Sequence[float]) -> Tensor:
    """Return `(1, n, 3)` positions of tokens that have a time but no place in the picture."""
    position = torch.full((1, len(times), 3), -1.0)
    position[0, :, 0] = torch.tensor(times, dtype=torch.float32)
    return position


@dataclass(frozen=True)
class Batch:
    """Clean tokens (time 0) by modality, and the instruction."""

    parts: Mapping[str, Tokens]
    text: TextTokens

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on `device`."""
        parts = {name: tokens.to(device) for name, tokens in self.parts.items()}
        return Batch(parts, self.text.to(device))

    @property
    def samples(self) -> int:
        """Return the number of sequences."""
        return len(self.text.ids)


@dataclass(frozen=True)
class Output:
    """`prediction` `(b, n, c)` by modality; `features` `(b, n_total, d)` by layer.

    `spans` says where a modality's tokens lie in the whole sequence.
    """

    prediction: Mapping[str, Tensor]
    features: Mapping[int, Tensor]
    spans: Mapping[str, slice]


@dataclass(frozen=True)
class ModelConfig:
    """Size of the network and what it predicts: clean data (`x`) or velocity (`v`)."""

    width: int = 192
    depth: int = 6
    heads: int = 3
    mlp_ratio: float = 4.0
    prediction: Prediction = "x"
    text: TextConfig = field(default_factory=TextConfig)

    def __post_init__(self) -> None:
        if self.prediction not in ("x", "v"):
            raise UserError(f"model.prediction={self.prediction!r} must be x or v.")
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise UserError(
                f"model.width={self.width} must be model.heads={self.heads} times an even number."
            )


class WorldModel(nn.Module):
    """The world model: any set of its modalities in, predictions of those that are predicted out.

    Which tokens are clean and which are noise is told by their times alone, so the same weights
    are a policy, a world model, an inverse dynamics model and a video model.
    """

    def __init__(
        self, modalities: Sequence[Modality], config: ModelConfig, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        self.modalities: dict[str, Modality] = {}
        self.trunk = Transformer(config.width, config.depth, config.heads, config.mlp_ratio)
        self.text = TextEmbedding(config.text, config.width)
        self.projection = nn.Sequential(
            nn.Linear(config.width, 2 * config.width),
            nn.SiLU(),
            nn.Linear(2 * config.width, config.width),
        )
        self.inputs = nn.ModuleDict()
        self.outputs = nn.ModuleDict()
        for part in (self.trunk, self.text, self.projection):
            _initialise(part, generator)
        # Each block starts as the identity and learns how much to add (adaLN-zero of DiT).
        nn.init.zeros_(self.trunk.modulation.weight)
        for modality in modalities:
            self.add_modality(modality, generator)

    @property
    def student_layer(self) -> int:
        """Return l = 0.3 D, after which the student's features are taken (Sec. 3.4)."""
        return max(1, round(0.3 * self.config.depth))

    @property
    def teacher_layer(self) -> int:
        """Return k = 0.7 D, after which the teacher's features are taken (Sec. 3.4)."""
        return max(self.student_layer + 1, round(0.7 * self.config.depth))

    def add_modality(self, modality: Modality, generator: torch.Generator) -> None:
        """Give the model new input and output layers; everything else stays as it is."""
        if modality.name in self.modalities:
            raise ValueError(f"the model has a modality {modality.name!r} already")
        width, channels = self.config.width, modality.channels
        last = nn.Linear(modality.hidden or channels, width)
        layer: nn.Module = last
        if modality.hidden is not None:
            layer = nn.Sequential(nn.Linear(channels, modality.hidden), nn.GELU(), last)
        _initialise(layer, generator)
        # The vector that tells a modality from the others is the bias of its input layer.
        nn.init.normal_(last.bias, std=0.5, generator=generator)
        self.inputs[modality.name] = layer
        if modality.predicted:
            output = nn.Linear(width, channels)
            nn.init.zeros_(output.weight)
            nn.init.zeros_(output.bias)
            self.outputs[modality.name] = output
        self.modalities[modality.name] = modality

    def forward(
        self,
        parts: Mapping[str, Tokens],
        text: TextTokens,
        *,
        capture: Sequence[int] = (),
        stop: int | None = None,
    ) -> Output:
        """Run the sequence: instruction first, then `parts` in the model's order.

        Layers count from 1; with `stop` only that many blocks run and nothing is predicted.
        """
        for name in parts:
            if name not in self.modalities:
                raise ValueError(
                    f"no modality {name!r} in this model.{nearest(name, self.modalities)}"
                )
        embedded = [self.text(text)]
        batch, words = text.ids.shape
        tau = [embedded[0].new_zeros(batch, words)]
        position = [_word_positions(words).to(embedded[0].device)]
        spans: dict[str, slice] = {}
        start = words
        for name in self.modalities:
            if name in parts:
                tokens = parts[name]
                embedded.append(self.inputs[name](tokens.values))
                tau.append(tokens.tau)
                position.append(tokens.position)
                spans[name] = slice(start, start + tokens.values.shape[1])
                start = spans[name].stop
        sequence, features = self.trunk(
            torch.cat(embedded, 1), torch.cat(tau, 1), _joined(position), capture, stop
        )
        predicted = {} if stop is not None else {n: spans[n] for n in self.outputs if n in spans}
        prediction = {
            name: self.outputs[name](sequence[:, span]) for name, span in predicted.items()
        }
        return Output(prediction, features, spans)

    def description(self) -> dict[str, Any]:
        """Return plain values from which `from_description` builds a model of the same shape."""
        modalities = [asdict(modality) for modality in self.modalities.values()]
        return asdict(self.config) | {"modalities": modalities}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "WorldModel":
        """Build a model, its weights not yet meaningful; raises `TypeError`, `KeyError`."""
        values = dict(description)
        modalities = [Modality(**modality) for modality in values.pop("modalities")]
        config = ModelConfig(**values | {"text": TextConfig(**values["text"])})
        return cls(modalities, config, torch.Generator().manual_seed(0))

    def parameters_total(self) -> int:
        """Return the number of weights."""
        return sum(parameter.numel() for parameter in self.parameters())


def _word_positions(words: int) -> Tensor:
    position = torch.full((1, words, 3), -1.0)
    position[0, :, 2] = torch.arange(words)
    return position


def _joined(positions: Sequence[Tensor]) -> Tensor:
    batch = max(len(position) for position in positions)
    return torch.cat([position.expand(batch, -1, -1) for position in positions], 1)


def _initialise(module: nn.Module, generator: torch.Generator) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Embedding):
            nn.init.normal_(layer.weight, std=1.0, generator=generator)
