"""Batches on their way from worker processes: their arrays lie in shared memory that is used again.

A pipe copies a batch twice, and shared memory taken anew for every batch costs a page fault every
4 kB: either is slower than decoding. So a worker fills arenas in turn, and takes one again when the
process that reads them has let go of every array in it.
"""

import math
import os
import pickle
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")
Shape = Sequence[int]
_SHARED = "/dev/shm"
_ALIGNED = 64  # also the size of an arena's header, whose first byte says whether it is in use
_SPARE = 4  # times an arena's size must be free in shared memory: other workers take from it too


class Allocate(Protocol):
    """Returns an array to be filled, as `numpy.empty` does."""

    def __call__(self, shape: Shape, dtype: Any) -> np.ndarray:
        """Return an array of `shape` and `dtype`."""
        ...


class Arena:
    """A stretch of shared memory that holds the arrays of one batch."""

    def __init__(self, number: int, size: int) -> None:
        self.number, self.sent = number, False
        # Zeros are copied there: the memory is taken now, not half way through a batch.
        self.shared = torch.zeros(size + _ALIGNED, dtype=torch.uint8).share_memory_()
        self._bytes = self.shared.numpy()
        self._used = _ALIGNED

    @property
    def size(self) -> int:
        """Return the bytes for arrays."""
        return len(self._bytes) - _ALIGNED

    @property
    def in_use(self) -> bool:
        """Return whether the reader still holds an array in it."""
        return bool(self._bytes[0])

    def begin(self) -> None:
        """Forget what it held."""
        self._bytes[0], self._used = 1, _ALIGNED

    def give_up(self) -> None:
        """Be free again without having been sent."""
        self._bytes[0] = 0

    def take(self, size: int) -> np.ndarray | None:
        """Return `size` bytes, None where they are not left."""
        start = self._used
        if start + size > len(self._bytes):
            return None
        self._used += _aligned(size)
        return self._bytes[start : start + size]

    def place(self, data: np.ndarray) -> tuple[int, int] | None:
        """Return where the bytes `data` lie in the arena, None where they do not."""
        start = data.ctypes.data - self._bytes.ctypes.data
        return (start, start + len(data)) if 0 <= start < len(self._bytes) else None


@dataclass(frozen=True)
class Parcel(Generic[T]):
    """A value without its arrays, and where these lie: in which worker's which arena.

    `shared` is the arena itself when it is sent for the first time.
    """

    rest: bytes
    worker: int = 0
    arena: int = -1
    places: tuple[tuple[int, int], ...] = ()
    shared: Tensor | None = None


class Sender:
    """The arenas of a worker process. Where shared memory is short, all goes through the pipe."""

    def __init__(self, most: int = 6, left: Callable[[], int] | None = None) -> None:
        """Args: `most` arenas; `left` returns the bytes of shared memory that are free."""
        self._most, self._left = most, left or shared_memory_left
        self._arenas: list[Arena] = []
        self._made = self._needed = self._asked = 0
        self._arena: Arena | None = None

    def begin(self) -> Allocate:
        """Return where to put the arrays of the next batch."""
        if self._arena is not None:  # no batch came of it
            self._arena.give_up()
        self._arenas = [a for a in self._arenas if a.size >= self._needed]
        free = [a for a in self._arenas if not a.in_use]
        self._arena = free[0] if free else self._new()
        if self._arena is not None:
            self._arena.begin()
        self._asked = 0
        return self._empty

    def pack(self, value: T) -> Parcel[T]:
        """Return the batch for the reader."""
        arena = self._arena
        places: list[tuple[int, int]] = []

        def goes_along(buffer: pickle.PickleBuffer) -> bool:
            data = np.frombuffer(buffer.raw(), np.uint8)
            found = arena.place(data) if arena else None
            copy = self._take(len(data)) if found is None else None
            if arena and copy is not None:
                copy[:] = data
                found = arena.place(copy)
            if found is not None:
                places.append(found)
            return found is None

        rest = pickle.dumps(value, protocol=5, buffer_callback=goes_along)
        self._arena = None
        self._needed = max(self._needed, self._asked)
        if arena is None:
            return Parcel(rest)
        shared, arena.sent = None if arena.sent else arena.shared, True
        return Parcel(rest, os.getpid(), arena.number, tuple(places), shared)

    def _empty(self, shape: Shape, dtype: Any) -> np.ndarray:
        found = self._take(math.prod(shape) * np.dtype(dtype).itemsize)
        return np.empty(shape, dtype) if found is None else found.view(dtype).reshape(shape)

    def _take(self, size: int) -> np.ndarray | None:
        self._asked += _aligned(size)
        return self._arena.take(size) if self._arena else None

    def _new(self) -> Arena | None:
        size = _aligned(self._needed + self._needed // 8)
        if not size or len(self._arenas) >= self._most or self._left() < _SPARE * size:
            return None
        arena = Arena(self._made, size)
        self._made += 1
        self._arenas.append(arena)
        return arena


class Receiver:
    """The reader's end: knows the arenas of all its workers."""

    def __init__(self) -> None:
        self._arenas: dict[tuple[int, int], np.ndarray] = {}

    def unpack(self, parcel: Parcel[T]) -> T:
        """Return the value; when its last array is gone, its arena is free again."""
        key = (parcel.worker, parcel.arena)
        if parcel.shared is not None:
            self._arenas[key] = parcel.shared.numpy()
        if parcel.arena < 0:
            return pickle.loads(parcel.rest)  # type: ignore[no-any-return]
        arena = self._arenas[key]
        lease = arena[:]
        weakref.finalize(lease, _free, arena)
        whole = memoryview(lease)  # type: ignore[arg-type]
        arrays = [whole[start:end] for start, end in parcel.places]
        return pickle.loads(parcel.rest, buffers=arrays)  # type: ignore[no-any-return]


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _free(arena: np.ndarray) -> None:
    arena[0] = 0


def shared_memory_left() -> int:
    """Return the bytes of shared memory that are free, 0 where there is none to look at."""
    try:
        found = os.statvfs(_SHARED)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize
