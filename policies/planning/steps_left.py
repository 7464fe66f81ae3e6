"""A value of imagined pictures: how many control steps a demonstration would still take from there.

A linear readout of a world model's features of the window's frames, pooled over their tokens. It is
fitted on demonstrations alone: each ends when its task is done, so what is left of it is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiment.errors import UserError
from experiment.seeding import numpy_generator
from worldmodel.data.dataset import DataSet
from worldmodel.data.order import WindowIndex
from worldmodel.data.reader import DataConfig
from worldmodel.data.source import DataSource
from worldmodel.data.windows import WindowBatch, stack
from worldmodel.probes.features import Probed, by_layer, pooled
from worldmodel.probes.linear import Numbers, Scale, explained, ridge, split_groups
from worldmodel.training import checkpoint

KIND = "value"
_TESTED = 0.2
"""Share of the episodes on which a layer is chosen and the value is tested."""
_SPLIT, _RIDGE = 1, 2
_AT_ONCE = 64


@dataclass(frozen=True)
class Value:
    """Reads the steps left off the frames of windows, after `layer` of the model's trunk.

    `weights` `(d + 1,)` are those of standardised features, and the constant.
    """

    probed: Probed
    layer: int
    scale: Scale
    weights: Numbers

    @torch.no_grad()
    def __call__(self, windows: WindowBatch) -> np.ndarray:
        """Return the control steps left after the last of the windows' future frames, `(b,)`."""
        parts = []
        for start in range(0, windows.samples, _AT_ONCE):
            batch = self.probed.batch(windows.rows(slice(start, start + _AT_ONCE)))
            features = by_layer(self.probed, batch, [self.layer])[self.layer].float().mean(1)
            parts.append(self.of_features(features.double().cpu().numpy()))
        return np.concatenate(parts)

    def of_features(self, features: Numbers) -> np.ndarray:
        return self.scale(features) @ self.weights[:-1] + self.weights[-1]

    def save(self, folder: Path, sections: dict[str, Any]) -> None:
        """Write the readout beside `sections`, which name the model it reads."""
        tensors = {
            "mean": torch.from_numpy(self.scale.mean),
            "deviation": torch.from_numpy(self.scale.deviation),
            "weights": torch.from_numpy(self.weights),
        }
        checkpoint.save_tensors(folder, tensors, {**sections, "kind": KIND, "layer": self.layer})

    @classmethod
    def load(cls, folder: Path, probed: Probed, sections: dict[str, Any]) -> "Value":
        """Read what `save` wrote; raises `UserError` where it does not fit the model."""
        stored, _ = checkpoint.read_tensors(folder / checkpoint.WEIGHTS)
        tensors = {name: tensor.numpy() for name, tensor in stored.items()}
        width, layer = probed.model.config.width, sections.get("layer")
        sizes = {"mean": width, "deviation": width, "weights": width + 1}
        fits = {name: tensor.shape for name, tensor in tensors.items()} == {
            name: (size,) for name, size in sizes.items()
        }
        if not fits or layer not in probed.layers:
            raise UserError(f"{folder} is damaged or of another model: fit it again.")
        scale = Scale(tensors["mean"], tensors["deviation"])
        return cls(probed, int(layer), scale, tensors["weights"])


@dataclass(frozen=True)
class StepsLeft:
    """Windows of demonstrations, the `episodes` `(n,)` they are of, and the steps `left` `(n,)`."""

    windows: WindowBatch
    episodes: np.ndarray
    left: np.ndarray


def steps_left(source: DataSource, probed: Probed, count: int) -> StepsLeft:
    """Read up to `count` windows, evenly spread over all sets; raises `UserError` for too few."""
    use = DataConfig(windows=probed.assembler.windows, augmentation=None, after_end="hold")
    sets = source.open(use, probed.assembler.tokenizer.picture, video_only=True)
    places = [
        (number, WindowIndex(episode, step))
        for number, data in enumerate(sets)
        for episode, length in enumerate(data.lengths.tolist())
        for step in range(length)
    ]
    chosen = np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int)
    picked = [places[place] for place in dict.fromkeys(chosen.tolist())]
    reach = max(probed.assembler.windows.future)
    # Frame t is seen before action t, so that a whole episode is left at frame 0.
    left = [max(0, _length(sets[n], at) - at.step - reach * sets[n].stride) for n, at in picked]
    numbers = {each: i for i, each in enumerate(dict.fromkeys((n, at.episode) for n, at in picked))}
    episodes = np.array([numbers[n, at.episode] for n, at in picked])
    if len(np.unique(episodes)) < 4:
        raise UserError(f"{sets[0].source}: a value needs at least four demonstrations.")
    windows = stack([sets[n].window(at) for n, at in picked])
    return StepsLeft(windows, episodes, np.asarray(left, dtype=np.float64))


def _length(data: DataSet, place: WindowIndex) -> int:
    return int(data.lengths[place.episode])


@dataclass(frozen=True)
class Fitted:
    """A value, with the held-out demonstrations' steps left and what it reads of them."""

    value: Value
    explained: Sequence[float]
    """R² of every layer on held-out demonstrations, of which the best is chosen."""
    before: float
    """The best R² of the same readout where the window's future is its first picture again: what
    is known without seeing what the window leads to."""
    truth: np.ndarray
    read: np.ndarray


def fit(probed: Probed, demonstrations: StepsLeft, seed: int) -> Fitted:
    """Fit every layer on most demonstrations, choose the best on the rest, then fit it on all."""
    generator = numpy_generator(seed, _SPLIT)
    train, test = split_groups(demonstrations.episodes, _TESTED, generator)
    left, groups = demonstrations.left[:, None], demonstrations.episodes
    if not (np.ptp(left[train]) and np.ptp(left[test])):
        raise UserError("every demonstration is over within a window: a value needs longer ones.")

    def read(windows: WindowBatch) -> tuple[dict[int, Numbers], list[Numbers], list[float]]:
        """Return features by layer, and what every layer says of the held-out ones, and its R²."""
        features = pooled(probed, windows, 0.0, seed)
        answers = [
            ridge(
                each[train], left[train], groups[train], each[test], numpy_generator(seed, _RIDGE)
            )[:, 0]
            for _, each in sorted(features.items())
        ]
        scores = [float(explained(left[test], answer[:, None])[0]) for answer in answers]
        return features, answers, scores

    windows = demonstrations.windows
    features, answers, scores = read(windows)
    unmoved = windows.frame[:, None].expand_as(windows.future)
    *_, before = read(replace(windows, future=unmoved))
    best = int(np.argmax(scores))
    # A linear readout is known from what it says of the origin and of the unit vectors.
    scale = Scale.of(features[best])
    corners = np.concatenate([np.zeros((1, scale.mean.size)), np.eye(scale.mean.size)])
    said = ridge(features[best], left, groups, corners * scale.deviation + scale.mean, generator)[
        :, 0
    ]
    weights = np.concatenate([said[1:] - said[0], said[:1]])
    return Fitted(
        Value(probed, best, scale, weights),
        scores,
        max(before),
        demonstrations.left[test],
        answers[best],
    )
