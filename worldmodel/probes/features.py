"""Features of a world model by layer, of video tokens at one time between noise and data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiment.errors import UserError
from experiment.seeding import torch_generator
from worldmodel.assembler import Assembler
from worldmodel.data.windows import WindowBatch, WindowConfig
from worldmodel.device import Compute
from worldmodel.model import WorldModel
from worldmodel.path import interpolate
from worldmodel.tokens import Batch, Tokens
from worldmodel.training.checkpoint import load, restored_encoders

_AT_ONCE = 64


@dataclass(frozen=True)
class Probed:
    """A model that predicts video, and what turns windows into its tokens; it reads no actions."""

    model: WorldModel
    assembler: Assembler
    compute: Compute

    @property
    def layers(self) -> list[int]:
        """Return the layers from 0, the tokens as the trunk takes them, to the last."""
        return list(range(self.model.config.depth + 1))

    def batch(self, windows: WindowBatch) -> Batch:
        """Return the clean tokens of text, frame and video."""
        return self.assembler(windows.to(self.compute.device))


def load_probed(folder: Path, compute: Compute) -> Probed:
    """Load a checkpoint of worldmodel.pretrain or policies.finetune; raises `UserError`."""
    loaded = load(folder)
    tokenizer, text = restored_encoders(loaded.sections, folder)
    try:
        windows = WindowConfig(**loaded.sections["windows"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder}: config.json is damaged or too old ({error!r}).") from error
    return Probed(loaded.model.to(compute.device), Assembler(tokenizer, text, windows), compute)


@torch.no_grad()
def pooled(probed: Probed, windows: WindowBatch, time: float, seed: int) -> dict[int, np.ndarray]:
    """Return the mean over the video's tokens after each layer, `(n, d)`, by layer.

    The frame and the instruction are clean, all video tokens are at `time` (1 is noise). The noise
    follows from the seed alone, so models of one tokenizer see the same.
    """
    parts: dict[int, list[np.ndarray]] = {layer: [] for layer in probed.layers}
    generator = torch_generator(seed, round(1000 * time))
    for start in range(0, windows.samples, _AT_ONCE):
        batch = probed.batch(windows.rows(slice(start, start + _AT_ONCE)))
        noised = batch | {"video": noised_at(batch["video"], time, generator)}  # type: ignore[operator]
        for layer, values in by_layer(probed, noised, probed.layers).items():
            parts[layer].append(values.float().mean(1).double().cpu().numpy())
    return {layer: np.concatenate(each) for layer, each in parts.items()}


def by_layer(probed: Probed, batch: Batch, layers: Sequence[int]) -> dict[int, Tensor]:
    """Return the features `(b, n, d)` of the video's tokens; layer 0 is what goes in."""
    model = probed.model
    captured = tuple(layer for layer in layers if layer > 0)
    with probed.compute.autocast():
        first = model.inputs["video"](batch["video"].values)
        found: dict[int, Tensor] = {}
        if captured:
            found = dict(model(batch, capture=captured, stop=max(captured)).features)
    return ({0: first} if 0 in layers else {}) | found


def noised_at(clean: Tokens, time: float, generator: torch.Generator) -> Tokens:
    """Return tokens that all stand at `time`; the noise is drawn on the generator's device."""
    noise = torch.randn(clean.values.shape, generator=generator, device=generator.device)
    level = clean.values.new_full((len(clean.values),), time, dtype=torch.float32)
    moved = Tokens.at(clean.values, level, clean.position, clean.valid)
    values = interpolate(clean.values, noise.to(clean.values), moved.tau)
    return Tokens.at(values, level, clean.position, clean.valid)
