"""Reading ahead in worker processes: torch's `DataLoader` over the steps of a run.

The batch of a step is the same whichever process makes it, so the number of workers may change
between one start of a run and the next.
"""

import ctypes
import functools
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from experiment.errors import UserError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_PR_SET_PDEATHSIG = 1


class Reader(Protocol[T_co]):
    """Makes the batch of a step."""

    def __call__(self, step: int) -> T_co:
        """Return the batch of `step`; raises `UserError`."""
        ...


class Failure:
    """An error on its way from a worker: torch would wrap it in a traceback."""

    def __init__(self, error: UserError) -> None:
        self.kind, self.words = type(error), str(error)


class Steps(Dataset[T | Failure]):
    """The batch of each step, made by `make()(step)`; every process calls `make` for itself.

    Readers have open files, which must not be shared between processes.
    """

    def __init__(self, make: Callable[[], Reader[T]]) -> None:
        self._make = make
        self._reader: Reader[T] | None = None
        self._process = -1

    def __getitem__(self, step: int) -> T | Failure:
        """Return the batch of `step`, or what went wrong."""
        try:
            return self.read(step)
        except UserError as error:
            return Failure(error)

    def read(self, step: int) -> T:
        """Return the batch of `step`; raises the `UserError` that it meets."""
        if self._reader is None or self._process != os.getpid():
            self._reader, self._process = self._make(), os.getpid()
        return self._reader(step)

    def __getstate__(self) -> dict[str, object]:
        return {"_make": self._make, "_reader": None, "_process": -1}


class StepsFrom:
    """All steps from `first` on, without end."""

    def __init__(self, first: int = 0) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        step = self.first
        while True:
            yield step
            step += 1


class Loader(Generic[T]):
    """Callable by step; reads ahead from the last step that was asked for."""

    def __init__(self, make: Callable[[], Reader[T]], workers: int, ahead: int = 2) -> None:
        """Args: `workers` processes, 0 to read in this one when asked; batches `ahead` of each."""
        self._steps: Steps[T] = Steps(make)
        self._workers, self._next = workers, -1
        self._sampler = StepsFrom()
        self._iterator: Iterator[Any] | None = None
        self._loader: DataLoader[Any] | None = None
        if workers:
            self._loader = DataLoader(
                self._steps,
                batch_size=None,
                sampler=self._sampler,  # type: ignore[arg-type]
                num_workers=workers,
                prefetch_factor=ahead,
                collate_fn=_unchanged,
                persistent_workers=True,
                pin_memory=torch.cuda.is_available(),
                worker_init_fn=functools.partial(_live_no_longer_than, os.getpid()),
            )

    def __call__(self, step: int) -> T:
        """Return the batch of `step`; raises the `UserError` that it met."""
        if self._loader is None:
            return self._steps.read(step)
        if self._iterator is None or step != self._next:
            self._sampler.first = step
            self._iterator = iter(self._loader)
        self._next = step + 1
        try:
            batch = next(self._iterator)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise UserError(
                "a process that reads data was ended from outside, or ran out of memory (lower "
                "data.source.workers, ahead or memory): start the same command again."
            ) from error
        if isinstance(batch, Failure):
            raise batch.kind(batch.words)
        return batch  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the processes."""
        self._iterator = self._loader = None


def _unchanged(batch: T) -> T:
    return batch


def _live_no_longer_than(parent: int, _: int) -> None:
    """Let this worker leave Ctrl-C to the process `parent`, and end when that one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The kernel sends the signal even where the parent was killed; only Linux has it.
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
