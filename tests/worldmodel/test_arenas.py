"""Batches between processes: whole, never overwritten while they are held, and never stuck."""

import functools
from dataclasses import dataclass

import numpy as np
import pytest

from worldmodel.data.arenas import Allocate, Receiver, Sender, shared_memory_left
from worldmodel.data.loader import ReadAhead

PLENTY = 1 << 40


@dataclass
class Sample:
    pictures: np.ndarray
    numbers: np.ndarray
    words: list[str]


def sample(step: int, empty: Allocate = np.empty, size: int = 1000) -> Sample:
    """Return a batch that says in every byte whose it is."""
    pictures = empty((4, size), np.uint8)
    pictures[:] = step % 251
    return Sample(pictures, np.full((3, 2), step, np.float32), [f"step {step}"])


def check(found: Sample, step: int) -> None:
    assert (found.pictures == step % 251).all()
    assert (found.numbers == step).all()
    assert found.words == [f"step {step}"]


def sent(sender: Sender, receiver: Receiver, step: int, size: int = 1000) -> Sample:
    return receiver.unpack(sender.pack(sample(step, sender.begin(), size)))


def arenas(sender: Sender) -> int:
    return len(sender._arenas)


@pytest.mark.parametrize("left", [PLENTY, 0])
def test_batches_arrive_whole_with_and_without_shared_memory(left: int) -> None:
    sender, receiver = Sender(left=lambda: left), Receiver()
    for step in range(20):
        check(sent(sender, receiver, step), step)
    assert arenas(sender) == (1 if left else 0)


@pytest.mark.parametrize("held", [1, 3, 12])
def test_what_is_held_is_never_overwritten(held: int) -> None:
    sender, receiver = Sender(left=lambda: PLENTY), Receiver()
    kept: list[tuple[int, Sample]] = []
    for step in range(40):
        kept = [*kept, (step, sent(sender, receiver, step))][-held:]
        for number, batch in kept:
            check(batch, number)
    assert arenas(sender) <= 6


def test_a_part_of_a_batch_holds_its_arena() -> None:
    sender, receiver = Sender(left=lambda: PLENTY), Receiver()
    sent(sender, receiver, 0)
    row = sent(sender, receiver, 1).pictures[2, 10:20]
    for step in range(2, 30):
        sent(sender, receiver, step)
    assert (row == 1).all()


def test_batches_may_grow() -> None:
    sender, receiver = Sender(left=lambda: PLENTY), Receiver()
    for step in range(30):
        check(sent(sender, receiver, step, size=100 + 50 * step), step)


def test_arrays_made_elsewhere_come_along() -> None:
    sender, receiver = Sender(left=lambda: PLENTY), Receiver()
    for step in range(5):
        sender.begin()
        check(receiver.unpack(sender.pack(sample(step))), step)


def test_arrays_without_values_and_of_any_layout() -> None:
    sender, receiver = Sender(left=lambda: PLENTY), Receiver()
    for _ in range(4):
        sender.begin()
        value = [np.zeros((4, 0), np.float32), np.arange(12).reshape(3, 4).T, np.asarray(7)]
        found = receiver.unpack(sender.pack(value))
        assert all(np.array_equal(a, b) for a, b in zip(found, value, strict=True))
        assert found[0].shape == (4, 0)


def test_a_batch_that_failed_leaves_its_arena_free() -> None:
    sender, receiver = Sender(left=lambda: PLENTY), Receiver()
    for step in range(30):
        sender.begin()((4, 1000), np.uint8)  # and then an error
        check(sent(sender, receiver, step), step)
    assert arenas(sender) == 1


def test_free_memory_is_looked_up() -> None:
    assert shared_memory_left() >= 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_processes_share_arenas(workers: int) -> None:
    ahead: ReadAhead[Sample] = ReadAhead(functools.partial(functools.partial, sample), workers)
    kept: list[Sample] = []
    for step in range(40):
        kept = [*kept, ahead(step)][-5:]
        for number, batch in zip(range(max(0, step - 4), step + 1), kept, strict=True):
            check(batch, number)
    ahead.close()
    check(kept[-1], 39)  # held beyond the end of its worker
