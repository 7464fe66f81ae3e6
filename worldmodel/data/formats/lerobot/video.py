"""The wanted frames of a video file, without decoding the others more than needed."""

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
from worldmodel.data.formats.lerobot.files import Files

VIDEO_ERRORS = (av.FFmpegError, OSError, ValueError, IndexError, MemoryError, OverflowError)
"""What PyAV raises on damaged files."""

_FAR = 16  # frames: beyond that a seek is cheaper than decoding on
_TOLERANCE = 0.25  # of a frame: nearer to this frame than to any other of the data set


class Videos:
    """Frames of video files, of which the last `open_files` stay open: opening one takes longer
    than decoding a frame. Threads and forked processes each have files of their own.
    """

    def __init__(self, files: Files, open_files: int = 16) -> None:
        self._files = files
        self._limit = open_files
        self._idle: list[tuple[str, _Opened]] = []
        self._process = os.getpid()
        self._lock = threading.Lock()

    def __getstate__(self) -> tuple[Files, int]:
        """Another process opens files itself."""
        return self._files, self._limit

    def __setstate__(self, state: tuple[Files, int]) -> None:
        """Begin with no file open."""
        self.__init__(*state)  # type: ignore[misc]

    def frames(
        self, path: str, times: np.ndarray, fps: float, size: tuple[int | None, int | None]
    ) -> np.ndarray:
        """Return the frames at `times` (s, float64 `(n,)`) of a video, uint8 `(n, h, w, 3)`.

        A frame counts as the one at a time when it lies within a quarter of a frame of it. `size`
        is the height and width that the frames must have. Raises `DamagedRecord` naming the file
        when a frame is missing, damaged or of another size.
        """
        name = self._files.name(path)
        wanted, place = np.unique(times, return_inverse=True)
        opened = self._take(path)
        try:
            if opened is None:
                opened = _Opened(self._files, path)
            frames = list(_matched(opened.container, wanted, fps, size, name))
        except VIDEO_ERRORS as error:
            if opened is not None:
                opened.close()
            if isinstance(error, UserError):
                raise
            raise DamagedRecord(
                f"{name} is truncated or no video ({error}): copy or make it again."
            ) from error
        self._put_back(path, opened)
        return np.stack(frames)[place]

    def _take(self, path: str) -> "_Opened | None":
        with self._lock:
            if self._process != os.getpid():
                # Opened before a fork: both processes would move one place of reading.
                self._idle, self._process = [], os.getpid()
            for number, (known, opened) in enumerate(self._idle):
                if known == path:
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
    """A video file, open."""

    def __init__(self, files: Files, path: str) -> None:
        local = files.local(path)
        self._file = None if local else files.open(path)
        # Explode: a damaged frame is an error; the decoder would paint over it with its neighbours.
        options = {"err_detect": "explode"}
        try:
            self.container = av.open(self._file or str(local), "r", options=options)
            _prepare(self.container, files.name(path))
        except BaseException:
            if self._file is not None:
                self._file.close()
            raise

    def close(self) -> None:
        """Close it."""
        self.container.close()
        if self._file is not None:
            self._file.close()


def _prepare(container: InputContainer, name: str) -> None:
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise DamagedRecord(f"{name} is of a codec that is not known here: convert it to H.264.")
    # In one thread: faster, pictures being small, and nothing is left behind in a forked process.
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"err_detect": "explode"}


def _matched(
    container: InputContainer,
    wanted: np.ndarray,
    fps: float,
    size: tuple[int | None, int | None],
    name: str,
) -> Iterator[np.ndarray]:
    """Yield a picture for each of the `wanted` times (s, sorted)."""
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
