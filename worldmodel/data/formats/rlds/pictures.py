"""JPEG and PNG -> pixels, as TensorFlow decodes them.

Policies trained on TFDS saw the pixels of libjpeg's fast integer DCT, TensorFlow's default. The
same is asked for here: the pixels are the same bit for bit, those of the accurate DCT differ by up
to 18 grey levels.
"""

import io
import struct

import numpy as np
import simplejpeg
from PIL import Image

from worldmodel.data.formats.rlds.tfrecord import Malformed

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# 16 bits a channel or four inks would come out changed.
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
_MOST_PIXELS = 1 << 26  # a header that says more is damaged

Size = tuple[int | None, ...]  # (h, w), None where it varies


def decode_rgb(data: memoryview, channels: int, size: Size) -> np.ndarray:
    """Return uint8 `(h, w, 3)` of a picture whose schema says `channels` (1, 3 or 4) and `size`.

    One channel is repeated, the fourth left out. Raises `Malformed`.
    """
    start = bytes(data[:8])
    if start.startswith(_JPEG):
        pixels = _jpeg(data, "GRAY" if channels == 1 else "RGB", size)
    elif start == _PNG:
        pixels = _png(data, "L" if channels == 1 else "RGB", size)
    else:
        raise Malformed("is neither a JPEG nor a PNG")
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def decode_depth(data: memoryview, dtype: np.dtype, size: Size) -> np.ndarray:
    """Return `(h, w, 1)` of a PNG of uint16, or of float32 laid into four channels of bytes."""
    if bytes(data[:8]) != _PNG:
        raise Malformed("is no PNG")
    wanted = "RGBA" if dtype == np.float32 else "I;16"
    with _opened(data, size) as picture:
        if picture.mode != wanted:
            raise Malformed(f"is a PNG of mode {picture.mode}, which does not hold {dtype}")
        pixels = _loaded(picture)
    if dtype == np.float32:
        return np.ascontiguousarray(pixels).view("<f4")
    return pixels.astype(np.uint16)[..., None]


def _jpeg(data: memoryview, colours: str, size: Size) -> np.ndarray:
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        _check(height, width, size)
        return simplejpeg.decode_jpeg(data, colours, fastdct=True, strict=True)
    except ValueError as error:
        if isinstance(error, Malformed):
            raise
        raise Malformed(f"is a JPEG that does not decode ({error})") from error


def _png(data: memoryview, mode: str, size: Size) -> np.ndarray:
    with _opened(data, size) as picture:
        depth = data[24] if len(data) > 24 else 0
        if picture.mode not in _MODES or depth > 8:
            raise Malformed(f"is a PNG of mode {picture.mode} with {depth} bits")
        pixels = _loaded(picture, mode)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _opened(data: memoryview, size: Size) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(data), formats=("PNG",))
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise Malformed(f"is a PNG that does not decode ({error})") from error
    _check(picture.height, picture.width, size)
    return picture


def _loaded(picture: Image.Image, mode: str | None = None) -> np.ndarray:
    try:
        return np.asarray(picture if mode in (None, picture.mode) else picture.convert(mode))
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        raise Malformed(f"is a PNG that does not decode ({error})") from error


def _check(height: int, width: int, size: Size) -> None:
    """Refuse by the header what is not of the schema's size, before memory is taken for it."""
    if size[0] not in (None, height) or size[1] not in (None, width):
        raise Malformed(f"is of {height} x {width} pixels where features.json says {size}")
    if not 0 < height * width <= _MOST_PIXELS:
        raise Malformed(f"is of {height} x {width} pixels by its header")
