"""All episodes of an evaluation at a glance: a strip of moments each, marked by its outcome."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from envs.episode import EpisodeRecord
from envs.recorder import video_path
from experiment.files import write_bytes

_THUMBNAIL = (128, 102)
_MOMENTS = 6
_LABEL, _MARK, _GAP = 132, 6, 6
_ROWS = 15
_MOST = 60
_GREEN, _AMBER, _RED = (64, 160, 84), (226, 160, 40), (196, 62, 62)


def write_contact_sheet(path: Path, records: Sequence[EpisodeRecord], videos: Path) -> None:
    """Write a PNG with one strip an episode, from first frame to last; of many, 60 evenly spread.

    A green mark: success at the end; amber: success that was lost; red: none. An episode whose
    video is missing or unreadable says so in its strip.
    """
    if len(records) > _MOST:
        records = [records[round(i)] for i in np.linspace(0, len(records) - 1, _MOST)]
    columns = -(-len(records) // _ROWS)
    rows = min(len(records), _ROWS)
    width, height = _LABEL + _MOMENTS * _THUMBNAIL[0] + _GAP, _THUMBNAIL[1] + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), (24, 24, 26))
    for number, record in enumerate(records):
        column, row = divmod(number, rows)
        strip = _strip(record, video_path(videos, record.task, record.index))
        sheet.paste(strip, (_GAP + column * width, _GAP + row * height))
    buffer = io.BytesIO()
    sheet.save(buffer, "png", optimize=True)
    write_bytes(path, buffer.getvalue())


def moments(path: Path, count: int) -> list[Image.Image]:
    """Return `count` pictures evenly spread over a video; none if it cannot be read."""
    try:
        with iio.imopen(path, "r", plugin="pyav") as video:
            total = video.properties().shape[0]
            chosen = np.linspace(0, max(total - 1, 0), count).round().astype(int).tolist()
            kept = {
                index: Image.fromarray(frame).resize(_THUMBNAIL)
                for index, frame in enumerate(video.iter(thread_type="SLICE"))
                if index in chosen
            }
    except (OSError, IndexError):
        return []
    return [kept[index] for index in chosen if index in kept]


def _strip(record: EpisodeRecord, video: Path) -> Image.Image:
    strip = Image.new("RGB", (_LABEL + _MOMENTS * _THUMBNAIL[0], _THUMBNAIL[1]), (40, 40, 44))
    draw = ImageDraw.Draw(strip)
    colour = _GREEN if record.success_at_end else _AMBER if record.success_ever else _RED
    outcome = "success" if record.success_at_end else "lost" if record.success_ever else "failure"
    draw.rectangle((0, 0, _MARK - 1, _THUMBNAIL[1]), fill=colour)
    outcome += ", strict" if record.success_strict else ""
    lines = [*textwrap.wrap(record.task.replace("_", " "), 16), f"#{record.index}"]
    lines[-1] += f" {record.robot_pose}" if record.robot_pose != "-" else ""
    lines += [outcome, f"{record.steps} steps"]
    font = ImageFont.load_default(size=13)
    draw.multiline_text((_MARK + 6, 6), "\n".join(lines), (230, 230, 230), font, spacing=4)
    pictures = moments(video, _MOMENTS)
    if not pictures:
        draw.text((_LABEL + 8, 40), f"no readable video at {video.name}", (200, 200, 200), font)
    for number, picture in enumerate(pictures):
        strip.paste(picture, (_LABEL + number * _THUMBNAIL[0], 0))
    return strip
