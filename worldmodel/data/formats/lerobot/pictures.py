"""Pictures that lie in a table, as PNG or JPEG."""

import io

import numpy as np
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from worldmodel.data.formats.episode import DamagedRecord

_PICTURE_ERRORS = (
    *(OSError, ValueError, SyntaxError, MemoryError, EOFError, KeyError, IndexError),
    *(OverflowError, TypeError, UnidentifiedImageError, Image.DecompressionBombError),
)


def encoded(value: pa.Scalar, name: str, step: int) -> bytes:
    """Return the bytes of a picture, a struct `{bytes, path}` or the bytes alone."""
    try:
        found = value.as_py()
    except (pa.ArrowException, ValueError) as error:
        raise DamagedRecord(f"{name}, step {step}: no picture ({error}): copy it again.") from error
    data = found.get("bytes") if isinstance(found, dict) else found
    if not isinstance(data, bytes):
        raise DamagedRecord(
            f"{name}, step {step}: {value.type} holds no picture's bytes: pictures that lie in "
            "files of their own must be converted to video."
        )
    return data


def decode(data: bytes, size: tuple[int | None, int | None], name: str, step: int) -> np.ndarray:
    """Return a picture, uint8 `(h, w, 3)`, that must have `size` `(h, w)`."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            # Looked at before decoding: a damaged size may ask for any amount of memory.
            if (picture.height, picture.width) != size:
                raise DamagedRecord(
                    f"{name}, step {step}: a picture of {picture.height}x{picture.width} where "
                    f"meta/info.json lists {size[0]}x{size[1]}: copy or make it again."
                )
            if picture.mode.startswith(("I", "F")):
                raise DamagedRecord(
                    f"{name}, step {step}: a picture of 16 bits or more holds no colours: "
                    "leave this column out."
                )
            return np.asarray(picture.convert("RGB"))
    except DamagedRecord:
        raise
    except _PICTURE_ERRORS as error:
        raise DamagedRecord(
            f"{name}, step {step}: a damaged picture ({error}): copy or make it again."
        ) from error
