"""The gripper as a target level instead of sparse commands, and back.

The robot takes deltas on its fingers' drive target: +-1 once, then zeros while the fingers move and
hold. A zero means everything and nothing, so a policy learns the *level* that the target has after
each action instead, which is constant between commands. Levels follow from the commands alone:
nothing privileged is needed to turn them into commands again.
"""

from typing import Literal, get_args

import numpy as np

from experiment.errors import UserError, nearest

GripperKind = Literal["level", "raw"]
"""`level`: the target level, scaled to [-1, 1]; `raw`: the commands as they are (App. E)."""

RADIANS_PER_UNIT = 1.31
OPEN, CLOSED = -0.01, 1.31
"""Limits of the target (rad)."""
LEVEL_AT_RESET = 0.0
SPEED = 1.0 / 3.0
"""Radians that the drive moves in a control step (1 rad/s at 3 Hz); deltas count from there."""

# The controller repeats its last target for deltas below this.
_SMALLEST_DELTA = 1e-3
# Predictions of a level that is held scatter by less than this.
_DEADBAND = 0.12


class FingerTarget:
    """Follows the fingers' target (rad) from the commands given since the reset.

    A command is a delta on where the drive is on its way to the last target, as in the robot's
    controller (`delta_target_from_last_drive` in SIMPLER's code).
    """

    def __init__(self) -> None:
        self.level = LEVEL_AT_RESET
        self._drive = LEVEL_AT_RESET

    def advance(self, command: float) -> float:
        """Take one command of one control step; return the target it leads to."""
        delta = RADIANS_PER_UNIT * min(max(command, -1.0), 1.0)
        if abs(delta) >= _SMALLEST_DELTA:
            self.level = min(max(self._drive + delta, OPEN), CLOSED)
        self._drive += min(max(self.level - self._drive, -SPEED), SPEED)
        return self.level

    def command_towards(self, level: float) -> float:
        """Return the command that brings the target to `level` (rad), 0 where it is there."""
        if abs(level - self.level) < _DEADBAND:
            return 0.0
        # The whole stroke reaches a limit wherever the drive is, even held up by an object.
        if level > CLOSED - _DEADBAND:
            return 1.0
        if level < OPEN + _DEADBAND:
            return -1.0
        return min(max((level - self._drive) / RADIANS_PER_UNIT, -1.0), 1.0)


def levels(commands: np.ndarray) -> np.ndarray:
    """Return the target levels scaled to [-1, 1], float32 `(t,)`, of an episode's commands `(t,)`.

    The commands must be those of a whole episode from its reset on.
    """
    target = FingerTarget()
    radians = np.array([target.advance(float(command)) for command in commands])
    return scaled(radians).astype(np.float32)


def scaled(radians: np.ndarray) -> np.ndarray:
    """Return levels in rad as levels in [-1, 1]."""
    return (radians - OPEN) / (CLOSED - OPEN) * 2 - 1


def in_radians(level: np.ndarray) -> np.ndarray:
    """Return levels in [-1, 1] as levels in rad; the inverse of `scaled`."""
    return (np.clip(level, -1, 1) + 1) / 2 * (CLOSED - OPEN) + OPEN


def commands(wanted: np.ndarray, target: FingerTarget) -> np.ndarray:
    """Return float32 commands `(k,)` that follow the levels `wanted` `(k,)` in [-1, 1].

    `target` remembers what was commanded so far, and is advanced by the actions returned.
    """
    given = np.zeros(len(wanted), dtype=np.float32)
    for step, level in enumerate(in_radians(wanted)):
        given[step] = target.command_towards(float(level))
        target.advance(float(given[step]))
    return given


def checked_kind(kind: str) -> GripperKind:
    """Return `kind`; raises `UserError` if it is neither level nor raw."""
    kinds = get_args(GripperKind)
    if kind not in kinds:
        raise UserError(f"unknown gripper '{kind}'.{nearest(kind, kinds)}")
    return kind  # type: ignore[return-value]
