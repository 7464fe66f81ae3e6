"""features.json, the schema that TFDS writes, as columns and where their values lie in an Example.

The fields of `steps` become columns without that prefix ("observation/image"), those of the whole
episode columns of their own path ("episode_metadata/file_path") with the same value at every step.
A video of the episode is a column of pictures, one a step.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from experiment.errors import UserError, nearest
from worldmodel.data.formats.episode import Column

Coding = Literal["numbers", "text", "picture", "depth", "raw", "zlib"]
_STEPS = "steps"
_LARGEST = 1 << 32  # values a step: a shape that says more is damaged
_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_NUMBERS = ("bool", "float16", "float32", "float64", *_INTEGERS)
_TEXTS = ("string", "object", "str", "bytes")


@dataclass(frozen=True)
class Field:
    """A column, the name `key` of its list in an Example, and how values were coded into it.

    `ragged` counts the sequences around a value inside a step; with `sized`, each value has its
    shape in a list of its own. A field that is not `per_step` has one value an episode. `channels`
    are those of a stored picture.
    """

    key: str
    column: Column
    coding: Coding
    shape: tuple[int | None, ...] = ()
    ragged: int = 0
    sized: bool = False
    per_step: bool = True
    channels: int = 3


@dataclass(frozen=True)
class Schema:
    """The fields by column, and why other columns cannot be read."""

    fields: Mapping[str, Field]
    unread: Mapping[str, str]

    def field(self, column: str, source: str) -> Field:
        """Return a field; raises `UserError` naming `source` and columns of nearly that name."""
        if column in self.fields:
            return self.fields[column]
        if column in self.unread:
            raise UserError(f"{source}: {column!r} cannot be read: {self.unread[column]}.")
        raise UserError(f"{source} has no column {column!r}.{nearest(column, self.fields)}")

    def counter(self) -> Field:
        """Return the field whose list says most cheaply how many steps there are."""
        fixed = [f for f in self.fields.values() if f.per_step and not f.ragged and not f.sized]
        numbers = [f for f in fixed if f.coding == "numbers" and None not in f.shape]
        coded = [f for f in fixed if f.coding != "numbers"]
        return min(numbers or coded, key=lambda f: (len(f.shape), f.column.dtype != "bool", f.key))


class _Unread(Exception):  # noqa: N818 - a reason, not a failure
    """Why a feature cannot be read."""


def read_schema(text: bytes, path: str) -> Schema:
    """Return the schema in a features.json. Raises `UserError` naming its `path`."""
    try:
        root = json.loads(text)
        if "type" in root and "pythonClassName" not in root:
            raise UserError(
                f"{path} is of a TFDS from before 2022, whose schemas are not read here: write it "
                "anew with tfds.core.DatasetInfo.write_to_directory of a current one."
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
    for key, found in leaves:
        column = key.removeprefix(f"{_STEPS}/")
        if column in fields or column in unread:
            raise UserError(f"{path} has both {column!r} and '{_STEPS}/{column}': rename one.")
        if isinstance(found, str):
            unread[column] = found
        else:
            fields[column] = found
    schema = Schema(fields, unread)
    if not any(f.per_step and not f.ragged and not f.sized for f in fields.values()):
        raise UserError(f"{path} has no column in 'steps' that can be read.")
    return schema


def _leaves(node: Mapping[str, Any], key: str) -> Iterator[tuple[str, Field | str]]:
    """Yield the name and field of each feature at and below `node`, or why it is not read."""
    if "featuresDict" in node:
        for name, inner in node["featuresDict"].get("features", {}).items():
            yield from _leaves(inner, f"{key}/{name}")
        return
    in_step = key.split("/")[0] == _STEPS
    if "sequence" in node:
        for name, found in _leaves(node["sequence"]["feature"], key):
            yield name, found if isinstance(found, str) else _in_sequence(found, in_step)
        return
    try:
        yield key, _field(node, key, in_step)
    except _Unread as reason:
        yield key, str(reason)


def _in_sequence(field: Field, in_step: bool) -> Field | str:
    column = field.column
    if not in_step and field.coding == "picture" and not field.per_step:
        return replace(field, per_step=True)
    if not in_step:
        return "it is a sequence of the episode whose places are no steps"
    if field.coding not in ("numbers", "text"):
        return "it is a sequence of pictures or coded arrays within a step"
    if None in field.shape:
        return "it is a sequence of arrays of varying size within a step"
    wrapped = replace(column, shape=(None, *column.shape))
    return replace(field, column=wrapped, ragged=field.ragged + 1)


def _field(node: Mapping[str, Any], key: str, in_step: bool) -> Field:
    if "text" in node:
        return Field(key, Column("text", (), "str"), "text", per_step=in_step)
    if "image" in node or "labeledImage" in node:
        return _picture(node.get("image") or node["labeledImage"], key, in_step)
    if "video" in node:
        if in_step:
            raise _Unread("it is a video within a step")
        content = node["video"]
        frame = _shape(content)[1:] or (None, None, 3)
        return replace(_picture(content, key, in_step, frame), per_step=True)
    if "classLabel" in node:
        return Field(key, Column("array", (), "int64"), "numbers", per_step=in_step)
    if "boundingBox" in node:
        column = Column("array", (4,), "float32")
        return Field(key, column, "numbers", shape=(4,), per_step=in_step)
    if "tensor" not in node:
        name = str(node["pythonClassName"]).rpartition(".")[2]
        raise _Unread(f"features of the kind {name} are not known here")
    return _tensor(node["tensor"], key, in_step)


def _tensor(content: Mapping[str, Any], key: str, in_step: bool) -> Field:
    shape, dtype = _shape(content), str(content["dtype"])
    coding = str(content.get("encoding", "none")).lower()
    if dtype in _TEXTS and coding == "none" and None not in shape:
        return Field(key, Column("text", shape, "str"), "text", shape, per_step=in_step)
    if dtype not in _NUMBERS:
        raise _Unread(f"numbers of the type {dtype} are not known here")
    column = Column("array", shape, dtype)
    if coding in ("bytes", "zlib"):
        sized = shape.count(None) > 1
        how: Coding = "zlib" if coding == "zlib" else "raw"
        return Field(key, column, how, shape, sized=sized, per_step=in_step)
    if coding != "none":
        raise _Unread(f"the encoding {coding} is not known here")
    if shape.count(None) > (0 if in_step else 1):
        raise _Unread("its size varies and is not stored")
    return Field(key, column, "numbers", shape, per_step=in_step)


def _picture(
    content: Mapping[str, Any],
    key: str,
    in_step: bool,
    frame: tuple[int | None, ...] | None = None,
) -> Field:
    shape = frame or _shape(content) or (None, None, 3)
    dtype = str(content.get("dtype") or "uint8")
    if len(shape) != 3 or shape[2] not in (1, 3, 4):
        raise _Unread(f"pictures of shape {shape} are not known here")
    if dtype == "uint8":
        column = Column("image", (*shape[:2], 3), dtype)
        return Field(key, column, "picture", shape, per_step=in_step, channels=int(shape[2]))
    if dtype not in ("uint16", "float32") or shape[2] != 1:
        raise _Unread(f"pictures of {dtype} with {shape[2]} channels are not known here")
    column = Column("array", shape, dtype)
    return Field(key, column, "depth", shape, per_step=in_step, channels=1)


def _shape(content: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Return a shape; TFDS writes its numbers as texts and -1 where they vary."""
    sizes = [int(size) for size in content.get("shape", {}).get("dimensions", [])]
    if any(size < -1 for size in sizes) or math.prod(map(abs, sizes)) > _LARGEST:
        raise ValueError(f"a shape of {sizes}")
    return tuple(None if size == -1 else size for size in sizes)
