"""Adapters: what a data set calls its camera, action, instruction and state, and how it means them.

An adapter is a few lines of YAML under `configs/adapter`. It maps every data set to the one action
of the house `(t, 7)`: translation (m) and rotation vector (rad) of the gripper in the axes of the
robot's base, then the gripper in [-1, 1], +1 to close and -1 to open. `back` undoes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from experiment.errors import UserError, nearest
from worldmodel.data.columns import Part, spelled
from worldmodel.data.formats.episode import Column, DamagedRecord, Episode
from worldmodel.data.rotations import (
    SIZES,
    checked_rotation,
    from_rotation_vector,
    to_rotation_vector,
)

GripperKind = Literal["closed", "open", "closing", "opening", "none"]
"""closed, open: 0 to 1, how far the gripper is to be closed or open. closing, opening: -1 to 1, in
which direction it is to move, 0 to leave it. none: there is no gripper, the action says 0."""

InstructionKind = Literal["text", "bytes"]
"""bytes: numbers `(n,)` a step, one a byte of UTF-8, zeros after the end."""

Channels = Literal["rgb", "bgr"]

ACTION_SIZE = 7


@dataclass(frozen=True)
class ActionMap:
    """Where an action is and how it is meant.

    translation, rotation, gripper: parts of columns ("" where there is none); `scale_translation`
    and `scale_rotation` turn the data set's numbers into m and rad. Where `translation` or
    `rotation` have one number an axis less, the missing ones are 0.
    """

    translation: str
    rotation: str = ""
    rotation_kind: str = "axis_angle"
    gripper: str = ""
    gripper_kind: str = "none"
    scale_translation: float = 1.0
    scale_rotation: float = 1.0

    def __post_init__(self) -> None:
        checked_rotation(self.rotation_kind)
        if self.gripper_kind not in get_args(GripperKind):
            kinds = get_args(GripperKind)
            raise UserError(
                f"unknown kind of gripper {self.gripper_kind!r}.{nearest(self.gripper_kind, kinds)}"
            )
        if bool(self.rotation) != (self.rotation_kind != "none"):
            raise UserError("adapter: rotation and rotation_kind are given together or not at all.")
        if bool(self.gripper) != (self.gripper_kind != "none"):
            raise UserError("adapter: gripper and gripper_kind are given together or not at all.")

    def parts(self) -> dict[str, Part]:
        """Return the parts that there are, by name."""
        named = {
            "translation": self.translation,
            "rotation": self.rotation,
            "gripper": self.gripper,
        }
        return {name: Part.of(text) for name, text in named.items() if text}

    def forth(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return actions `(t, 7)` float64 of the parts' values `(t, n)`."""
        translation = _three(values["translation"]) * self.scale_translation
        rotation = np.zeros_like(translation)
        if "rotation" in values:
            kind = checked_rotation(self.rotation_kind)
            written = values["rotation"]
            if kind in ("axis_angle", "rpy"):
                written = _three(written) * self.scale_rotation
            rotation = to_rotation_vector(written, kind)
        gripper = np.zeros((len(translation), 1))
        if "gripper" in values:
            gripper = to_closing(values["gripper"][:, :1], self.gripper_kind)
        return np.concatenate([translation, rotation, gripper], -1)

    def back(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        """Return the parts' values of actions `(t, 7)`, as the data set would write them."""
        actions = np.asarray(actions, dtype=np.float64)
        values = {"translation": actions[:, :3] / self.scale_translation}
        if self.rotation:
            kind = checked_rotation(self.rotation_kind)
            values["rotation"] = from_rotation_vector(actions[:, 3:6], kind)
            if SIZES[kind] == 3:
                values["rotation"] = values["rotation"] / self.scale_rotation
        if self.gripper:
            values["gripper"] = from_closing(actions[:, 6:], self.gripper_kind)
        return values


def to_closing(values: np.ndarray, kind: str) -> np.ndarray:
    """Return the gripper in [-1, 1], +1 to close, of values written as `kind`."""
    if kind == "closed":
        return 2 * np.clip(values, 0, 1) - 1
    if kind == "open":
        return 1 - 2 * np.clip(values, 0, 1)
    return np.clip(values if kind == "closing" else -values, -1, 1)


def from_closing(values: np.ndarray, kind: str) -> np.ndarray:
    """Return what `to_closing` was given (within its bounds)."""
    if kind == "closed":
        return (values + 1) / 2
    if kind == "open":
        return (1 - values) / 2
    return values if kind == "closing" else -values


def _three(values: np.ndarray) -> np.ndarray:
    missing = 3 - values.shape[-1]
    if missing < 0:
        raise UserError(
            f"adapter: a translation or rotation has {values.shape[-1]} numbers, not 3."
        )
    return np.pad(values, ((0, 0), (0, missing)))


@dataclass(frozen=True)
class Adapter:
    """How one data set is read.

    image: the column of the camera that is used. channels: in which order its colours were stored
    (some sets of Open-X have red and blue changed over). instruction: a column of text ("" for
    none), or of what `instruction_kind` says. action: see `ActionMap`. state: parts that make up
    the proprioception, in order. rate: control steps a second. robot: its name, for people and
    checkpoints. skip_first: steps at the start that say nothing (Bridge begins with an action of
    zeros).
    """

    name: str
    robot: str
    rate: float
    image: str
    action: ActionMap
    instruction: str = ""
    instruction_kind: InstructionKind = "text"
    channels: Channels = "rgb"
    state: tuple[str, ...] = ()
    skip_first: int = 0
    parts: tuple[Part, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.skip_first < 0:
            raise UserError(f"adapter {self.name}: rate must be positive, skip_first not negative.")
        for value, kinds in ((self.instruction_kind, InstructionKind), (self.channels, Channels)):
            if value not in get_args(kinds):
                known = nearest(value, get_args(kinds))
                raise UserError(f"adapter {self.name}: {value!r} is not known.{known}")
        object.__setattr__(self, "state", tuple(self.state))
        object.__setattr__(self, "parts", tuple(Part.of(text) for text in self.state))

    def check(self, columns: Mapping[str, Column], source: str) -> None:
        """Raise `UserError` naming the first column that the data set lacks or has otherwise."""
        spelled = "array" if self.instruction_kind == "bytes" else "text"
        wanted = [(self.image, "image"), (self.instruction, spelled)]
        wanted += [(p.column, "array") for p in (*self.action.parts().values(), *self.parts)]
        for name, kind in wanted:
            if not name:
                continue
            if name not in columns:
                raise UserError(
                    f"{source} has no column {name!r} that adapter {self.name} reads."
                    f"{nearest(name, columns)}"
                )
            if columns[name].kind != kind:
                raise UserError(
                    f"{source}: column {name!r} holds {columns[name].kind}, adapter {self.name} "
                    f"reads it as {kind}."
                )

    def actions(self, episode: Episode) -> np.ndarray:
        """Return `(t, 7)` float32; raises `DamagedRecord` for what is not finite."""
        values = {name: part.read(episode) for name, part in self.action.parts().items()}
        return self._finite(self.action.forth(values), "action", episode)

    def states(self, episode: Episode) -> np.ndarray:
        """Return `(t, s)` float32; s is 0 where the adapter names no state."""
        if not self.parts:
            return np.zeros((len(episode) - self.skip_first, 0), dtype=np.float32)
        read = np.concatenate([part.read(episode) for part in self.parts], -1)
        return self._finite(read, "state", episode)

    def instructions(self, episode: Episode) -> list[str]:
        """Return the instruction of each step, trimmed; empty where there is none."""
        if not self.instruction:
            return [""] * (len(episode) - self.skip_first)
        if self.instruction_kind == "bytes":
            texts = spelled(episode.array(self.instruction), episode)
        else:
            texts = episode.text(self.instruction)
        return [text.strip() for text in texts][self.skip_first :]

    def images(self, episode: Episode, steps: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the pictures uint8 `(n, h, w, 3)` of `steps`, counted after `skip_first`."""
        chosen = np.asarray(steps, dtype=np.int64) + self.skip_first
        pictures = episode.images(self.image, chosen)
        return pictures if self.channels == "rgb" else np.ascontiguousarray(pictures[..., ::-1])

    def lengths(self, lengths: np.ndarray) -> np.ndarray:
        """Return the steps of each episode that are used."""
        return np.maximum(lengths - self.skip_first, 0)

    def _finite(self, values: np.ndarray, what: str, episode: Episode) -> np.ndarray:
        values = values[self.skip_first :]
        bad = np.flatnonzero(~np.isfinite(values).all(1))
        if len(bad):
            step = int(bad[0]) + self.skip_first
            raise DamagedRecord(f"{episode.name}: the {what} of step {step} is not finite.")
        return values.astype(np.float32)
