"""The wanted frames of a video file, without decoding the others more than needed."""

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from worldmodel.data.episodes import DamagedRecord
from worldmodel.data.lerobot.files import Files

VIDEO_ERRORS = (av.FFmpegError, OSError, ValueError, IndexError, MemoryError, OverflowError)
"""What PyAV raises on damaged files."""

_FAR = 16  # frames: beyond that a seek is cheaper than decoding on
_TOLERANCE = 0.25  # of a frame: nearer to this frame than to any other of the data set


def read_frames(
    files: Files, path: str, times: np.ndarray, fps: float, size: tuple[int | None, int | None]
) -> np.ndarray:
    """Return the frames at `times` (s, float64 `(n,)`) of a video, uint8 `(n, h, w, 3)`.

    A frame counts as the one at a time when it lies within a quarter of a frame of it. `size` is
    the height and width that the frames must have. Raises `DamagedRecord` naming the file when a
    frame is missing, damaged or of another size.
    """
    name = files.name(path)
    wanted, place = np.unique(times, return_inverse=True)
    local = files.local(path)
    opened = None if local else files.open(path)
    try:
        # Explode: a damaged frame is an error; the decoder would paint over it with its neighbours.
        with av.open(opened or str(local), "r", options={"err_detect": "explode"}) as container:
            frames = list(_matched(container, wanted, fps, size, name))
    except DamagedRecord:
        raise
    except VIDEO_ERRORS as error:
        raise DamagedRecord(
            f"{name} is truncated or no video ({error}): copy or make it again."
        ) from error
    finally:
        if opened is not None:
            opened.close()
    return np.stack(frames)[place]


def _matched(
    container: InputContainer,
    wanted: np.ndarray,
    fps: float,
    size: tuple[int | None, int | None],
    name: str,
) -> Iterator[np.ndarray]:
    """Yield a picture for each of the `wanted` times (s, sorted)."""
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise DamagedRecord(f"{name} is of a codec that is not known here: convert it to H.264.")
    # In one thread: faster, pictures being small, and nothing is left behind in a forked process.
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"err_detect": "explode"}
    tolerance = _TOLERANCE / fps
    unit = stream.time_base or Fraction(1, 1)
    start = float((stream.start_time or 0) * unit)
    if abs(start) > tolerance:
        raise DamagedRecord(
            f"{name} begins at {start:.4f} s instead of 0: its frames cannot be told apart by "
            "time; make it again."
        )
    reformatter = VideoReformatter()
    frames: Iterator[VideoFrame] = iter(())
    time = -np.inf
    for target in wanted.tolist():
        if target - time > _FAR / fps:
            frames = _from_before(container, stream, target + tolerance)
        for frame in frames:
            time = _time(frame, name)
            if time >= target - tolerance:
                break
        else:
            time = -np.inf
        if not abs(time - target) <= tolerance:
            raise DamagedRecord(
                f"{name} has no frame at {target:.4f} s where meta/episodes lists one: it is "
                "truncated or of another rate, copy or make it again."
            )
        if frame.is_corrupt:
            raise DamagedRecord(f"{name} is damaged at {target:.4f} s: copy or make it again.")
        if (frame.height, frame.width) != size:
            raise DamagedRecord(
                f"{name} has frames of {frame.height}x{frame.width} where meta/info.json lists "
                f"{size[0]}x{size[1]}: copy or make it again."
            )
        yield reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()


def _from_before(
    container: InputContainer, stream: VideoStream, latest: float
) -> Iterator[VideoFrame]:
    """Yield frames from one on that lies at `latest` (s) or before it, or from the first."""
    unit = stream.time_base or Fraction(1, 1)
    back = 0.0
    while True:
        container.seek(max(0, int((latest - back) / unit)), stream=stream, backward=True)
        frames = container.decode(stream)
        first = next(frames, None)
        if first is None:
            return
        # The key frame that is found by decoding time may be shown after the wanted one.
        if latest <= back or first.time is None or first.time <= latest:
            break
        back = max(1.0, back * 2)
    yield first
    yield from frames


def _time(frame: VideoFrame, name: str) -> float:
    if frame.time is None:
        raise DamagedRecord(f"{name} has a frame without a time: make it again.")
    return float(frame.time)
