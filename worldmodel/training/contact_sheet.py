"""A picture of predicted clips beside the real ones."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from experiment.files import write_bytes

_GAP, _CAPTION, _ZOOM = 4, 14, 2


def write(
    path: Path,
    frame: np.ndarray,
    real: np.ndarray,
    predicted: np.ndarray,
    times: Sequence[int],
    instructions: Sequence[str],
) -> None:
    """Write one row a clip: the frame now, the real future, the predicted one.

    `frame` uint8 `(b, h, w, 3)`, `real` and `predicted` uint8 `(b, t, h, w, 3)`; `times` are the
    future frames' distances in control steps.
    """
    count, length, height, width, _ = real.shape
    height, width = height * _ZOOM, width * _ZOOM
    row_height = height + _CAPTION + _GAP
    columns = 1 + 2 * length
    sheet = Image.new("RGB", (columns * (width + _GAP) + _GAP, count * row_height + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    captions = ["now"] + [f"real +{t}" for t in times] + [f"predicted +{t}" for t in times]
    for row in range(count):
        pictures = [frame[row], *real[row], *predicted[row]]
        for column, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
            x, y = _GAP + column * (width + _GAP), _GAP + row * row_height
            text = instructions[row] if column == 0 else caption
            pen.text((x, y), text, fill="black")
            enlarged = Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (x, y + _CAPTION))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())


def psnr(real: np.ndarray, predicted: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB of uint8 pictures."""
    error = float(np.square(real.astype(np.float64) - predicted.astype(np.float64)).mean())
    return 10 * math.log10(255**2 / max(error, 1e-12))
