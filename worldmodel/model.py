"""One network over one sequence of tokens; a modality is one input and one output layer."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from experiment.errors import nearest
from worldmodel.blocks import Recall
from worldmodel.model_config import ModelConfig
from worldmodel.stem import ConvolutionalStem
from worldmodel.tokens import TEXT, Batch, Modality
from worldmodel.transformer import Transformer


@dataclass(frozen=True)
class Output:
    """`prediction` `(b, n, c)` by modality.

    `features` `(b, n, d)` by layer are those of the predicted tokens, `projected` those of one
    layer through the head h (Sec. 3.4).
    """

    prediction: Mapping[str, Tensor]
    features: Mapping[int, Tensor]
    projected: Tensor | None


class WorldModel(nn.Module):
    """The world model: any set of its modalities in, predictions of those that are predicted out.

    The times of tokens alone say which are clean and which are noise, so the same weights
    are a policy, a world model, an inverse dynamics model and a video model.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        config: ModelConfig,
        generator: torch.Generator | None,
    ) -> None:
        """Draw the weights from `generator`; None leaves them to be loaded."""
        super().__init__()
        self.config = config
        self.modalities: dict[str, Modality] = {}
        self.trunk = Transformer(
            config.width, config.depth, config.heads, config.hidden,
            double=config.double, parallel=config.single == "parallel",
            biases=config.bias == "all", equal_axes=config.rope == "equal",
        )  # fmt: skip
        inner = round(config.head_ratio * config.width)
        self.projection = nn.Sequential(
            nn.Linear(config.width, inner),
            nn.SiLU(),
            nn.Linear(inner, config.projected or config.width),
        )
        self.inputs = nn.ModuleDict()
        self.stems = nn.ModuleDict()
        self.outputs = nn.ModuleDict()
        for module in (self.trunk, self.projection):
            _initialise(module, generator)
        # Each block starts as the identity and learns how much to add (adaLN-zero of DiT).
        nn.init.zeros_(self.trunk.modulation.weight)
        for modality in modalities:
            self.add_modality(modality, generator)

    @property
    def student_layer(self) -> int:
        """See `ModelConfig`."""
        return self.config.student_layer

    @property
    def teacher_layer(self) -> int:
        """See `ModelConfig`."""
        return self.config.teacher_layer

    def add_modality(self, modality: Modality, generator: torch.Generator | None) -> None:
        """Give the model new input and output layers; everything else stays as it is."""
        if modality.name in self.modalities:
            raise ValueError(f"the model has a modality {modality.name!r} already")
        width, channels = self.config.width, modality.channels
        last = nn.Linear(modality.hidden or channels, width)
        layer: nn.Module = last
        if modality.vocabulary is not None:
            layer = nn.Sequential(nn.Embedding(modality.vocabulary, channels), last)
        elif modality.hidden is not None:
            layer = nn.Sequential(nn.Linear(channels, modality.hidden), nn.GELU(), last)
        _initialise(layer, generator)
        if generator is not None:
            # The vector that distinguishes modalities is the bias of its input layer.
            nn.init.normal_(last.bias, std=0.5, generator=generator)
        self.inputs[modality.name] = layer
        if modality.stem:
            self.add_stem(modality, generator)
        if modality.predicted:
            output = nn.Linear(width, channels)
            nn.init.zeros_(output.weight)
            nn.init.zeros_(output.bias)
            self.outputs[modality.name] = output
        self.modalities[modality.name] = modality

    def replace_modality(self, modality: Modality, generator: torch.Generator | None) -> None:
        """Begin a modality's input and output layers anew; it keeps its place in the order."""
        order = list(self.modalities)
        del self.modalities[modality.name]
        self.add_modality(modality, generator)
        self.modalities = {name: self.modalities[name] for name in order}

    def add_stem(self, modality: Modality, generator: torch.Generator | None) -> None:
        """Give a modality convolutions beside its input layer; at first they add nothing."""
        stem = ConvolutionalStem(modality, self.config.width)
        _initialise(stem, generator)
        nn.init.zeros_(stem.out.weight)
        self.stems[modality.name] = stem
        self.modalities[modality.name] = modality

    def forward(
        self,
        batch: Batch,
        *,
        capture: Sequence[int] = (),
        project: int | None = None,
        stop: int | None = None,
        recall: Sequence[Recall] | None = None,
    ) -> Output:
        """Run the sequence, the text first and the other modalities in the model's order.

        Layers count from 1. The features after the layers in `capture` are returned, those after
        layer `project` through the head h; with `stop` only that many blocks run and nothing is
        predicted. The conditions of `recall`, which `remember` made, need not be in `batch`.
        """
        for name in batch:
            if name not in self.modalities:
                raise ValueError(
                    f"no modality {name!r} in this model.{nearest(name, self.modalities)}"
                )
        embedded, levels, index, position = [], [], [], []
        spans: dict[str, slice] = {}
        start = count = 0
        for name in sorted(self.modalities, key=lambda name: name != TEXT):
            if name in batch:
                tokens = batch[name]
                read = self.inputs[name](tokens.values)
                if name in self.stems:
                    read = read + self.stems[name](tokens.values)
                embedded.append(read)
                levels.append(tokens.levels)
                index.append(tokens.index + count)
                position.append(tokens.position.expand(len(tokens.values), -1, -1))
                spans[name] = slice(start, start + tokens.values.shape[1])
                start, count = spans[name].stop, count + tokens.levels.shape[1]
        layers = {*capture} if project is None else {*capture, project}
        sequence, features = self.trunk(
            torch.cat(embedded, 1), torch.cat(levels, 1), torch.cat(index, 1),
            torch.cat(position, 1), tuple(layers), stop,
            spans[TEXT].stop if TEXT in spans else 0,
            None if recall is not None else self._seen(batch, spans), recall,
        )  # fmt: skip
        predicted = {name: spans[name] for name in self.outputs if name in spans}
        features = {
            layer: torch.cat([values[:, span] for span in predicted.values()], 1)
            for layer, values in features.items()
        }
        projected = None if project is None else self.projection(features[project])
        prediction = {}
        if stop is None:
            # Rounded to bfloat16, a prediction near time 0 would be off by more than is learned.
            with torch.autocast(sequence.device.type, enabled=False):
                for name, span in predicted.items():
                    prediction[name] = self.outputs[name](sequence[:, span])
        return Output(prediction, features, projected)

    def remember(self, known: Batch) -> tuple[Sequence[Recall] | None, Batch]:
        """Run the conditions among `known` once, for several passes of one draw of the others.

        Return what `forward` takes as `recall` and the tokens that are still to be given with it.
        Where conditions attend to what is denoised nothing can be known of them beforehand.
        """
        conditions = {name: each for name, each in known.items() if name not in self.outputs}
        if self.config.conditions == "all" or not conditions:
            return None, known
        recall = [Recall() for _ in range(self.config.depth)]
        self(conditions, recall=recall)
        return recall, {name: each for name, each in known.items() if name not in conditions}

    def _seen(self, batch: Batch, spans: Mapping[str, slice]) -> Tensor | None:
        """Return which tokens each token attends to, `(n, n)`; None for all.

        Those that are predicted see the conditions and each other, but not other draws.
        """
        if self.config.conditions == "all":
            return None
        device = next(iter(batch.values())).values.device
        # The draw of each token, -1 for conditions.
        draw = [
            torch.arange(batch[name].draws, device=device).repeat_interleave(
                (span.stop - span.start) // batch[name].draws
            )
            if name in self.outputs
            else torch.full((span.stop - span.start,), -1, device=device)
            for name, span in spans.items()
        ]
        of = torch.cat(draw)
        return (of[None, :] < 0) | (of[:, None] == of[None, :])

    def description(self) -> dict[str, Any]:
        """Return plain values from which `from_description` builds a model of the same shape."""
        modalities = [asdict(modality) for modality in self.modalities.values()]
        return asdict(self.config) | {"modalities": modalities}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "WorldModel":
        """Build a model, its weights not yet meaningful; raises `TypeError`, `KeyError`."""
        values = dict(description)
        modalities = [Modality(**modality) for modality in values.pop("modalities")]
        return cls(modalities, ModelConfig(**values), None)

    def parameters_total(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


def _initialise(module: nn.Module, generator: torch.Generator | None) -> None:
    if generator is None:
        return
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Embedding):
            nn.init.normal_(layer.weight, std=1.0, generator=generator)
