"""Reading ahead in worker processes: torch's DataLoader over steps.

A step's batch is the same whichever process makes it, so the number of workers may change between
one start of a run and the next.
"""

import os
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from torch.utils.data import DataLoader, Dataset

from worldmodel.errors import UserError

T = TypeVar("T")


class Failure:
    """An error on its way from a worker: torch would wrap it in a traceback."""

    def __init__(self, error: UserError) -> None:
        self.kind, self.words = type(error), str(error)


class Steps(Dataset[T | Failure]):
    """The batch of each step, made by `make()(step)`; every process calls `make` for itself.

    Readers have open files, which must not be shared between processes.
    """

    def __init__(self, make: Callable[[], Callable[[int], T]]) -> None:
        self._make = make
        self._reader: Callable[[int], T] | None = None
        self._process = -1

    def __getitem__(self, step: int) -> T | Failure:
        """Return the batch of `step`, or what went wrong."""
        try:
            if self._reader is None or self._process != os.getpid():
                self._reader, self._process = self._make(), os.getpid()
            return self._reader(step)
        except UserError as error:
            return Failure(error)

    def __getstate__(self) -> dict[str, object]:
        return {"_make": self._make, "_reader": None, "_process": -1}


class _From:
    """All steps from one on; ends where no run does."""

    def __init__(self, first: int) -> None:
        self._first = first

    def __iter__(self) -> Iterator[int]:
        step = self._first
        while True:
            yield step
            step += 1


class ReadAhead(Generic[T]):
    """Callable by step; reads ahead from the last step that was asked for."""

    def __init__(self, make: Callable[[], Callable[[int], T]], workers: int) -> None:
        """Args: `workers` processes, 0 to read in this one when asked."""
        self._steps: Steps[T] = Steps(make)
        self._workers = workers
        self._next = -1
        self._iterator: Iterator[T | Failure] | None = None

    def __call__(self, step: int) -> T:
        """Return the batch of `step`; raises the `UserError` that it met."""
        if self._workers == 0:
            return _unwrapped(self._steps[step])
        if self._iterator is None or step != self._next:
            loader: DataLoader[T | Failure] = DataLoader(
                self._steps,
                batch_size=None,
                sampler=_From(step),  # type: ignore[arg-type]
                num_workers=self._workers,
                prefetch_factor=2,
            )
            self._iterator = iter(loader)
        self._next = step + 1
        return _unwrapped(next(self._iterator))

    def close(self) -> None:
        """End the processes."""
        self._iterator = None


def _unwrapped(value: T | Failure) -> T:
    if isinstance(value, Failure):
        raise value.kind(value.words)
    return value
