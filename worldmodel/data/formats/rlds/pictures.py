"""Coded JPEG and PNG -> pixels, as TensorFlow decodes them.

Policies trained on TFDS saw the pixels of libjpeg's fast integer DCT, TensorFlow's default. The
same is asked for here, so the pixels are equal bit for bit; those of the accurate DCT differ by up
to 18 grey levels.
"""

import io
import struct

import numpy as np
import simplejpeg
from PIL import Image

from worldmodel.data.formats.rlds.example import Malformed

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
_PNG_ERRORS = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)
_MOST_PIXELS = 1 << 26  # a header with more is damaged

Size = tuple[int | None, ...]  # (h, w), None where it varies


def decode_rgb(data: memoryview, size: Size, out: np.ndarray | None = None) -> np.ndarray:
    """Return uint8 `(h, w, 3)`, in `out` if given; grey is repeated, transparency left out.

    Raises `Malformed`, also for a picture of another size.
    """
    start = bytes(data[:8])
    if start.startswith(_JPEG):
        return _jpeg(data, size, out)
    if start != _PNG:
        raise Malformed("is neither a JPEG nor a PNG")
    pixels = _png(data, size)
    if out is None:
        return pixels
    out[:] = pixels
    return out


def _jpeg(data: memoryview, size: Size, out: np.ndarray | None) -> np.ndarray:
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        _check(height, width, size)
        return simplejpeg.decode_jpeg(data, "RGB", fastdct=True, buffer=out, strict=True)
    except ValueError as error:
        if isinstance(error, Malformed):
            raise
        raise Malformed(f"is a JPEG that does not decode ({error})") from error


def _png(data: memoryview, size: Size) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            _check(picture.height, picture.width, size)
            depth = data[24] if len(data) > 24 else 0
            # 16 bits a channel or CMYK would come out changed.
            if picture.mode not in _MODES or depth > 8:
                raise Malformed(f"is a PNG of mode {picture.mode} with {depth} bits")
            return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    except _PNG_ERRORS as error:
        if isinstance(error, Malformed):
            raise
        raise Malformed(f"is a PNG that does not decode ({error})") from error


def _check(height: int, width: int, size: Size) -> None:
    """Refuse by the header, before memory is allocated, a picture of another size."""
    if size[0] not in (None, height) or size[1] not in (None, width):
        raise Malformed(f"is of {height} x {width} pixels where features.json says {size}")
    if not 0 < height * width <= _MOST_PIXELS:
        raise Malformed(f"is of {height} x {width} pixels by its header")
