"""Lists of an Example -> one value a step, as features.json describes them."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from worldmodel.data.formats.rlds.example import Feature
from worldmodel.data.formats.rlds.schema import Field
from worldmodel.data.formats.rlds.tfrecord import Malformed

_LARGEST_ARRAY = 1 << 30  # bytes: what claims to be larger unpacked is damaged


def numbers(features: dict[str, Feature], field: Field, steps: int) -> np.ndarray:
    """Return `(steps, ...)` of a field of numbers of fixed shape. Raises `Malformed`."""
    shape = tuple(side or 0 for side in field.shape)
    values = _numbers(_feature(features, field.key), field)
    if None in field.shape:  # of the whole episode: within a step it would be ragged
        each = int(np.prod([side for side in field.shape if side is not None], dtype=np.int64))
        if each == 0 or len(values) % each:
            raise Malformed(f"has {len(values)} numbers in {field.key!r}, no multiple of {each}")
        return values.reshape(1, *(-1 if side is None else side for side in field.shape))
    count = steps * int(np.prod(shape, dtype=np.int64))
    if len(values) != count:
        raise Malformed(f"has {len(values)} numbers in {field.key!r} where {count} are due")
    return values.reshape(steps, *shape)


def strings(features: dict[str, Feature], field: Field, steps: int) -> list[memoryview]:
    """Return the bytes of each of the `steps` values of a coded field. Raises `Malformed`."""
    found = _feature(features, field.key).strings()
    if len(found) != steps:
        raise Malformed(f"has {len(found)} entries in {field.key!r} where {steps} are due")
    return found


def texts(features: dict[str, Feature], field: Field, steps: int) -> list[Any]:
    """Return the text of each step, or nested lists of them. Raises `Malformed`."""
    each = int(np.prod([side or 0 for side in field.shape], dtype=np.int64))
    flat = [_text(v, field) for v in strings(features, field, steps * each)]
    if not field.shape:
        return flat
    return np.asarray(flat, object).reshape(steps, *field.shape).tolist()


def ragged(features: dict[str, Feature], field: Field, steps: int) -> list[Any]:
    """Return an array (or a list of texts) for each step, in lists where sequences are nested."""
    flat = _feature(features, f"{field.key}/ragged_flat_values")
    values: Any
    if field.coding == "text":
        values = [_text(v, field) for v in flat.strings()]
    else:
        shape = tuple(side or 0 for side in field.shape)
        loose = _numbers(flat, field)
        each = int(np.prod(shape, dtype=np.int64))
        if each == 0 or len(loose) % each:
            raise Malformed(f"has {len(loose)} numbers in {field.key!r}, no multiple of {each}")
        values = loose.reshape(-1, *shape)
    for level in reversed(range(field.ragged)):
        name = f"{field.key}/ragged_row_lengths_{level}"
        values = _split(values, _feature(features, name).integers(), name)
    if len(values) != steps:
        raise Malformed(f"has {len(values)} entries in {field.key!r} where {steps} are due")
    return list(values)


def arrays(features: dict[str, Feature], field: Field, steps: int) -> list[np.ndarray]:
    """Return the array of each step of a field whose arrays were written as bytes."""
    if not field.sized:
        shapes: Sequence[tuple[int | None, ...]] = [field.shape] * steps
        values = strings(features, field, steps)
    else:
        sizes = _feature(features, f"{field.key}/shape").integers()
        values = _feature(features, f"{field.key}/value").strings()
        if len(values) != steps or len(sizes) != steps * len(field.shape):
            raise Malformed(f"has {len(values)} arrays in {field.key!r} where {steps} are due")
        shapes = [tuple(row) for row in sizes.reshape(steps, -1).tolist()]
        if not all(_agrees(shape, field.shape) for shape in shapes):
            raise Malformed(f"has an array in {field.key!r} that is not of shape {field.shape}")
    return [_array(v, s, field) for v, s in zip(values, shapes, strict=True)]


def finite(values: np.ndarray, key: str) -> np.ndarray:
    """Return `values` `(steps, ...)`. Raises `Malformed` naming the first step with a NaN."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        rows = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        raise Malformed(f"has {key!r} that is not finite in step {int(np.argmax(rows))}")
    return values


def _feature(features: dict[str, Feature], key: str) -> Feature:
    if key not in features:
        raise Malformed(f"has no {key!r}, which features.json lists")
    return features[key]


def _numbers(feature: Feature, field: Field) -> np.ndarray:
    """Return `(n,)` in the dtype of the field. Raises `Malformed` for a number out of range."""
    dtype = np.dtype(field.column.dtype)
    if dtype.kind == "f":
        floats = feature.floats()
        with np.errstate(over="ignore"):
            return floats.astype(dtype)
    integers = feature.integers()
    if dtype == np.uint64:  # written as int64 of the same bits
        return integers.view(np.uint64)
    values = integers.astype(dtype)
    if not np.array_equal(values, integers):
        raise Malformed(f"has a number in {field.key!r} that is out of the range of {dtype}")
    return values


def _array(value: memoryview, shape: tuple[int | None, ...], field: Field) -> np.ndarray:
    dtype = np.dtype(field.column.dtype)
    known = int(np.prod([side for side in shape if side is not None], dtype=np.int64))
    due = _LARGEST_ARRAY if None in shape else known * dtype.itemsize
    octets = _unzip(value, field, due) if field.coding == "zlib" else bytes(value)
    count, rest = divmod(len(octets), dtype.itemsize)
    if rest or (count != known if None not in shape else known == 0 or count % known):
        raise Malformed(f"has {len(octets)} bytes in {field.key!r}, not an array of {shape}")
    loose = np.frombuffer(octets, dtype.newbyteorder("<")).astype(dtype, copy=False)
    return loose.reshape([-1 if side is None else side for side in shape])


def _unzip(value: memoryview, field: Field, most: int) -> bytes:
    try:
        unpacked = zlib.decompressobj()
        octets = unpacked.decompress(value, most + 1)
    except zlib.error as error:
        raise Malformed(f"has {field.key!r} that does not unpack ({error})") from error
    if not unpacked.eof:
        raise Malformed(f"has {field.key!r} that does not unpack to its end")
    return octets


def _agrees(shape: Sequence[int | None], schema: tuple[int | None, ...]) -> bool:
    return all(
        a is not None and a >= 0 and b in (None, a) for a, b in zip(shape, schema, strict=True)
    )


def _split(values: Any, lengths: np.ndarray, name: str) -> list[Any]:
    if (lengths < 0).any() or (lengths > len(values)).any() or lengths.sum() != len(values):
        raise Malformed(f"has lengths in {name!r} that do not add up to its {len(values)} values")
    ends = np.cumsum(lengths).tolist()
    return [values[e - n : e] for e, n in zip(ends, lengths.tolist(), strict=True)]


def _text(value: memoryview, field: Field) -> str:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"has a text in {field.key!r} that is no UTF-8") from error
