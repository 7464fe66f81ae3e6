"""Frames: msgpack with arrays in it, as openpi and vla-eval write them. Nothing is unpickled.

openpi's array is a map with the bytes keys `__ndarray__`, `data`, `dtype`, `shape`; vla-eval's has
text keys, and may be a compressed picture (`__image__`). Both are read, whoever sends them.
"""

import io
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgpack
import numpy as np
from PIL import Image

from experiment.errors import UserError

Dialect = Literal["openpi", "vla-eval"]

LARGEST_SIDE = 4096
"""Pixels of a picture's side."""

_DTYPE = re.compile(r"\|b1|[|<>=]?[iu][1248]|[<>=]?f[248]")
_MOST_DIMENSIONS = 8
_FORMATS = ("PNG", "JPEG")


def encode(value: Any, dialect: Dialect) -> bytes:
    """Return a frame of plain data and arrays of numbers or flags, in the form of `dialect`."""

    def default(item: Any) -> Any:
        if isinstance(item, np.generic):
            return item.item()
        if not isinstance(item, np.ndarray) or not _DTYPE.fullmatch(item.dtype.str):
            raise TypeError(f"{type(item).__name__} cannot be sent")
        fields = {
            "__ndarray__": True,
            "data": item.tobytes(),
            "dtype": item.dtype.str,
            "shape": list(item.shape),
        }
        return {k.encode(): v for k, v in fields.items()} if dialect == "openpi" else fields

    frame: bytes = msgpack.packb(value, default=default)
    return frame


def decode(frame: bytes | str) -> dict[str, Any]:
    """Return the map in a frame; its arrays are read-only.

    Raises `UserError` for a text frame, for what is not msgpack or not a map with text keys, and
    for an array of another type than numbers and flags or of another size than its data.
    """
    if isinstance(frame, str):
        raise UserError("this is a text frame, expected a binary frame with a msgpack map.")
    try:
        value = msgpack.unpackb(frame, object_hook=_array)
    except UserError:
        raise
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"the frame is not msgpack ({reason}).") from error
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UserError("the frame does not hold a msgpack map with text keys.")
    return value


def _array(fields: dict[Any, Any]) -> Any:
    """Return the array that a map stands for, else the map."""
    if b"__ndarray__" in fields or b"__npgeneric__" in fields:
        fields = {k.decode() if isinstance(k, bytes) else k: v for k, v in fields.items()}
    if "__npgeneric__" in fields:
        return _scalar(fields)
    if "__image__" in fields and fields.get("format") != "raw":
        return _picture(fields)
    if "__ndarray__" not in fields and "__image__" not in fields:
        return fields
    dtype, data = _dtype(fields), fields.get("data")
    shape = fields.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) > _MOST_DIMENSIONS
        or not all(isinstance(n, int) and n >= 0 for n in shape)
        or not isinstance(data, bytes)
        or math.prod(shape) * dtype.itemsize != len(data)
        or (not data and max(shape, default=0) > LARGEST_SIDE)
    ):
        raise UserError(f"an array's data does not fit its shape {str(shape)[:100]} and {dtype}.")
    return np.frombuffer(data, dtype).reshape(shape)


def _dtype(fields: Mapping[str, Any]) -> np.dtype[Any]:
    name = fields.get("dtype")
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise UserError(
            f"an array has dtype {str(name)[:50]!r}: only numbers and flags, of at most 8 bytes, "
            "are accepted."
        )
    return np.dtype(name)


def _scalar(fields: Mapping[str, Any]) -> bool | int | float:
    value = fields.get("data")
    _dtype(fields)
    if not isinstance(value, bool | int | float):
        raise UserError("a numpy scalar is not a number or flag.")
    return value


def _picture(fields: Mapping[str, Any]) -> np.ndarray:
    """Return a compressed picture as uint8 `(h, w, 3)`; its size is checked before it is read."""
    try:
        with Image.open(io.BytesIO(fields["data"]), formats=_FORMATS) as picture:
            if max(picture.size) > LARGEST_SIDE:
                raise UserError(f"a picture is larger than {LARGEST_SIDE} pixels a side.")
            return np.asarray(picture.convert("RGB"))
    except UserError:
        raise
    except (KeyError, TypeError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise UserError("a picture is not a whole PNG or JPEG.") from None
