"""Batches on their way from worker processes: tensors in shared memory that is used again.

Shared memory taken anew for every batch costs a page fault every 4 kB on both sides, more than
decoding. So each worker has a few blocks, fills them in turn, and takes one again when the process
that reads has let go of every tensor in it.
"""

import io
import math
import os
import pickle
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldmodel.data.windows import Empty, empty_pictures

_ALIGNED = 64
"""Bytes; also the size of a block's header, whose first byte says whether the block is in use."""

RECEIVED: dict[str, dict[tuple[int, int], np.ndarray]] = {}
"""The blocks of the workers of each loader: name of the loader -> (process, number) -> bytes."""


class Blocks:
    """The shared memory of one worker; what finds no place there goes through the pipe."""

    def __init__(self, loader: str, most: int) -> None:
        """Args: `loader` is the key of the receiving end in `RECEIVED`; `most` blocks."""
        self._loader, self._most, self._needed = loader, most, 0
        self._blocks: list[Tensor] = []
        self._number, self._start, self._sent = -1, _ALIGNED, set[int]()

    def begin(self) -> Empty:
        """Choose a block for the next batch; return what takes memory of it."""
        free = [number for number, block in enumerate(self._blocks) if not block[0]]
        if self._needed and not free and len(self._blocks) < self._most:
            free = [len(self._blocks)]
            self._blocks.append(torch.empty(0))
        self._number, self._start = free[0] if free else -1, _ALIGNED
        if free and len(self._blocks[free[0]]) < self._needed:
            # Zeros are copied there: the pages are taken now.
            size = self._needed + self._needed // 8
            self._blocks[free[0]] = torch.zeros(size, dtype=torch.uint8).share_memory_()
            self._sent.discard(free[0])
        return self._empty

    def pack(self, sample: object) -> "Parcel":
        """Return the sample for the other process."""
        number, file = self._number, io.BytesIO()
        pickler = pickle.Pickler(file, protocol=5)
        pickler.persistent_id = self._place  # type: ignore[method-assign]
        pickler.dump(sample)
        self._needed = max(self._needed, self._start)
        shared = None
        if number >= 0:
            self._blocks[number][0] = 1
            shared = None if number in self._sent else self._blocks[number]
            self._sent.add(number)
        return Parcel(self._loader, file.getvalue(), number, shared)

    def _empty(self, shape: tuple[int, ...]) -> Tensor:
        start, size = self._start, math.prod(shape)
        self._start += -(-size // _ALIGNED) * _ALIGNED
        if self._number < 0 or start + size > len(self._blocks[self._number]):
            return empty_pictures(shape)
        return self._blocks[self._number][start : start + size].view(shape)

    def _place(self, value: object) -> tuple[Any, ...] | None:
        """Return where a tensor lies in the block, copied there if need be; or its content."""
        if not isinstance(value, Tensor):
            return None
        start = self._offset(value)
        content = value.contiguous().reshape(-1).view(torch.uint8)
        if start is None or not value.is_contiguous():
            copy = self._empty((value.nbytes,))
            start = self._offset(copy.copy_(content))
        if start is None:
            return content.numpy(), value.dtype, tuple(value.shape)
        return start, value.nbytes, value.dtype, tuple(value.shape)

    def _offset(self, tensor: Tensor) -> int | None:
        if self._number < 0:
            return None
        block = self._blocks[self._number]
        start = tensor.data_ptr() - block.data_ptr()
        return start if _ALIGNED <= start < len(block) else None


class Parcel:
    """A sample without its tensors; becomes the sample when it is unpickled elsewhere.

    `shared` is the block that holds the tensors, when it is sent for the first time.
    """

    def __init__(self, loader: str, rest: bytes, number: int, shared: Tensor | None) -> None:
        self._content = (loader, rest, os.getpid(), number, shared)

    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickle as the sample."""
        return _received, self._content


def _received(loader: str, rest: bytes, process: int, number: int, shared: Tensor | None) -> object:
    """Return the sample; when its last tensor is gone, its block is free again."""
    blocks = RECEIVED.get(loader, {})
    if shared is not None:
        blocks[process, number] = shared.numpy()
    unpickler = pickle.Unpickler(io.BytesIO(rest))
    whole = torch.empty(0, dtype=torch.uint8)
    if number >= 0:
        block = blocks[process, number]
        # Tensors share a storage, which holds this view, whichever of them lives longest.
        lease = block[:]
        weakref.finalize(lease, block.__setitem__, 0, 0)
        whole = torch.from_numpy(lease)

    def tensor(place: tuple[Any, ...]) -> Tensor:
        *content, dtype, shape = place
        if len(content) == 1:
            return torch.from_numpy(content[0]).view(dtype).view(shape)
        start, size = content
        return whole[start : start + size].view(dtype).view(shape)

    unpickler.persistent_load = tensor  # type: ignore[method-assign]
    return unpickler.load()
