"""Adapters: a data set's columns for camera, action, instruction and state, and their conventions.

An adapter is a few lines of YAML under `configs/adapter`. It maps every data set to the one
canonical action `(t, 7)`: translation (m) and rotation vector (rad) of the gripper in the axes of
the robot's base, then the gripper in [-1, 1], +1 to close and -1 to open.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Literal, get_args

import numpy as np
from omegaconf import OmegaConf

from experiment.errors import UserError, nearest
from experiment.settings import CONFIGS, build
from worldmodel.data.formats.episode import Column, DamagedRecord, Episode, Episodes

GripperKind = Literal["closed", "open", "closing", "opening", "none"]
"""closed, open: 0 to 1, how far the gripper is to be closed or open. closing, opening: -1 to 1, in
which direction it is to move, 0 to leave it. none: without a gripper, its action is 0."""

RotationKind = Literal["axis_angle", "rpy", "quaternion_xyzw", "none"]
"""rpy: turns about the fixed x, y and z axes in this order, as most of Open X-Embodiment means."""

InstructionKind = Literal["text", "bytes"]
"""bytes: numbers `(n,)` a step, one a byte of UTF-8, zeros after the end."""

Channels = Literal["rgb", "bgr"]

ACTION_SIZE = 7
DEPARTURE = np.array([0.003] * 3 + [0.03] * 3 + [0.1])
"""From here on (m, rad, gripper) a robot did something other than the recorded action."""
_SLICE = re.compile(r"^(?P<column>[^\[\]]+?)(\[(?P<first>-?\d+)?(?P<colon>:)?(?P<last>-?\d+)?\])?$")
# Demonstrations: adapters by LeRobot's robot_type, for sets whose action is named as ours.
_RECORDED = {"google_robot": "simpler_google_robot", "widowx": "simpler_widowx"}
_RECORDED_ACTION = ("dx", "dy", "dz", "rotation_x", "rotation_y", "rotation_z", "gripper")


@dataclass(frozen=True)
class ColumnSlice:
    """A column or some of its numbers: `action/world_vector`, `action[3:6]`, `action[6]`."""

    text: str
    column: str
    where: slice

    @classmethod
    def of(cls, text: str) -> "ColumnSlice":
        """Read the text; raises `UserError`."""
        match = _SLICE.match(text.strip())
        if match is None:
            raise UserError(
                f"adapter: {text!r} does not name a column; write column or column[3:6]."
            )
        first, last = (None if (v := match[n]) is None else int(v) for n in ("first", "last"))
        if match[2] and not match["colon"]:
            if first is None:
                raise UserError(f"adapter: {text!r} has empty brackets; write column[6].")
            return cls(text, match["column"], slice(first, first + 1 if first != -1 else None))
        return cls(text, match["column"], slice(first, last))

    def size(self, column: Column) -> int:
        """Return how many numbers of a column they are; 0 where its size varies."""
        sizes = [size or 0 for size in column.shape]
        return len(range(*self.where.indices(prod(sizes))))

    def check(self, column: Column, name: str, sizes: tuple[int, int | None], source: str) -> None:
        """Raise `UserError` where the slice leaves the column or has another number of numbers."""
        if None in column.shape:
            return
        total = prod(size or 0 for size in column.shape)
        ends = [end for end in (self.where.start, self.where.stop) if end is not None]
        chosen = self.size(column)
        most = sizes[1] or chosen
        if any(abs(end) > total for end in ends) or not sizes[0] <= chosen <= most:
            raise UserError(
                f"{source}: column {self.column!r} has {total} numbers a step, {self.text!r} "
                f"cannot be {name}: take an adapter made for this data set, or none, to learn "
                "from the video alone."
            )

    def read(self, episode: Episode) -> np.ndarray:
        values = episode.array(self.column)
        return values.reshape(len(values), -1)[:, self.where].astype(np.float64)


@dataclass(frozen=True)
class ActionMap:
    """The columns of an action, and their conventions.

    translation, rotation, gripper: slices of columns ("" where there is none, but there must be a
    translation); `scale_translation` and `scale_rotation` turn the data set's numbers into m and
    rad. Where `translation` or `rotation` have one number an axis less, the missing ones are 0.
    """

    translation: str
    rotation: str = ""
    rotation_kind: RotationKind = "axis_angle"
    gripper: str = ""
    gripper_kind: GripperKind = "none"
    scale_translation: float = 1.0
    scale_rotation: float = 1.0
    slices: Mapping[str, ColumnSlice] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.translation:
            raise UserError(
                "adapter: action.translation is empty: name a column such as action[0:3], or leave "
                "the action out (null), to learn from the video alone."
            )
        _check_known("kind of rotation", self.rotation_kind, get_args(RotationKind))
        _check_known("kind of gripper", self.gripper_kind, get_args(GripperKind))
        for name in ("rotation", "gripper"):
            if bool(getattr(self, name)) != (getattr(self, f"{name}_kind") != "none"):
                raise UserError(f"adapter: {name} and {name}_kind are given together or not.")
        named = {name: getattr(self, name) for name in ("translation", "rotation", "gripper")}
        slices = {name: ColumnSlice.of(text) for name, text in named.items() if text}
        object.__setattr__(self, "slices", slices)

    def check(self, columns: Mapping[str, Column], source: str) -> None:
        """Raise `UserError` for a slice that its column does not have."""
        quaternion = self.rotation_kind == "quaternion_xyzw"
        sizes = {
            "translation": (1, 3),
            "rotation": (4, 4) if quaternion else (1, 3),
            "gripper": (1, None),
        }
        for name, column_slice in self.slices.items():
            column = columns[column_slice.column]
            column_slice.check(column, f"a {name}", sizes[name], source)
        self._check_all_read(columns, source)

    def _check_all_read(self, columns: Mapping[str, Column], source: str) -> None:
        """Refuse a column that names numbers beyond those read: the joints of a humanoid, say."""
        reached: dict[str, int] = {}
        for each in self.slices.values():
            count = len(columns[each.column].names)
            end = each.where.indices(count)[1]
            reached[each.column] = max(reached.get(each.column, 0), end)
        for column, end in reached.items():
            beyond = columns[column].names[end:]
            if beyond:
                raise UserError(
                    f"{source}: column {column!r} goes on with {', '.join(beyond[:3])} after the "
                    f"{end} numbers that the adapter reads, so it is not the action it was made "
                    "for: take another adapter, or none, to learn from the video alone."
                )

    def canonical(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        translation = _three(values["translation"]) * self.scale_translation
        rotation = np.zeros_like(translation)
        if "rotation" in values:
            rotation = values["rotation"]
            if self.rotation_kind in ("axis_angle", "rpy"):
                rotation = _three(rotation) * self.scale_rotation
            rotation = rotation_vectors(rotation, self.rotation_kind)
        gripper = np.zeros((len(translation), 1))
        if "gripper" in values:
            gripper = to_closing(values["gripper"][:, :1], self.gripper_kind)
        return np.concatenate([translation, rotation, gripper], -1)


def rotation_vectors(values: np.ndarray, kind: RotationKind) -> np.ndarray:
    """Return rotation vectors `(t, 3)`, rad, of `values` `(t, n)` written as `kind`.

    A quaternion without length gives what is not finite.
    """
    if kind == "axis_angle":
        return values
    # Takes a second to load, and learning video alone never needs it.
    from scipy.spatial.transform import Rotation

    if kind == "rpy":
        return Rotation.from_euler("xyz", values).as_rotvec()
    zero = ~(np.linalg.norm(values, axis=-1) > 0)[:, None]
    vectors = Rotation.from_quat(np.where(zero, [0.0, 0.0, 0.0, 1.0], values)).as_rotvec()
    return np.where(zero, np.nan, vectors)


def to_closing(values: np.ndarray, kind: GripperKind) -> np.ndarray:
    """Return the gripper in [-1, 1], +1 to close, of values written as `kind`."""
    if kind == "closed":
        return 2 * np.clip(values, 0, 1) - 1
    if kind == "open":
        return 1 - 2 * np.clip(values, 0, 1)
    return np.clip(values if kind == "closing" else -values, -1, 1)


def _three(values: np.ndarray) -> np.ndarray:
    return np.pad(values, ((0, 0), (0, 3 - values.shape[-1])))


def _check_known(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UserError(f"adapter: unknown {what} {value!r}.{nearest(value, known)}")


@dataclass(frozen=True)
class Adapter:
    """How one data set is read.

    image: the column of the camera that is used. action: see `ActionMap`; None: only the video is
    read. rate: control steps a second, None for the set's own. robot: its name, by which a gripper
    codec is found. channels: in which order colours were stored (some sets of Open-X have red and
    blue swapped). instruction: a column of text ("" for none), or of the `instruction_kind`.
    state: slices that make up the proprioception, in order. skip_first: steps to leave out at the
    start (Bridge begins with an action of zeros). executed: the action that the robot was given, in
    sets that say so, where `action` is what it should have done.
    """

    name: str
    image: str
    action: ActionMap | None = None
    rate: float | None = None
    robot: str | None = None
    instruction: str = ""
    instruction_kind: InstructionKind = "text"
    channels: Channels = "rgb"
    state: tuple[str, ...] = ()
    skip_first: int = 0
    executed: ActionMap | None = None
    slices: tuple[ColumnSlice, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.rate is not None and self.rate <= 0) or self.skip_first < 0:
            raise UserError(f"adapter {self.name}: rate must be positive, skip_first not negative.")
        _check_known("kind of instruction", self.instruction_kind, get_args(InstructionKind))
        _check_known("order of channels", self.channels, get_args(Channels))
        object.__setattr__(self, "state", tuple(self.state))
        object.__setattr__(self, "slices", tuple(ColumnSlice.of(text) for text in self.state))

    def check(self, columns: Mapping[str, Column], source: str, video_only: bool = False) -> None:
        """Raise `UserError` naming the first column that the data set lacks or has otherwise."""
        text = "array" if self.instruction_kind == "bytes" else "text"
        action = None if video_only else self.action
        state = () if video_only else self.slices
        numbers = [*(action.slices.values() if action else ()), *state]
        needed = [(self.image, "image"), (self.instruction, text)]
        for name, kind in [*needed, *((each.column, "array") for each in numbers)]:
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
        if action is not None:
            action.check(columns, source)
            if self.executed is not None and self._says_executed(columns):
                self.executed.check(columns, source)
        for column_slice in state:
            column_slice.check(columns[column_slice.column], "a state", (1, None), source)

    def actions(self, episode: Episode) -> np.ndarray:
        """Return canonical actions `(t, 7)` float32; raises `DamagedRecord` where not finite."""
        if self.action is None:
            return np.zeros((len(episode) - self.skip_first, 0), dtype=np.float32)
        values = {name: each.read(episode) for name, each in self.action.slices.items()}
        return self._finite(self.action.canonical(values), "action", episode)

    def departures(
        self, episode: Episode, action: np.ndarray, columns: Mapping[str, Column]
    ) -> np.ndarray:
        """Return at which steps `(t,)` the robot did something other than its `action` `(t, 7)`."""
        if self.executed is None or not self._says_executed(columns):
            return np.zeros(len(action), dtype=bool)
        values = {name: each.read(episode) for name, each in self.executed.slices.items()}
        executed = self._finite(self.executed.canonical(values), "executed action", episode)
        return (np.abs(executed - action) > DEPARTURE).any(-1)

    def _says_executed(self, columns: Mapping[str, Column]) -> bool:
        named = () if self.executed is None else self.executed.slices.values()
        return all(each.column in columns for each in named)

    def states(self, episode: Episode) -> np.ndarray:
        """Return `(t, s)` float32; s is 0 where the adapter names no state."""
        if not self.slices:
            return np.zeros((len(episode) - self.skip_first, 0), dtype=np.float32)
        values = np.concatenate([each.read(episode) for each in self.slices], -1)
        return self._finite(values, "state", episode)

    def instructions(self, episode: Episode) -> list[str]:
        """Return the instruction of each step, trimmed; empty where there is none."""
        if not self.instruction:
            return [""] * (len(episode) - self.skip_first)
        if self.instruction_kind == "bytes":
            texts = _of_bytes(episode.array(self.instruction), episode)
        else:
            texts = episode.text(self.instruction)
        return [text.strip() for text in texts][self.skip_first :]

    def images(self, episode: Episode, steps: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the pictures uint8 `(n, h, w, 3)` of `steps`, counted after `skip_first`."""
        chosen = np.asarray(steps, dtype=np.int64) + self.skip_first
        pictures = episode.images(self.image, chosen)
        return pictures if self.channels == "rgb" else np.ascontiguousarray(pictures[..., ::-1])

    def lengths(self, lengths: np.ndarray) -> np.ndarray:
        return np.maximum(lengths - self.skip_first, 0)

    def _finite(self, values: np.ndarray, what: str, episode: Episode) -> np.ndarray:
        values = values[self.skip_first :]
        bad = np.flatnonzero(~np.isfinite(values).all(1))
        if len(bad):
            step = int(bad[0]) + self.skip_first
            raise DamagedRecord(f"{episode.name}: the {what} of step {step} is not finite.")
        return values.astype(np.float32)


def _of_bytes(rows: np.ndarray, episode: Episode) -> list[str]:
    """Return the text of each row of bytes `(t, n)`; raises `DamagedRecord`."""
    if rows.size and not (rows.min() >= 0 and rows.max() <= 255):
        raise DamagedRecord(f"{episode.name}: its instruction has numbers outside 0 to 255.")
    try:
        return [row.tobytes().split(b"\0")[0].decode() for row in rows.astype(np.uint8)]
    except UnicodeDecodeError as error:
        raise DamagedRecord(f"{episode.name}: its instruction is not UTF-8.") from error


def adapter_for(episodes: Episodes, camera: str | None = None) -> Adapter:
    """Return the adapter of a data set for which none was named.

    Demonstrations that `envs.collect` wrote are recognised by their robot and the names of their
    action's numbers. Of any other set only the video is read, of `camera` or the only camera, with
    the instruction of a LeRobot set. Raises `UserError` if there are several cameras.
    """
    columns = episodes.columns
    recorded = _RECORDED.get(episodes.robot or "")
    if recorded is not None and _names(columns.get("action")) == _RECORDED_ACTION:
        node = OmegaConf.load(CONFIGS / "adapter" / f"{recorded}.yaml")
        return build(node, Adapter)  # type: ignore[arg-type]
    cameras = sorted(name for name, column in columns.items() if column.kind == "image")
    if not cameras:
        raise UserError(f"{episodes.source} has no camera: there is nothing to learn from.")
    if camera is None and len(cameras) > 1:
        raise UserError(
            f"{episodes.source} has {len(cameras)} cameras, set data.camera to one of: "
            f"{', '.join(cameras)}."
        )
    task = columns.get("task")
    instruction = "task" if task is not None and task.kind == "text" else ""
    return Adapter("video", camera or cameras[0], robot=episodes.robot, instruction=instruction)


def _names(column: Column | None) -> tuple[str, ...]:
    return () if column is None else column.names
