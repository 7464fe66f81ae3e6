"""Some frames of a video file, decoding as few of the others as possible."""

import os
import threading
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from experiment.errors import UserError
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.formats.storage import Storage

# What PyAV raises on damaged files.
_VIDEO_ERRORS = (av.FFmpegError, OSError, ValueError, IndexError, MemoryError, OverflowError)
_FAR = 16  # frames: beyond that a seek is cheaper than decoding those between
_TOLERANCE = 0.25  # of a frame: nearer to this frame than to any other of the data set


class Videos:
    """Frames of video files, of which the last `open_files` stay open: opening one takes longer
    than decoding a frame. Threads and forked processes each have files of their own.
    """

    def __init__(self, storage: Storage, open_files: int = 16) -> None:
        self._storage, self._limit = storage, open_files
        self._idle: list[tuple[str, _Opened]] = []
        self._process = os.getpid()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """Another process opens files itself."""
        return Videos, (self._storage, self._limit)

    def frames(self, path: str, times: np.ndarray, fps: float, size: tuple[int, int]) -> np.ndarray:
        """Return the frames at `times` (s, float64 `(n,)`) of a video, uint8 `(n, h, w, 3)`.

        A frame counts as the one at a time when it lies within a quarter of a frame of it. `size`
        is the height and width that the frames must have. Raises `DamagedRecord` naming the file
        when a frame is missing, damaged or of another size.
        """
        name = self._storage.where(path)
        distinct, frame_of_time = np.unique(times, return_inverse=True)
        opened = self._take(path)
        try:
            if opened is None:
                opened = _Opened(self._storage, path)
            frames = list(_matched(opened.container, distinct, fps, size, name))
        except _VIDEO_ERRORS as error:
            if opened is not None:
                opened.close()
            if isinstance(error, UserError):
                raise
            raise DamagedRecord(
                f"{name} is truncated or no video ({error}): copy or make it again."
            ) from error
        self._put_back(path, opened)
        return np.stack(frames)[frame_of_time]

    def _take(self, path: str) -> "_Opened | None":
        with self._lock:
            if self._process != os.getpid():
                # Opened before a fork: both processes would move one place of reading.
                self._idle, self._process = [], os.getpid()
            for number, (opened_path, opened) in enumerate(self._idle):
                if opened_path == path:
                    del self._idle[number]
                    return opened
        return None

    def _put_back(self, path: str, opened: "_Opened") -> None:
        with self._lock:
            self._idle.append((path, opened))
            over = self._idle[: -self._limit]
            del self._idle[: -self._limit]
        for _, oldest in over:
            oldest.close()


class _Opened:
    """An open video file."""

    def __init__(self, storage: Storage, path: str) -> None:
        self._file = storage.open(path)
        local = storage.path(path)
        if local is not None:  # FFmpeg reads it faster itself
            self._file.close()
        # Explode: a damaged frame is an error; otherwise the decoder conceals it with neighbours.
        options = {"err_detect": "explode"}
        try:
            source = self._file if local is None else str(local)
            self.container = av.open(source, "r", options=options)
            stream = self.container.streams.video[0]
            if stream.codec_context is None:
                name = storage.where(path)
                raise DamagedRecord(f"{name} is of an unknown codec: convert it to H.264.")
            # One thread: faster, pictures being small, and nothing is left in a forked process.
            stream.codec_context.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            stream.codec_context.options = options
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self.container.close()
        self._file.close()


def _matched(
    container: InputContainer,
    times: np.ndarray,
    fps: float,
    size: tuple[int, int],
    name: str,
) -> Iterator[np.ndarray]:
    """Yield a picture for each of the `times` (s, sorted)."""
    stream = container.streams.video[0]
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
    for target in times.tolist():
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
