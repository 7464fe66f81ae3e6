"""Lists of an Example -> one value a step, as features.json describes them."""

import numpy as np

from worldmodel.data.formats.rlds.example import Feature, Malformed
from worldmodel.data.formats.rlds.schema import Field

Features = dict[str, Feature]


def count_steps(features: Features, field: Field) -> int:
    """Return how many steps the list of a field is for. Raises `Malformed`."""
    feature = _feature(features, field)
    count = len(_numbers(feature, field) if field.is_numbers else feature.strings())
    if count % field.width:
        raise Malformed(f"has {count} numbers in {field.key!r}, no multiple of {field.width}")
    return count // field.width


def numbers(features: Features, field: Field, steps: int) -> np.ndarray:
    """Return `(steps, ...)` in the dtype of the field.

    Raises `Malformed`, also for a number that is out of range or not finite.
    """
    values = _numbers(_feature(features, field), field)
    if len(values) != steps * field.width:
        raise Malformed(
            f"has {len(values)} numbers in {field.key!r} instead of {steps * field.width}"
        )
    values = values.reshape(steps, *(side or 0 for side in field.column.shape))
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = ~np.isfinite(values).reshape(steps, -1).all(axis=1)
        raise Malformed(f"has {field.key!r} that is not finite in step {int(np.argmax(bad))}")
    return values


def strings(features: Features, field: Field, steps: int) -> list[memoryview]:
    """Return the bytes of the text or coded picture of each step. Raises `Malformed`."""
    values = _feature(features, field).strings()
    if len(values) != steps:
        raise Malformed(f"has {len(values)} entries in {field.key!r} instead of {steps}")
    return values


def texts(features: Features, field: Field, steps: int) -> list[str]:
    """Return the text of each step. Raises `Malformed`."""
    try:
        return [str(value, "utf-8") for value in strings(features, field, steps)]
    except UnicodeDecodeError as error:
        raise Malformed(f"has a text in {field.key!r} that is no UTF-8") from error


def _feature(features: Features, field: Field) -> Feature:
    if field.key not in features:
        raise Malformed(f"has no {field.key!r}, which features.json lists")
    return features[field.key]


def _numbers(feature: Feature, field: Field) -> np.ndarray:
    dtype = np.dtype(field.column.dtype)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return feature.floats().astype(dtype)
    integers = feature.integers()
    if dtype == np.uint64:  # written as int64 of the same bits
        return integers.view(np.uint64)
    values = integers.astype(dtype)
    if not np.array_equal(values, integers):
        raise Malformed(f"has a number in {field.key!r} that is out of the range of {dtype}")
    return values
