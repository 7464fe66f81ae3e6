"""features.json, the schema that TFDS writes: columns, and which list of an Example holds each.

The fields of `steps` become columns without that prefix ("observation/image"); those of the whole
episode keep their path ("episode_metadata/file_path") and have the same value at every step.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from experiment.errors import UserError, nearest
from worldmodel.data.formats.episode import Column

_STEPS = "steps"
_MOST_VALUES = 1 << 32  # a step: a larger shape is damaged
_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_NUMBERS = ("bool", "float16", "float32", "float64", *_INTEGERS)
_TEXTS = ("string", "object", "str", "bytes")


@dataclass(frozen=True)
class Field:
    """A column and the name `key` of its list; not `per_step` is one value an episode."""

    key: str
    column: Column
    per_step: bool

    @property
    def width(self) -> int:
        """Return the entries of the list that belong to one step."""
        return math.prod(side or 0 for side in self.column.shape) if self.is_numbers else 1

    @property
    def is_numbers(self) -> bool:
        """Return whether the list holds numbers, else one text or coded picture a step."""
        return self.column.kind == "array"


@dataclass(frozen=True)
class Schema:
    """The fields by column, and why other columns cannot be read."""

    fields: Mapping[str, Field]
    unread: Mapping[str, str]

    def field(self, column: str, source: str) -> Field:
        """Return a field; raises `UserError` naming `source` and similar columns."""
        if column in self.fields:
            return self.fields[column]
        if column in self.unread:
            raise UserError(f"{source}: {column!r} cannot be read: {self.unread[column]}.")
        raise UserError(f"{source} has no column {column!r}.{nearest(column, self.fields)}")

    def counter(self) -> Field:
        """Return the field whose list is the cheapest to count steps by."""
        fields = [field for field in self.fields.values() if field.per_step and field.width]
        return min(
            fields, key=lambda f: (not f.is_numbers, f.width, f.column.dtype != "bool", f.key)
        )


class _Unread(Exception):  # noqa: N818 - a reason, not a failure
    """Why a feature cannot be read."""


def read_schema(text: bytes, path: str) -> Schema:
    """Return the schema in a features.json. Raises `UserError` naming its `path`."""
    try:
        root = json.loads(text)
        if "type" in root and "pythonClassName" not in root:
            raise UserError(
                f"{path} is of a TFDS from before 2022, whose schemas are not read: write it "
                "again with tfds.core.DatasetInfo.write_to_directory of a current one."
            )
        features = dict(root["featuresDict"]["features"])
        steps = features.pop(_STEPS, None)
        if steps is None or "sequence" not in steps:
            raise UserError(f"{path} has no data set 'steps': it is no RLDS data set.")
        leaves = list(_leaves(steps["sequence"]["feature"], _STEPS))
        leaves += [leaf for name, node in features.items() for leaf in _leaves(node, name)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged ({error!r}): copy it again.") from error
    fields: dict[str, Field] = {}
    unread: dict[str, str] = {}
    for key, leaf in leaves:
        column = key.removeprefix(f"{_STEPS}/")
        if column in fields or column in unread:
            raise UserError(f"{path} has both {column!r} and '{_STEPS}/{column}': rename one.")
        if isinstance(leaf, Column):
            fields[column] = Field(key, leaf, per_step=key != column)
        else:
            unread[column] = leaf
    if not any(field.per_step and field.width for field in fields.values()):
        raise UserError(f"{path} has no column in 'steps' that can be read.")
    return Schema(fields, unread)


def _leaves(node: Mapping[str, Any], key: str) -> Iterator[tuple[str, Column | str]]:
    """Yield the name and column of each feature at and below `node`, or why it is not read."""
    if "featuresDict" in node:
        for name, inner in node["featuresDict"].get("features", {}).items():
            yield from _leaves(inner, f"{key}/{name}")
        return
    try:
        column = _column(node)
        if column.kind == "image" and not key.startswith(f"{_STEPS}/"):
            raise _Unread("it is a picture of the whole episode")
        yield key, column
    except _Unread as reason:
        yield key, str(reason)


def _column(node: Mapping[str, Any]) -> Column:
    if "text" in node:
        return Column("text", (), "str")
    if "image" in node:
        return _picture(node["image"])
    if "tensor" in node:
        return _tensor(node["tensor"])
    name = str(node["pythonClassName"]).rpartition(".")[2]
    raise _Unread(f"features of the kind {name} are not read")


def _tensor(content: Mapping[str, Any]) -> Column:
    shape, dtype = _shape(content), str(content["dtype"])
    encoding = str(content.get("encoding", "none")).lower()
    if encoding != "none":
        raise _Unread(f"the encoding {encoding} is not read")
    if dtype in _TEXTS and not shape:
        return Column("text", (), "str")
    if dtype not in _NUMBERS:
        raise _Unread(f"tensors of the type {dtype} and the shape {list(shape)} are not read")
    if None in shape:
        raise _Unread("its size varies")
    return Column("array", shape, dtype)


def _picture(content: Mapping[str, Any]) -> Column:
    shape, dtype = _shape(content) or (None, None, 3), str(content.get("dtype") or "uint8")
    if dtype != "uint8" or len(shape) != 3 or shape[2] not in (1, 3, 4):
        raise _Unread(f"pictures of {dtype} of the shape {list(shape)} are not read")
    return Column("image", (*shape[:2], 3), dtype)


def _shape(content: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Return a shape; TFDS writes its numbers as texts and -1 where they vary."""
    sizes = [int(size) for size in content.get("shape", {}).get("dimensions", [])]
    if any(size < -1 for size in sizes) or math.prod(map(abs, sizes)) > _MOST_VALUES:
        raise ValueError(f"a shape of {sizes}")
    return tuple(None if size == -1 else size for size in sizes)
