"""Videos of episodes: one mp4 each, with the instruction, step and success drawn in."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from imageio.plugins.pyav import PyAVPlugin
from PIL import Image, ImageDraw, ImageFont

from envs.episode import Episode, EpisodeRecord, Observation
from experiment.errors import UserError
from experiment.files import write_bytes

PICTURE = (640, 512)
"""Width and height of a recorded frame, the camera's own 5:4."""

_WHITE, _GREEN, _AMBER = (255, 255, 255), (112, 224, 128), (255, 196, 92)
_MARGIN, _STRIP = 14, 40


def video_path(folder: Path, task: str, index: int) -> Path:
    return folder / f"{task}_{index:04d}.mp4"


class VideoRecorder:
    """Writes `folder/open_and_place_0007.mp4`: instruction, step, robot pose, success drawn in.

    `fps` is the playback rate: at 3 Hz control, 6 shows an episode at twice its speed.
    Raises `UserError` where the environment makes no pictures and when the disk is full.
    """

    def __init__(self, folder: str | Path, fps: int = 6) -> None:
        self._folder = Path(folder)
        self._fps = fps
        self._buffer = io.BytesIO()
        self._video: PyAVPlugin | None = None
        self._label = ""

    def start(self, episode: Episode, observation: Observation) -> None:
        # In memory, so a kill or a full disk never leaves half a video behind.
        self._buffer = io.BytesIO()
        video = iio.imopen(self._buffer, "w", plugin="pyav", extension=".mp4")
        assert isinstance(video, PyAVPlugin)
        video.init_video_stream("libx264", fps=self._fps, pixel_format="yuv420p")
        self._video = video
        self._label = f"{episode.task} #{episode.index}"
        video.write_frame(captioned(observation, self._label, "", _WHITE))

    def step(
        self,
        before: Observation,  # noqa: ARG002
        action: np.ndarray,  # noqa: ARG002
        info: Mapping[str, Any],
        after: Observation,
    ) -> None:
        assert self._video is not None
        if info["success"]:
            verdict, colour = "success", _GREEN
        elif info["success_ever"]:
            verdict, colour = "success, then lost", _AMBER
        else:
            verdict, colour = "", _WHITE
        label = f"{self._label} {info['robot_pose']}"
        self._video.write_frame(captioned(after, label, verdict, colour))

    def end(self, record: EpisodeRecord) -> None:
        assert self._video is not None
        self._video.close()
        self._video = None
        path = video_path(self._folder, record.task, record.index)
        write_bytes(path, self._buffer.getvalue())


def captioned(
    observation: Observation, label: str, verdict: str, colour: tuple[int, int, int]
) -> np.ndarray:
    """Return the picture at `PICTURE` size with its captions, uint8 `(512, 640, 3)`."""
    if observation.image is None:
        raise UserError("recording needs pictures: give a resolution such as resolution=[160,128].")
    picture = _fit(Image.fromarray(observation.image))
    width, height = PICTURE
    veil = Image.new("RGBA", PICTURE, (0, 0, 0, 0))
    draw = ImageDraw.Draw(veil)
    draw.rectangle((0, 0, width, _STRIP), fill=(0, 0, 0, 150))
    draw.rectangle((0, height - _STRIP, width, height), fill=(0, 0, 0, 150))
    top, bottom = _STRIP // 2, height - _STRIP // 2
    large, small = ImageFont.load_default(size=20), ImageFont.load_default(size=16)
    draw.text((_MARGIN, top), observation.instruction, _WHITE, large, anchor="lm")
    draw.text((width - _MARGIN, top), label, _WHITE, small, anchor="rm")
    draw.text((_MARGIN, bottom), f"step {observation.step}", _WHITE, small, anchor="lm")
    draw.text((width - _MARGIN, bottom), verdict, colour, large, anchor="rm")
    return np.asarray(Image.alpha_composite(picture.convert("RGBA"), veil).convert("RGB"))


def _fit(picture: Image.Image) -> Image.Image:
    """Scale to `PICTURE`, aspect kept, black beside it where the shapes differ."""
    scale = min(PICTURE[0] / picture.width, PICTURE[1] / picture.height)
    size = (round(picture.width * scale), round(picture.height * scale))
    scaled = picture.resize(size, Image.Resampling.BICUBIC)
    if size == PICTURE:
        return scaled
    canvas = Image.new("RGB", PICTURE)
    canvas.paste(scaled, ((PICTURE[0] - size[0]) // 2, (PICTURE[1] - size[1]) // 2))
    return canvas
