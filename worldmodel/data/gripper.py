"""Gripper codecs, one or more a robot: canonical commands to what is learned, predictions to robot.

The canonical command is +1 to close, -1 to open (`worldmodel.data.action_map`). A codec knows what
the robot takes instead, and which form of it a model learns best. The table is closed: a checkpoint
names its robot and codec, and nothing else can be chosen by a file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from experiment.errors import UserError, nearest

RADIANS_PER_UNIT = 1.31
OPEN, CLOSED = -0.01, 1.31
"""Limits of the Google robot's finger target (rad)."""
LEVEL_AT_RESET = 0.0
SPEED = 1.0 / 3.0
"""Radians that the fingers' drive moves in a control step (1 rad/s at 3 Hz)."""

# The controller repeats its last target for deltas below this.
_SMALLEST_DELTA = 1e-3
# Predictions of a level that is held scatter by less than this.
_DEADBAND = 0.12


class Decoder(Protocol):
    """Follows the gripper of one episode; a deep copy goes on alone."""

    def __call__(self, predicted: np.ndarray) -> np.ndarray:
        """Return float32 commands `(k,)` for the robot's environment, which are taken to be
        executed, for predictions `(k,)`."""

    def follow(self, commands: np.ndarray) -> None:
        """Take commands `(k,)` that another one had executed."""


class GripperCodec(Protocol):
    """What a policy learns of a robot's gripper, and how its predictions become commands."""

    def learned(self, commands: np.ndarray) -> np.ndarray:
        """Return what is learned `(t,)` of the canonical commands `(t,)` of a whole episode."""

    def resting(self, last: np.ndarray) -> np.ndarray:
        """Return what is learned after an episode's end, given its last learned values."""

    def decoder(self) -> Decoder:
        """Return a decoder for an episode that starts now."""


class FingerTarget:
    """Follows the Google robot's finger target (rad) from the commands given since the reset.

    A command is a delta on where the drive is on its way to the last target, as in the robot's
    controller (`delta_target_from_last_drive` in SIMPLER's code).
    """

    def __init__(self) -> None:
        self.level = LEVEL_AT_RESET
        self._drive = LEVEL_AT_RESET

    def advance(self, command: float) -> float:
        """Take the command of one control step; return the target it leads to."""
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


class _TargetDecoder:
    def __init__(self) -> None:
        self._target = FingerTarget()

    def __call__(self, predicted: np.ndarray) -> np.ndarray:
        commands = np.zeros(len(predicted), dtype=np.float32)
        for step, level in enumerate(in_radians(predicted)):
            commands[step] = self._target.command_towards(float(level))
            self._target.advance(float(commands[step]))
        return commands

    def follow(self, commands: np.ndarray) -> None:
        for command in commands:
            self._target.advance(float(command))


@dataclass(frozen=True)
class _Stateless:
    decode: Callable[[np.ndarray], np.ndarray]

    def __call__(self, predicted: np.ndarray) -> np.ndarray:
        return self.decode(predicted)

    def follow(self, commands: np.ndarray) -> None: ...


@dataclass(frozen=True)
class TargetLevel:
    """Google robot: the target level after each command, scaled to [-1, 1].

    The robot takes deltas on its fingers' target: +-1 once, then zeros while the fingers move and
    hold. A zero command is ambiguous; the level is constant between commands and follows
    from the commands alone.
    """

    def learned(self, commands: np.ndarray) -> np.ndarray:
        """Return the scaled target levels; the commands must begin at the episode's reset."""
        target = FingerTarget()
        radians = np.array([target.advance(float(command)) for command in commands])
        return scaled(radians).astype(np.float32)

    def resting(self, last: np.ndarray) -> np.ndarray:
        """The level stays."""
        return last

    def decoder(self) -> Decoder:
        """Follow the predicted levels; +1 closes the Google robot's gripper in SIMPLER too."""
        return _TargetDecoder()


@dataclass(frozen=True)
class RelativeCommand:
    """Google robot: the commands as they are (Self-Flow, App. E)."""

    def learned(self, commands: np.ndarray) -> np.ndarray:
        return np.clip(commands, -1, 1)

    def resting(self, last: np.ndarray) -> np.ndarray:
        """No command holds the gripper where it is."""
        return np.zeros_like(last)

    def decoder(self) -> Decoder:
        """Return the predictions within the bounds of a command."""
        return _Stateless(lambda predicted: np.clip(predicted, -1, 1).astype(np.float32))


@dataclass(frozen=True)
class AbsolutePosition:
    """WidowX: the commanded position, +1 closed. SIMPLER's WidowX takes +1 to open."""

    def learned(self, commands: np.ndarray) -> np.ndarray:
        return np.clip(commands, -1, 1)

    def resting(self, last: np.ndarray) -> np.ndarray:
        """The position stays."""
        return last

    def decoder(self) -> Decoder:
        """Turn the canonical sign into that of SIMPLER's WidowX."""
        return _Stateless(lambda predicted: -np.clip(predicted, -1, 1).astype(np.float32))


CODECS: dict[str, dict[str, GripperCodec]] = {
    "google_robot": {"level": TargetLevel(), "raw": RelativeCommand()},
    "widowx": {"absolute": AbsolutePosition()},
}
"""Codecs by robot and name; a robot's first is its default."""

_CLOSES_WITH = {"google_robot": 1.0, "widowx": -1.0}
"""Sign with which the robots' environments close the gripper; in canonical actions it is +1."""


def codec_name(robot: str, name: str | None = None) -> str:
    """Return the name of a codec of `robot`: `name`, or the default for None.

    Raises `UserError` for a robot without codecs and a codec that is not the robot's.
    """
    if robot not in CODECS:
        raise UserError(
            f"robot '{robot}' has no gripper codec, so no policy can act on it."
            f"{nearest(robot, CODECS)}"
        )
    if name is None:
        return next(iter(CODECS[robot]))
    if name not in CODECS[robot]:
        raise UserError(
            f"gripper={name} is not a gripper codec of robot {robot}.{nearest(name, CODECS[robot])}"
        )
    return name


def codec_of(robot: str, name: str | None = None) -> GripperCodec:
    """Return a codec of `robot`, its default for None; raises as `codec_name` does."""
    name = codec_name(robot, name)
    return CODECS[robot][name]


def with_learned_gripper(actions: np.ndarray, codec: GripperCodec) -> np.ndarray:
    """Return an episode's canonical actions `(t, 7)` with the gripper as `codec` learns it."""
    learned = np.array(actions, dtype=np.float32)
    learned[:, 6] = codec.learned(learned[:, 6])
    return learned


@dataclass(frozen=True)
class LearnedGripper:
    """Canonical actions with the gripper as `codec` learns it; an `ActionTransform`."""

    codec: GripperCodec

    def __call__(self, actions: np.ndarray) -> np.ndarray:
        """Return an episode's actions `(t, 7)` as they are learned."""
        return with_learned_gripper(actions, self.codec)

    def resting(self, last: np.ndarray) -> np.ndarray:
        """Return the action `(7,)` of a robot that does not move, the gripper as it was."""
        rest = np.zeros_like(last)
        rest[6:] = self.codec.resting(last[6:])
        return rest


def learned_of_executed(actions: np.ndarray, robot: str, codec: GripperCodec) -> np.ndarray:
    """Return actions `(t, 7)` that a robot's environment executed as `codec` learns them.

    They are all of an episode so far: a relative command means something after those before it.
    """
    canonical = np.array(actions, dtype=np.float32)
    canonical[:, 6] *= _CLOSES_WITH[robot]
    return with_learned_gripper(canonical, codec)


def scaled(radians: np.ndarray) -> np.ndarray:
    """Return levels in rad as levels in [-1, 1]."""
    return (radians - OPEN) / (CLOSED - OPEN) * 2 - 1


def in_radians(level: np.ndarray) -> np.ndarray:
    """Return levels in [-1, 1] as levels in rad; the inverse of `scaled`."""
    return (np.clip(level, -1, 1) + 1) / 2 * (CLOSED - OPEN) + OPEN
