"""Actions as a data set writes them, and the one that all are mapped to.

The canonical action `(t, 7)` is translation (m) and rotation vector (rad) of the gripper in the
axes of the robot's base, then the gripper in [-1, 1], +1 to close and -1 to open.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Literal, get_args

import numpy as np

from experiment.errors import UserError, nearest
from worldmodel.data.formats.episode import Column, Episode

GripperKind = Literal["closed", "open", "closing", "opening", "none"]
"""closed, open: 0 to 1, how far the gripper is to be closed or open. closing, opening: -1 to 1, in
which direction it is to move, 0 to leave it. none: without a gripper, its action is 0."""

RotationKind = Literal["axis_angle", "rpy", "quaternion_xyzw", "none"]
"""rpy: turns about the fixed x, y and z axes in this order, as most of Open X-Embodiment means."""

_SLICE = re.compile(r"^(?P<column>[^\[\]]+?)(\[(?P<first>-?\d+)?(?P<colon>:)?(?P<last>-?\d+)?\])?$")


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
        check_known("kind of rotation", self.rotation_kind, get_args(RotationKind))
        check_known("kind of gripper", self.gripper_kind, get_args(GripperKind))
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


def check_known(what: str, value: str, known: Sequence[str]) -> None:
    """Raise `UserError` for what an adapter cannot mean."""
    if value not in known:
        raise UserError(f"adapter: unknown {what} {value!r}.{nearest(value, known)}")
