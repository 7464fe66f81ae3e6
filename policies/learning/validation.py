"""Open-loop check on held-out episodes: how far predicted chunks are from the demonstrated ones."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from experiment.seeding import torch_generator
from policies.chunking import Predictor
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.windows import WindowBatch

_AT_ONCE = 64
# Half of the way between the neighbouring levels open, hook and closed, in the model's units.
_WRONG_LEVEL = 0.5


@dataclass(frozen=True)
class Validation:
    """Compares predictions with held-out `windows`, always the same with the same noise.

    The windows are in robot units, the gripper as it is learned. The figures are in robot units:
    mean distance of translations (mm) and rotations (mrad) over all actions of a chunk, and the
    share of actions whose gripper value is off by more than 0.5; actions that do not count are left
    out.
    """

    windows: WindowBatch
    normalisation: Normalisation
    seed: int

    def __call__(self, predictor: Predictor) -> Mapping[str, float]:
        """Return `held_out/translation_mm`, `held_out/rotation_mrad`, `held_out/gripper_wrong`."""
        generator = torch_generator(self.seed)
        errors: list[np.ndarray] = []
        for start in range(0, self.windows.samples, _AT_ONCE):
            windows = self.windows.rows(slice(start, start + _AT_ONCE))
            predicted = self.normalisation.action_back(predictor.predict(windows, generator))
            errors.append((predicted - windows.action.numpy())[windows.action_valid.numpy()])
        error = np.concatenate(errors)
        return {
            "held_out/translation_mm": 1e3 * float(np.linalg.norm(error[..., :3], axis=-1).mean()),
            "held_out/rotation_mrad": 1e3 * float(np.linalg.norm(error[..., 3:6], axis=-1).mean()),
            "held_out/gripper_wrong": float((np.abs(error[..., 6]) > _WRONG_LEVEL).mean()),
        }
