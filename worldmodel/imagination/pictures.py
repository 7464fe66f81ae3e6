"""Dreams to look at: contact sheets and videos, each column or panel with its caption."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from imageio.plugins.pyav import PyAVPlugin
from PIL import Image, ImageDraw, ImageFont

from experiment.files import write_bytes

_GAP, _CAPTION, _LABEL = 4, 18, 150
_SHEET_HEIGHT, _VIDEO_HEIGHT = 112, 224
_FPS = 4
_LINGER = 4  # frames for which a video stands at its end
_DISPLAYED = 1.25  # width over height of the robots' cameras; models may squeeze pictures
_BACKGROUND, _INK, _FAINT = "white", "black", (110, 110, 110)


def contact_sheet(
    path: Path, rows: Sequence[tuple[str, np.ndarray]], times: Sequence[int], rate: float | None
) -> None:
    """Write rows of frames uint8 `(t, h, w, 3)` with their labels; columns are `times` (steps).

    `rate` are control steps a second, where known.
    """
    size = _size(_SHEET_HEIGHT)
    font, small = ImageFont.load_default(size=13), ImageFont.load_default(size=11)
    height = _CAPTION + len(rows) * (size[1] + _GAP) + _GAP
    sheet = Image.new("RGB", (_LABEL + len(times) * (size[0] + _GAP), height), _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for column, time in enumerate(times):
        text = "now" if time == 0 else f"+{time}" + (f" ({time / rate:g} s)" if rate else "")
        pen.text((_LABEL + column * (size[0] + _GAP), 3), text, _INK, small)
    for row, (label, frames) in enumerate(rows):
        y = _CAPTION + row * (size[1] + _GAP)
        pen.multiline_text((_GAP, y + 4), _wrapped(label, 20), _INK, font)
        for column, frame in enumerate(frames):
            picture = Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)
            sheet.paste(picture, (_LABEL + column * (size[0] + _GAP), y))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())


def video(
    path: Path,
    rows: Sequence[Mapping[str, np.ndarray]],
    titles: Sequence[str],
    times: Sequence[int],
) -> None:
    """Write an mp4 with one scene after the other; the panels of a scene stand side by side.

    `rows` are scenes, their panels uint8 `(t, h, w, 3)` by caption; `titles` are theirs; `times` of
    the frames in control steps.
    """
    width, height = _size(_VIDEO_HEIGHT)
    panels = max(len(row) for row in rows)
    whole = (_even(panels * (width + _GAP) + _GAP), _even(height + 2 * _CAPTION + 3 * _GAP))
    font, small = ImageFont.load_default(size=14), ImageFont.load_default(size=12)
    buffer = io.BytesIO()
    with iio.imopen(buffer, "w", plugin="pyav", extension=".mp4") as file:
        assert isinstance(file, PyAVPlugin)
        file.init_video_stream("libx264", fps=_FPS, pixel_format="yuv420p")
        for row, title in zip(rows, titles, strict=True):
            for step in [*range(len(times)), *[len(times) - 1] * _LINGER]:
                picture = Image.new("RGB", whole, _BACKGROUND)
                pen = ImageDraw.Draw(picture)
                pen.text((_GAP, _GAP), f"{title}   step +{times[step]}", _INK, font)
                for place, (caption, frames) in enumerate(row.items()):
                    x, y = _GAP + place * (width + _GAP), _CAPTION + 2 * _GAP
                    pen.text((x, y), caption, _FAINT, small)
                    frame = Image.fromarray(frames[step])
                    resized = frame.resize((width, height), Image.Resampling.BICUBIC)
                    picture.paste(resized, (x, y + _CAPTION))
                file.write_frame(np.asarray(picture))
    write_bytes(path, buffer.getvalue())


def _size(height: int) -> tuple[int, int]:
    return round(height * _DISPLAYED), height


def _even(number: int) -> int:
    return number + number % 2


def _wrapped(text: str, width: int) -> str:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
