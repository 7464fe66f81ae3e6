"""The baseline: one picture, proprioception and instruction straight to a chunk of actions.

No noise, no time, no video: a small convolutional encoder and an MLP, trained on the absolute
error. What a world model brings must show against this.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from experiment.seeding import torch_generator
from policies.contract import ACTION_SIZE, STATE_SIZE
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.windows import WindowBatch, WindowConfig
from worldmodel.teacher import Teacher
from worldmodel.text import TextConfig, TextTokens, tokenize
from worldmodel.tokenizer.pixel import PixelTokenizer
from worldmodel.training import checkpoint

KIND = "regression"

_MODEL = 1
# What the picture is reduced to at each place before it is flattened.
_CHANNELS_OF_A_PLACE = 64


@dataclass(frozen=True)
class RegressionConfig:
    """`channels` of the stride-2 convolutions, `width` of the MLP."""

    channels: tuple[int, ...] = (32, 64, 96, 128)
    width: int = 384
    text: TextConfig = field(default_factory=lambda: TextConfig(vocabulary=1024, width=16))


@dataclass(frozen=True)
class RegressionBatch:
    """`pictures` `(b, 3, h, w)` in [-1, 1], normalised `state` `(b, 10)` and `action` `(b, k, 7)`.

    `valid` bool `(b, k)`: which actions count.
    """

    pictures: Tensor
    state: Tensor
    text: TextTokens
    action: Tensor
    valid: Tensor

    @property
    def samples(self) -> int:
        """Return the number of windows."""
        return len(self.pictures)

    def to(self, device: torch.device | str) -> "RegressionBatch":
        """Return the batch on `device`."""
        moved = {name: getattr(self, name).to(device) for name in self.__dataclass_fields__}
        return replace(self, **moved)


class Regression(nn.Module):
    """Pictures `(b, 3, h, w)` in [-1, 1], states `(b, 10)`, instructions -> `(b, chunk, 7)`."""

    def __init__(
        self,
        config: RegressionConfig,
        picture: tuple[int, int],
        chunk: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.config, self.picture, self.chunk = config, picture, chunk
        layers: list[nn.Module] = []
        # Two more channels say where a pixel is: the camera is fixed, so places have a meaning.
        before = 5
        for index, channels in enumerate(config.channels):
            size = 5 if index == 0 else 3
            layers.append(nn.Conv2d(before, channels, size, stride=2, padding=size // 2))
            layers += [nn.GroupNorm(8, channels), nn.GELU()]
            before = channels
        layers += [nn.Conv2d(before, _CHANNELS_OF_A_PLACE, 1), nn.Flatten()]
        self.encoder = nn.Sequential(*layers)
        self.words = nn.Embedding(config.text.vocabulary, config.text.width)
        self.grid: Tensor
        self.register_buffer("grid", _grid(*picture), persistent=False)
        with torch.no_grad():
            seen = self.encoder(torch.zeros(1, 5, *picture)).shape[1]
        width = config.width
        self.head = nn.Sequential(
            nn.Linear(seen + STATE_SIZE + config.text.width, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, chunk * ACTION_SIZE),
        )
        _initialise(self, generator)

    def forward(self, pictures: Tensor, state: Tensor, text: TextTokens) -> Tensor:
        """Return normalised actions `(b, chunk, 7)`."""
        grid = self.grid.expand(len(pictures), -1, -1, -1)
        seen = self.encoder(torch.cat([pictures, grid], 1))
        said = self.words(text.ids).mean(1)
        actions = self.head(torch.cat([seen, state, said], 1))
        return rearrange(actions, "b (k a) -> b k a", a=ACTION_SIZE)


@dataclass(frozen=True)
class RegressionPredictor:
    """Predicts chunks in one pass."""

    model: Regression
    tokenizer: PixelTokenizer
    normalisation: Normalisation
    name: str = KIND

    @property
    def chunk(self) -> int:
        """Return the number of actions predicted."""
        return self.model.chunk

    @torch.no_grad()
    def predict(self, windows: WindowBatch, generator: torch.Generator) -> np.ndarray:  # noqa: ARG002
        """Return `(b, chunk, 7)` in the model's units; nothing is random."""
        seen = replace(
            windows, frame=torch.from_numpy(self.tokenizer.resize(windows.frame.numpy()))
        )
        batch = assembled(seen, self.normalisation, self.model.config.text)
        batch = batch.to(next(self.model.parameters()).device)
        return self.model(batch.pictures, batch.state, batch.text).cpu().numpy()


@dataclass(frozen=True)
class RegressionSettings:
    """What is trained; of the `tokenizer` only the size of its pictures counts."""

    tokenizer: PixelTokenizer
    model: RegressionConfig = field(default_factory=RegressionConfig)
    execute: int = 3

    def learner(
        self, windows: WindowConfig, normalisation: Normalisation, seed: int
    ) -> "RegressionLearner":
        """Build the network, its weights from `seed`."""
        size = (self.tokenizer.height, self.tokenizer.width)
        network = Regression(self.model, size, windows.chunk, torch_generator(seed, _MODEL))
        return RegressionLearner(network, self.tokenizer, normalisation, self.execute)


@dataclass(frozen=True)
class RegressionLearner:
    """The baseline for `policies.finetune`; see `policies.learning.learner`."""

    model: Regression
    tokenizer: PixelTokenizer
    normalisation: Normalisation
    execute: int
    kind: str = KIND

    def assemble(self, windows: WindowBatch) -> RegressionBatch:
        """Return the normalised windows."""
        return assembled(windows, self.normalisation, self.model.config.text)

    def loss(
        self,
        model: Regression,
        teacher: Teacher[Regression] | None,  # noqa: ARG002
        batch: RegressionBatch,
        generator: torch.Generator,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Return the mean absolute error of the actions, in the model's units."""
        error = F.l1_loss(
            model(batch.pictures, batch.state, batch.text), batch.action, reduction="none"
        )
        weight = batch.valid.to(error)
        return {"total": (error.mean(-1) * weight).sum() / weight.sum().clamp(min=1.0)}

    def predictor(self, model: Regression) -> RegressionPredictor:
        """Return `model` as a predictor."""
        return RegressionPredictor(model, self.tokenizer, self.normalisation)

    def sections(self) -> Mapping[str, Any]:
        """Return the sections of `config.json`."""
        return {"model": asdict(self.model.config), "inference": {"execute": self.execute}}


def assembled(
    windows: WindowBatch, normalisation: Normalisation, text: TextConfig
) -> RegressionBatch:
    """Return the batch of windows whose pictures have the model's size."""
    pictures = rearrange(windows.frame, "b h w c -> b c h w")
    return RegressionBatch(
        pictures=pictures.float() / 127.5 - 1.0,
        state=torch.from_numpy(normalisation.state(windows.state.numpy())),
        text=tokenize(windows.instructions, text),
        action=torch.from_numpy(normalisation.action(windows.action.numpy())),
        valid=windows.action_valid,
    )


def predictor_of(folder: str, sections: Mapping[str, Any]) -> RegressionPredictor:
    """Load the predictor that `RegressionLearner` described."""
    values = dict(sections["model"])
    config = RegressionConfig(
        tuple(values["channels"]), values["width"], TextConfig(**values["text"])
    )
    tokenizer = PixelTokenizer(**sections["tokenizer"])
    size, chunk = (tokenizer.height, tokenizer.width), sections["windows"]["chunk"]
    model = Regression(config, size, chunk, torch_generator(0))
    checkpoint.load_module(Path(folder), model)
    return RegressionPredictor(
        model.eval(), tokenizer, Normalisation.from_section(sections["normalisation"])
    )


def _grid(height: int, width: int) -> Tensor:
    axes = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def _initialise(module: nn.Module, generator: torch.Generator) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Embedding):
            nn.init.normal_(layer.weight, generator=generator)
