"""Reading ahead in worker processes: torch's DataLoader over steps.

A step's batch is the same whichever process makes it, so the number of workers may change between
one start of a run and the next.
"""

import os
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from torch.utils.data import DataLoader, Dataset

from experiment.errors import UserError
from worldmodel.data.arenas import Allocate, Parcel, Receiver, Sender

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
# Arenas besides those on their way: one is read, one is filled, two to spare.
_AT_HAND = 4


class Failure:
    """An error on its way from a worker: torch would wrap it in a traceback."""

    def __init__(self, error: UserError) -> None:
        self.kind, self.words = type(error), str(error)


class Reader(Protocol[T_co]):
    """Makes the batch of a step; large arrays are best taken from `empty`."""

    def __call__(self, step: int, empty: Allocate = ...) -> T_co:
        """Return the batch of `step`; raises `UserError`."""
        ...


class Steps(Dataset[Parcel[T] | Failure]):
    """The batch of each step, made by `make()(step)`; every process calls `make` for itself.

    Readers have open files, which must not be shared between processes.
    """

    def __init__(self, make: Callable[[], Reader[T]], ahead: int) -> None:
        self._make, self._arenas = make, ahead + _AT_HAND
        self._own: tuple[Reader[T], Sender] | None = None
        self._process = -1

    def __getitem__(self, step: int) -> Parcel[T] | Failure:
        """Return the batch of `step` for another process, or what went wrong."""
        try:
            reader, sender = self._of_this_process()
            return sender.pack(reader(step, sender.begin()))
        except UserError as error:
            return Failure(error)

    def read(self, step: int) -> T:
        """Return the batch of `step`; raises the `UserError` that it meets."""
        reader, _ = self._of_this_process()
        return reader(step)

    def _of_this_process(self) -> tuple[Reader[T], Sender]:
        if self._own is None or self._process != os.getpid():
            self._own, self._process = (self._make(), Sender(self._arenas)), os.getpid()
        return self._own

    def __getstate__(self) -> dict[str, object]:
        return {"_make": self._make, "_arenas": self._arenas, "_own": None, "_process": -1}


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

    def __init__(self, make: Callable[[], Reader[T]], workers: int, ahead: int = 2) -> None:
        """Args: `workers` processes, 0 to read in this one when asked; batches `ahead` of each."""
        self._steps: Steps[T] = Steps(make, ahead)
        self._workers, self._ahead = workers, ahead
        self._receiver = Receiver()
        self._next = -1
        self._iterator: Iterator[Parcel[T] | Failure] | None = None

    def __call__(self, step: int) -> T:
        """Return the batch of `step`; raises the `UserError` that it met."""
        if self._workers == 0:
            return self._steps.read(step)
        if self._iterator is None or step != self._next:
            loader: DataLoader[Parcel[T] | Failure] = DataLoader(
                self._steps,
                batch_size=None,
                sampler=_From(step),  # type: ignore[arg-type]
                num_workers=self._workers,
                prefetch_factor=self._ahead,
            )
            self._iterator, self._receiver = iter(loader), Receiver()
        self._next = step + 1
        found = next(self._iterator)
        if isinstance(found, Failure):
            raise found.kind(found.words)
        return self._receiver.unpack(found)

    def close(self) -> None:
        """End the processes."""
        self._iterator = None
