"""Robot units <-> the units of the model.

Action (7): the six pose dimensions are mapped from their 1 % and 99 % quantiles to [-1, 1], the
gripper stays as it is (Self-Flow, App. E). State: mean 0, deviation 1. Nothing is clipped, so both
maps can be undone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiment.errors import UserError

_POSE = slice(0, 6)
# A dimension that hardly moves is divided by this, not by nearly nothing.
_SMALLEST_RANGE, _SMALLEST_DEVIATION = 1e-4, 1e-3


@dataclass(frozen=True)
class Normalisation:
    """`low`, `high` `(6,)` quantiles of the action's pose; `mean`, `std` `(s,)` of the state."""

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, state: np.ndarray, action: np.ndarray) -> "Normalisation":
        """Measure states `(n, s)` and actions `(n, 7)`."""
        low, high = np.quantile(action[:, _POSE].astype(np.float64), [0.01, 0.99], axis=0)
        short = np.maximum(0.0, _SMALLEST_RANGE - (high - low)) / 2
        return cls(
            low=(low - short).astype(np.float32),
            high=(high + short).astype(np.float32),
            mean=state.mean(0, dtype=np.float64).astype(np.float32),
            std=np.maximum(state.std(0, dtype=np.float64), _SMALLEST_DEVIATION).astype(np.float32),
        )

    def state(self, state: np.ndarray) -> np.ndarray:
        """Return states `(..., s)` in the model's units."""
        return ((state - self.mean) / self.std).astype(np.float32)

    def grip(self, grip: np.ndarray) -> np.ndarray:
        """Return ways of the fingers, whose place is the state's last number, likewise."""
        return (grip / self.std[-1]).astype(np.float32)

    def action(self, action: np.ndarray) -> np.ndarray:
        """Return actions `(..., 7)` in the model's units."""
        out = np.array(action, dtype=np.float32)
        out[..., _POSE] = 2 * (out[..., _POSE] - self.low) / (self.high - self.low) - 1
        return out

    def action_back(self, action: np.ndarray) -> np.ndarray:
        """Return actions `(..., 7)` of the model in the robot's units."""
        out = np.array(action, dtype=np.float32)
        out[..., _POSE] = (out[..., _POSE] + 1) / 2 * (self.high - self.low) + self.low
        return out

    def section(self) -> dict[str, Any]:
        """Return plain lists for a checkpoint's `config.json`."""
        return {name: getattr(self, name).tolist() for name in ("low", "high", "mean", "std")}

    @classmethod
    def from_section(cls, section: Mapping[str, Any]) -> "Normalisation":
        """Read what `section` wrote; raises `UserError` when a name is missing."""
        try:
            arrays = {name: np.asarray(section[name], np.float32) for name in _NAMES}
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"the checkpoint's section 'normalisation' is damaged ({error!r})."
            ) from error
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise UserError(
                    f"the checkpoint's section 'normalisation' is damaged: {name} is not finite."
                )
        return cls(**arrays)


_NAMES = ("low", "high", "mean", "std")
