"""Pictures at the size of the model: resized, and kept so that they are decoded once."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from experiment import progress
from experiment.files import alone, disk_error, write_bytes
from worldmodel.data.formats.episode import DamagedRecord

Size = tuple[int, int]
"""Height and width."""

_AT_ONCE = 64


def fitted(pictures: np.ndarray, size: Size, crop: bool = False) -> np.ndarray:
    """Return pictures uint8 `(n, h, w, 3)` at `size`, antialiased; cropped to its shape or not."""
    if crop:
        pictures = cropped(pictures, size[1] / size[0])
    return resized(pictures, size)


def resized(frames: np.ndarray, size: Size) -> np.ndarray:
    """Return frames uint8 `(t, h, w, 3)` at `size`, antialiased."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"frames must be uint8 (t, h, w, 3), not {frames.dtype} {frames.shape}")
    if frames.shape[1:3] == size:
        return frames
    if not len(frames):
        return np.zeros((0, *size, 3), np.uint8)
    # Pillow's filter in a fifth of its time: of 1,000 values one differs by one grey level.
    pictures = torch.from_numpy(np.require(frames, requirements=["C", "W"])).permute(0, 3, 1, 2)
    smaller = functional.interpolate(pictures, size=size, mode="bilinear", antialias=True)
    return np.ascontiguousarray(smaller.permute(0, 2, 3, 1).numpy())


def cropped(pictures: np.ndarray, aspect: float) -> np.ndarray:
    """Return the middle of pictures `(n, h, w, 3)` that is `aspect` times as wide as high."""
    height, width = pictures.shape[1:3]
    rows = min(height, max(1, round(width / aspect)))
    columns = min(width, max(1, round(height * aspect)))
    top, left = (height - rows) // 2, (width - columns) // 2
    return np.ascontiguousarray(pictures[:, top : top + rows, left : left + columns])


class Memory:
    """Bytes that are left for pictures; the data sets of a process share one."""

    def __init__(self, size: int) -> None:
        self.size = self.free = size

    def take(self, size: int) -> bool:
        """Take `size` bytes, if they are left."""
        if size > self.free:
            return False
        self.free -= size
        return True

    def __reduce__(self) -> tuple[object, ...]:
        """In another process none is taken."""
        return Memory, (self.size,)


class KeptPictures:
    """Pictures uint8 `(h, w, 3)` of one episode by step; `release` gives their memory back."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self._taken = memory, 0
        self._pictures: dict[int, np.ndarray] = {}

    def put(self, steps: Iterable[int], pictures: np.ndarray) -> dict[int, np.ndarray]:
        """Return the pictures `(n, h, w, 3)` of `steps` by step; keep them while there is room."""
        by_step = dict(zip(steps, pictures, strict=True))
        if by_step and self._memory.take(pictures.nbytes):
            self._taken += pictures.nbytes
            self._pictures |= by_step
        return by_step

    def get(self, steps: Iterable[int]) -> dict[int, np.ndarray]:
        """Return the pictures of those of `steps` that are kept."""
        return {step: self._pictures[step] for step in steps if step in self._pictures}

    def release(self) -> None:
        self._memory.free += self._taken
        self._pictures, self._taken = {}, 0


class PictureFile:
    """All pictures of a data set at one size, decoded once into a memory-mapped file.

    `path` must change with the content of the data set, the size and the crop. A JSON file beside
    it lists the episodes whose pictures cannot be read.
    """

    def __init__(self, path: Path, lengths: np.ndarray) -> None:
        self.path = path
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        self._array: np.ndarray | None = None
        self._damaged: dict[int, str] = {}

    def make(
        self, size: Size, read: Callable[[int, Sequence[int]], np.ndarray], skip_damaged: bool
    ) -> None:
        """Write the file, if it is not there, from `read(episode, steps)`; shows progress.

        While another process writes it, this one waits. Raises `DamagedRecord` for the first that
        cannot be read, unless `skip_damaged`.
        """
        if self.path.exists():
            return
        lock = self.path.with_name(f".{self.path.name}.lock")
        with alone(lock, f"another process decodes {self.path}; waiting for it"):
            if not self.path.exists():
                self._write(size, read, skip_damaged)

    def _write(
        self, size: Size, read: Callable[[int, Sequence[int]], np.ndarray], skip_damaged: bool
    ) -> None:
        partial = self.path.with_name(f".{self.path.name}.partial")
        damaged: dict[int, str] = {}
        shape = (int(self._starts[-1]), *size, 3)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}

        def pictures() -> Iterator[np.ndarray]:
            for episode, (start, end) in enumerate(itertools.pairwise(self._starts.tolist())):
                for first in range(0, end - start, _AT_ONCE):
                    steps = range(first, min(first + _AT_ONCE, end - start))
                    if episode not in damaged:
                        try:
                            yield read(episode, steps)
                            continue
                        except DamagedRecord as error:
                            if not skip_damaged:
                                raise
                            damaged[episode] = str(error)
                    yield np.zeros((len(steps), *size, 3), np.uint8)

        try:
            # Written as a stream: a full disk is an error here, in a memory map it is a crash.
            with (
                partial.open("wb") as file,
                progress.bar(
                    total=shape[0], desc="decoding pictures", unit="picture", delay=2.0
                ) as bar,
            ):
                np.lib.format.write_array_header_1_0(file, header)
                for several in pictures():
                    file.write(several.tobytes())
                    bar.update(len(several))
            write_bytes(self._list, json.dumps(damaged).encode())
            partial.replace(self.path)
        except OSError as error:
            raise disk_error(error, self.path) from error
        finally:
            partial.unlink(missing_ok=True)

    def read(self, episode: int, steps: Sequence[int]) -> dict[int, np.ndarray]:
        """Return the pictures of `steps` by step, read-only; raises `DamagedRecord`."""
        if self._array is None:
            self._array = np.load(self.path, mmap_mode="r")
            self._damaged = {int(n): text for n, text in json.loads(self._list.read_text()).items()}
        if episode in self._damaged:
            raise DamagedRecord(self._damaged[episode])
        start = int(self._starts[episode])
        return {step: self._array[start + step] for step in steps}

    @property
    def _list(self) -> Path:
        return self.path.with_suffix(".json")

    def __getstate__(self) -> dict[str, object]:
        """Another process maps the file itself."""
        return vars(self) | {"_array": None}
