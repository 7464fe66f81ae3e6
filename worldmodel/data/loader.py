"""Reading ahead in worker processes: torch's `DataLoader` over the steps of a run.

The batch of a step is the same whichever process makes it, so the number of workers may change
between one start of a run and the next.
"""

import functools
import os
import pickle
import signal
import sys
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from experiment.errors import UserError
from experiment.files import append_record
from experiment.processes import die_with_parent
from worldmodel.data.reader import Sample
from worldmodel.data.shared_memory import RECEIVED, Blocks, Parcel
from worldmodel.data.windows import Empty

T = TypeVar("T")
# Blocks besides those on their way: one is read, one is filled, two to spare.
_AT_HAND = 4

SKIPPED = "skipped.jsonl"
"""The file of a run that lists records that could not be read."""


class Reader(Protocol[T]):
    """Makes the batch of a step; can be pickled, and then opens what it reads anew."""

    def __call__(self, step: int, empty: Empty = ...) -> Sample[T]:
        """Return the batch of `step`, large tensors best in memory of `empty`.

        Raises `UserError`.
        """
        ...


class Failure:
    """An error on its way from a worker: torch would wrap it in a traceback."""

    def __init__(self, error: UserError) -> None:
        self.kind, self.words = type(error), str(error)


class Steps(Dataset[Any]):
    """The batch of each step, made in another process by a reader of its own.

    Readers have open files, which must not be shared between processes.
    """

    def __init__(self, reader: Reader[Any], blocks: Blocks) -> None:
        self._packed = pickle.dumps(reader)
        self._reader: Reader[Any] | None = None
        self._blocks = blocks

    def __getitem__(self, step: int) -> Parcel | Failure:
        """Return the batch of `step`, or what went wrong."""
        try:
            if self._reader is None:
                self._reader = pickle.loads(self._packed)
            return self._blocks.pack(self._reader(step, self._blocks.begin()))
        except UserError as error:
            return Failure(error)


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

    def __init__(
        self, reader: Reader[T], workers: int, ahead: int = 2, skipped: Path | None = None
    ) -> None:
        """Args: `workers` processes, 0 to read in this one when asked; batches `ahead` of each.

        Records that are skipped are listed in the file `skipped`.
        """
        self._reader, self._next = reader, -1
        self._file, self._listed = skipped, set[str]()
        self._sampler = StepsFrom()
        self._iterator: Iterator[Any] | None = None
        self._loader: DataLoader[Any] | None = None
        self._forget: Callable[[], object] | None = None
        if workers:
            name = uuid.uuid4().hex
            RECEIVED[name] = {}
            self._forget = weakref.finalize(self, RECEIVED.pop, name)
            self._loader = DataLoader(
                Steps(reader, Blocks(name, ahead + _AT_HAND)),
                batch_size=None,
                sampler=self._sampler,
                num_workers=workers,
                prefetch_factor=ahead,
                collate_fn=_unchanged,
                persistent_workers=True,
                pin_memory=torch.cuda.is_available(),
                worker_init_fn=functools.partial(_live_no_longer_than, os.getpid()),
            )

    def __call__(self, step: int) -> T:
        """Return the batch of `step`; raises the `UserError` that it met."""
        sample = self._reader(step) if self._loader is None else self._ahead(step)
        self.list_skipped(sample.skipped, step)
        return sample.batch

    def list_skipped(self, reasons: Sequence[str], step: int | None = None) -> None:
        """Write down why records were skipped, each reason once."""
        for reason in reasons:
            if self._file is not None and reason not in self._listed:
                self._listed.add(reason)
                append_record(self._file, {"step": step, "reason": reason})

    def _ahead(self, step: int) -> Sample[T]:
        if self._iterator is None or step != self._next:
            self._sampler.first = step
            handler = signal.getsignal(signal.SIGCHLD)
            self._iterator = iter(self._loader)  # type: ignore[arg-type]
            # Torch's handler raises wherever this process happens to be; `next` finds out as well.
            if signal.getsignal(signal.SIGCHLD) is not handler:
                signal.signal(signal.SIGCHLD, handler)
        self._next = step + 1
        try:
            sample = next(self._iterator)
        except (RuntimeError, OSError, EOFError) as error:
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            raise UserError(
                "a process that reads data was ended from outside, or ran out of memory (lower "
                "data.source.workers, ahead or memory): start the same command again."
            ) from error
        if isinstance(sample, Failure):
            raise sample.kind(sample.words)
        return sample

    def close(self) -> None:
        """End the processes."""
        self._iterator = self._loader = None
        if self._forget is not None:
            self._forget()


def _unchanged(batch: T) -> T:
    return batch


def _live_no_longer_than(parent: int, _: int) -> None:
    """Let this worker leave Ctrl-C to the process `parent`, and end when that one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent)


class HeldOut(Generic[T]):
    """Held-out windows of a reader, by their number; says once where there are none."""

    def __init__(
        self,
        read: Callable[[int], Sample[T | None]],
        list_skipped: Callable[[Sequence[str]], None],
    ) -> None:
        """Args: `list_skipped` is given the reasons why records were skipped."""
        self._read, self._list_skipped, self._said = read, list_skipped, False

    def __call__(self, count: int) -> T | None:
        """Return up to `count` windows, the same ones at every call; None without any."""
        sample = self._read(count)
        self._list_skipped(sample.skipped)
        if sample.batch is None and not self._said:
            self._said = True
            reason = "none of the held-out episodes can be read"
            if not sample.skipped:
                reason = "no window is held out (see data.use.held_out and data.use.windows)"
            print(f"{reason}: the model is not observed during training.", file=sys.stderr)
        return sample.batch
