"""Frames to H.264 and back together: encoding, and joining clips without encoding again."""

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from experiment.errors import UserError


def check_size(width: int, height: int) -> None:
    """Raise `UserError` for a picture size that H.264 cannot hold."""
    if width % 2 or height % 2:
        raise UserError(
            f"a picture of {width}x{height} cannot be encoded as video: "
            "set resolution to even numbers."
        )


def encode(frames: Sequence[np.ndarray] | np.ndarray, fps: int, *, crf: int, gop: int) -> bytes:
    """Encode frames, uint8 `(h, w, 3)` each, to the bytes of one mp4 file.

    The file is built in memory, so a kill or a full disk never leaves half a video behind.
    """
    height, width = frames[0].shape[:2]
    check_size(width, height)
    buffer, reformatter = io.BytesIO(), VideoReformatter()
    with av.open(buffer, mode="w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # No B-frames: packets then come in display order and clips join by adding an offset.
        # One thread: the bytes do not depend on the number of cores.
        stream.options = {"crf": str(crf), "g": str(gop), "bf": "0"}
        stream.codec_context.thread_count = 1
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            # Converted here and in this thread: left to the encoder, the conversion is spread over
            # a pool of threads, which costs more than it gains on small images and once
            # returned an unfinished one.
            planes = reformatter.reformat(picture, format="yuv420p", threads=1)
            container.mux(stream.encode(planes))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def join(clips: Iterable[Path], fps: int) -> bytes:
    """Join clips that `encode` wrote with the same settings, packet by packet.

    Raises `UserError` naming the clip that cannot be read.
    """
    buffer = io.BytesIO()
    frames = 0
    with av.open(buffer, mode="w", format="mp4") as joined:
        target: VideoStream | None = None
        for clip in clips:
            try:
                with av.open(str(clip)) as source:
                    stream = source.streams.video[0]
                    target = target or joined.add_stream_from_template(stream)
                    assert stream.time_base is not None
                    start = int(Fraction(frames, fps) / stream.time_base)
                    for packet in source.demux(stream):
                        if packet.pts is None or packet.dts is None:
                            continue
                        packet.pts += start
                        packet.dts += start
                        packet.stream = target
                        joined.mux(packet)
                        frames += 1
            except (av.FFmpegError, IndexError) as error:
                raise UserError(
                    f"{clip} is not a readable video ({error}): delete it and make it again."
                ) from error
    return buffer.getvalue()


def decode(path: Path) -> np.ndarray:
    """Return all frames of a video as uint8 `(t, h, w, 3)`; raises `UserError` naming the file."""
    try:
        with av.open(str(path)) as container:
            reformatter = VideoReformatter()
            frames = [
                reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
                for frame in container.decode(video=0)
            ]
    except (av.FFmpegError, IndexError) as error:
        raise UserError(f"{path} is not a readable video ({error}).") from error
    return np.stack(frames)
