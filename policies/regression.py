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

from experiment.errors import UserError
from experiment.seeding import torch_generator
from policies.chunking import check_execute
from policies.contract import ACTION_SIZE, STATE_SIZE
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.pictures import resized
from worldmodel.data.windows import WindowBatch, WindowConfig
from worldmodel.device import CPU, Compute
from worldmodel.sampler import Randomness
from worldmodel.teacher import Teacher
from worldmodel.text import Instructions, TextEncoder
from worldmodel.tokenizer import Tokenizer
from worldmodel.tokens import Modality
from worldmodel.training import checkpoint

KIND = "regression"

_MODEL = 1
# Of the last feature map, before it is flattened.
_LAST_CHANNELS = 64


@dataclass(frozen=True)
class RegressionConfig:
    """`channels` of the stride-2 convolutions, `width` of the MLP; proprioception or not."""

    channels: tuple[int, ...] = (32, 64, 96, 128)
    width: int = 384
    with_state: bool = True


@dataclass(frozen=True)
class RegressionBatch:
    """`pictures` `(b, 3, h, w)` in [-1, 1], normalised `state` `(b, 10)` and `action` `(b, k, 7)`.

    `text` as the encoder embeds it; `valid` bool `(b, k)`: which actions count.
    """

    pictures: Tensor
    state: Tensor
    text: Tensor
    action: Tensor
    valid: Tensor


class Regression(nn.Module):
    """Pictures `(b, 3, h, w)` in [-1, 1], states `(b, 10)`, instructions -> `(b, chunk, 7)`."""

    def __init__(
        self,
        config: RegressionConfig,
        picture: tuple[int, int],
        text: Modality,
        chunk: int,
        generator: torch.Generator | None,
    ) -> None:
        """Draw the weights from `generator`; None leaves them to be loaded."""
        super().__init__()
        self.config, self.picture, self.chunk = config, picture, chunk
        layers: list[nn.Module] = []
        # Two more channels say where a pixel is: the camera is fixed, so positions have a meaning.
        before = 5
        for index, channels in enumerate(config.channels):
            size = 5 if index == 0 else 3
            layers.append(nn.Conv2d(before, channels, size, stride=2, padding=size // 2))
            layers += [nn.GroupNorm(8, channels), nn.GELU()]
            before = channels
        layers += [nn.Conv2d(before, _LAST_CHANNELS, 1), nn.Flatten()]
        self.encoder = nn.Sequential(*layers)
        self.words: nn.Module = nn.Identity()
        if text.vocabulary is not None:
            self.words = nn.Embedding(text.vocabulary, text.channels)
        self.grid: Tensor
        self.register_buffer("grid", _grid(*picture), persistent=False)
        with torch.no_grad():
            encoded = self.encoder(torch.zeros(1, 5, *picture)).shape[1]
        width = config.width
        self.head = nn.Sequential(
            nn.Linear(encoded + STATE_SIZE * config.with_state + text.channels, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, chunk * ACTION_SIZE),
        )
        if generator is not None:
            _initialise(self, generator)

    def forward(self, pictures: Tensor, state: Tensor, text: Tensor) -> Tensor:
        grid = self.grid.expand(len(pictures), -1, -1, -1)
        encoded = self.encoder(torch.cat([pictures, grid], 1))
        words = self.words(text).mean(1)
        actions = self.head(torch.cat([encoded, state, words], 1))
        return rearrange(actions, "b (k a) -> b k a", a=ACTION_SIZE)


@dataclass(frozen=True)
class RegressionAssembler:
    """Windows -> batches: pictures at the tokenizer's size, of which nothing else counts."""

    picture: tuple[int, int]
    text: Instructions
    normalisation: Normalisation

    def __call__(self, windows: WindowBatch) -> RegressionBatch:
        device = windows.frame.device
        return RegressionBatch(
            pictures=rearrange(windows.frame, "b h w c -> b c h w").float() / 127.5 - 1.0,
            state=windows.state,
            text=self.text.tokens(windows.instructions, device).values,
            action=windows.action,
            valid=windows.action_valid,
        )


@dataclass(frozen=True)
class RegressionPredictor:
    """Predicts chunks in one pass."""

    model: Regression
    assemble: RegressionAssembler
    compute: Compute = CPU
    name: str = KIND

    @property
    def chunk(self) -> int:
        return self.model.chunk

    @torch.no_grad()
    def predict(self, windows: WindowBatch, generator: Randomness) -> np.ndarray:  # noqa: ARG002
        """Return `(b, chunk, 7)` in the model's units; nothing is random."""
        frame = torch.from_numpy(resized(windows.frame.numpy(), self.assemble.picture))
        state = windows.state[:, :0]
        if self.model.config.with_state:
            state = torch.from_numpy(self.assemble.normalisation.state(windows.state.numpy()))
        windows = replace(windows, frame=frame, state=state)
        batch = self.assemble(windows.to(self.compute.device))
        with self.compute.autocast():
            predicted = self.model(batch.pictures, batch.state, batch.text)
        return predicted.float().cpu().numpy()


@dataclass(frozen=True)
class RegressionSettings:
    """What is trained; of the `tokenizer` only the size of its pictures counts."""

    tokenizer: Tokenizer
    text: TextEncoder
    model: RegressionConfig = field(default_factory=RegressionConfig)
    execute: int = 3
    with_state: bool = True

    def learner(
        self, windows: WindowConfig, normalisation: Normalisation, seed: int
    ) -> "RegressionLearner":
        """Build the network, its weights from `seed`; raises `UserError` for what it lacks."""
        check_execute(self.execute, windows.chunk)
        for name in ("start", "grip", "past"):
            if getattr(windows, name):
                raise UserError(
                    f"data.use.windows.{name}: policy=regression sees one picture and its state, "
                    "leave it out."
                )
        picture, text = self.tokenizer.picture, self.text.modality
        generator = torch_generator(seed, _MODEL)
        config = replace(self.model, with_state=self.with_state)
        network = Regression(config, picture, text, windows.chunk, generator)
        assemble = RegressionAssembler(picture, Instructions(self.text), normalisation)
        return RegressionLearner(network, assemble, self)


@dataclass(frozen=True)
class RegressionLearner:
    """The baseline for `policies.finetune`; see `policies.learning.learner`."""

    model: Regression
    assemble: RegressionAssembler
    settings: RegressionSettings
    kind: str = KIND

    def loss(
        self,
        model: Regression,
        teacher: Teacher[Regression] | None,  # noqa: ARG002
        batch: RegressionBatch,
        generator: torch.Generator,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Return the mean absolute error of the actions, in the model's units."""
        predicted = model(batch.pictures, batch.state, batch.text).float()
        error = F.l1_loss(predicted, batch.action, reduction="none")
        weight = batch.valid.to(error)
        return {"total": (error.mean(-1) * weight).sum() / weight.sum().clamp(min=1.0)}

    def predictor(self, model: Regression, compute: Compute) -> RegressionPredictor:
        return RegressionPredictor(model, self.assemble, compute)

    def sections(self) -> Mapping[str, Any]:
        model, inference = asdict(self.model.config), {"execute": self.settings.execute}
        return {"model": model, "inference": inference}


def predictor_of(
    folder: Path, sections: Mapping[str, Any], normalisation: Normalisation, compute: Compute
) -> RegressionPredictor:
    """Load the predictor that `RegressionLearner` described; raises `UserError`."""
    section, chunk = dict(sections["model"]), sections["windows"]["chunk"]
    tokenizer, text = checkpoint.restored_encoders(sections, folder)

    def build() -> Regression:
        with_state = bool(section.get("with_state", True))
        config = RegressionConfig(tuple(section["channels"]), section["width"], with_state)
        return Regression(config, tokenizer.picture, text.modality, chunk, None)

    model = checkpoint.load_module(folder, section, build).to(compute.device)
    assemble = RegressionAssembler(tokenizer.picture, Instructions(text), normalisation)
    return RegressionPredictor(model, assemble, compute)


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
