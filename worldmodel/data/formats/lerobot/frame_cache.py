"""Decode a data set's videos once, at the model's picture size, into a memory-mapped array."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from tqdm import tqdm

from experiment.errors import UserError
from experiment.files import disk_error
from worldmodel.data.resize import resized
from worldmodel.tokenizer import Tokenizer

_FRAMES_AT_ONCE = 64


@dataclass(frozen=True)
class Clip:
    """Frames `first` to `first + length` of the video file `path`."""

    path: Path
    first: int
    length: int


def cached_frames(
    folder: Path, name: str, clips: Sequence[Clip], tokenizer: Tokenizer
) -> np.ndarray:
    """Return the frames of all clips, end to end, uint8 `(n, h, w, 3)`, read-only.

    The array lies in `folder`, under a name that changes with the clips, the size of the video
    files and the size of the pictures. Raises `UserError` naming a missing or truncated video.
    """
    for path in dict.fromkeys(clip.path for clip in clips):
        if not path.is_file():
            raise UserError(f"{path} is missing: the data set is incomplete, copy it again.")
    size = f"{tokenizer.picture[0]}x{tokenizer.picture[1]}"
    target = folder / f"{name}-{size}-{_digest(clips)}.npy"
    if not target.exists():
        _write(target, clips, tokenizer)
    return np.load(target, mmap_mode="r")


def _digest(clips: Sequence[Clip]) -> str:
    digest = hashlib.sha256()
    for clip in clips:
        stat = clip.path.stat()
        facts = (clip.path.name, clip.first, clip.length, stat.st_size, stat.st_mtime_ns)
        digest.update(repr(facts).encode())
    return digest.hexdigest()[:12]


def _write(target: Path, clips: Sequence[Clip], tokenizer: Tokenizer) -> None:
    shape = (sum(clip.length for clip in clips), *tokenizer.picture, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    partial = target.with_name(f".{target.name}.partial")
    frames = iter(tqdm(_frames(clips), total=shape[0], desc="decoding video", unit="frame"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Written as a stream: a full disk is an error here, in a memory map it is a crash.
        with partial.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            while several := list(itertools.islice(frames, _FRAMES_AT_ONCE)):
                file.write(resized(np.stack(several), tokenizer.picture).tobytes())
        partial.replace(target)
    except OSError as error:
        raise disk_error(error, target) from error
    finally:
        partial.unlink(missing_ok=True)


def _frames(clips: Sequence[Clip]) -> Iterator[np.ndarray]:
    """Yield the frames of the clips; each file is read once, from front to back."""
    for path, members in itertools.groupby(clips, key=lambda clip: clip.path):
        decoded = _decode(path)
        at = 0
        for clip in members:
            if clip.first < at:
                raise UserError(f"{path}: episodes overlap or are out of order in meta/episodes.")
            for number, frame in zip(range(at, clip.first + clip.length), decoded, strict=False):
                at = number + 1
                if number >= clip.first:
                    yield frame
            if at < clip.first + clip.length:
                raise UserError(
                    f"{path} ends after {at} frames where meta/episodes lists "
                    f"{clip.first + clip.length}: it is truncated, copy or make it again."
                )


def _decode(path: Path) -> Iterator[np.ndarray]:
    try:
        with av.open(str(path)) as container:
            reformatter = VideoReformatter()  # in one thread: faster, pictures being small
            for frame in container.decode(video=0):
                yield reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    except (av.FFmpegError, IndexError) as error:
        raise UserError(
            f"{path} is truncated or no video ({error}): copy or make it again."
        ) from error
