"""Inverse dynamics: the actions between frames, beside a regression and a constant.

The baselines are fitted on other episodes of the same data, or on data of their own, from the
pixels that the model sees. Errors are in the units of the robot.
"""

from dataclasses import dataclass

import numpy as np
import torch

from experiment.seeding import numpy_generator, torch_generator
from worldmodel.assembler import action_position
from worldmodel.data.windows import WindowBatch
from worldmodel.imagination.dream import Dreamer
from worldmodel.probes.linear import ridge
from worldmodel.sampler import sample

DIMENSIONS = ("x", "y", "z", "rotation x", "rotation y", "rotation z", "gripper")
UNITS = ("mm", "mm", "mm", "mrad", "mrad", "mrad", "")
_SCALE = np.array([1e3] * 6 + [1.0])
_WRONG_GRIPPER = 0.5  # of a level or command in [-1, 1]
_AT_ONCE, _FOLDS = 64, 5
_SIDE = 24  # rows and columns of the pixels that the regression sees


@dataclass(frozen=True)
class ActionErrors:
    """Mean absolute errors by dimension `(7,)` (mm, mrad; gripper in [-1, 1]) and, of the gripper,
    the share of actions that are off by less than 0.5."""

    by_dimension: np.ndarray
    gripper_accuracy: float

    @classmethod
    def of(cls, predicted: np.ndarray, actions: np.ndarray) -> "ActionErrors":
        """Compare `(b, k, 7)` in robot units."""
        error = np.abs(predicted - actions).reshape(-1, actions.shape[-1])
        right = float((error[:, 6] < _WRONG_GRIPPER).mean())
        return cls(error.mean(0) * _SCALE, right)

    @property
    def translation(self) -> float:
        """Mean over the three axes (mm)."""
        return float(self.by_dimension[:3].mean())

    def section(self) -> dict[str, float]:
        """Return the figures for `figures.json`."""
        named = {
            f"{name} ({unit})" if unit else name: float(value)
            for name, unit, value in zip(DIMENSIONS, UNITS, self.by_dimension, strict=True)
        }
        return named | {"gripper accuracy": self.gripper_accuracy}


def inferred(
    dreamer: Dreamer, windows: WindowBatch, seed: int, with_video: bool = True
) -> np.ndarray:
    """Return the model's actions `(b, k, 7)` in robot units; without video it is the policy."""
    normalisation, device = dreamer.assembler.normalisation, dreamer.compute.device
    assert normalisation is not None
    chunk, parts = dreamer.assembler.windows.chunk, []
    generator = torch_generator(seed, device=device)
    for start in range(0, windows.samples, _AT_ONCE):
        rows = windows.rows(slice(start, start + _AT_ONCE)).to(device)
        known = dreamer.known(rows, with_state=True)
        if with_video:
            known["video"] = dreamer.assembler(rows)["video"]
        unknown = {"action": action_position(chunk, device)}
        answer = sample(
            dreamer.model, known, unknown, dreamer.sampling, generator, dreamer.compute
        )["action"]
        parts.append(normalisation.action_back(answer.cpu().numpy()))
    return np.concatenate(parts)


def pixels(windows: WindowBatch) -> np.ndarray:
    """Return what the regression sees: the frames at 24 by 24 pixels, `(b, d)` in [0, 1]."""
    frames = torch.cat([windows.frame[:, None], windows.future], 1).flatten(0, 1)
    small = torch.nn.functional.interpolate(
        frames.permute(0, 3, 1, 2).float() / 255, size=(_SIDE, _SIDE), mode="area"
    )
    return small.reshape(windows.samples, -1).double().numpy()


def regression(
    windows: WindowBatch,
    episodes: np.ndarray,
    seed: int,
    fit_on: tuple[WindowBatch, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the actions `(b, k, 7)` of ridge regression on pixels, and those of a constant.

    Both are fitted on `fit_on`, windows and their episodes, or without it, five times, on the
    windows of all other episodes. With the state, where the windows have one.
    """
    shape = windows.action.shape
    if fit_on is not None:
        other, names = fit_on
        answer = ridge(_seen(other), _flat(other), names, _seen(windows), numpy_generator(seed))
        constant = np.broadcast_to(_flat(other).mean(0), answer.shape)
        return answer.reshape(shape), constant.reshape(shape)
    features, targets = _seen(windows), _flat(windows)
    answers, constants = np.zeros_like(targets), np.zeros_like(targets)
    names = np.unique(episodes)
    for fold in np.array_split(names, min(_FOLDS, len(names))):
        held = np.isin(episodes, fold)
        generator = numpy_generator(seed, int(fold[0]))
        rest = features[~held], targets[~held], episodes[~held]
        answers[held] = ridge(*rest, features[held], generator)
        constants[held] = rest[1].mean(0)
    return answers.reshape(shape), constants.reshape(shape)


def _seen(windows: WindowBatch) -> np.ndarray:
    return np.concatenate([pixels(windows), windows.state.double().numpy()], 1)


def _flat(windows: WindowBatch) -> np.ndarray:
    return windows.action.double().reshape(windows.samples, -1).numpy()
