"""Streams: which window comes when, and what happens to damaged records."""

import functools

import numpy as np
import pytest

from experiment.errors import UserError
from tests.worldmodel.toy_episodes import toy_adapter
from tests.worldmodel.toy_streams import TOKENIZER, USE, ToySet, reader, same
from worldmodel.data.batches import DataConfig
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.loader import Loader
from worldmodel.data.reader import StreamReader, split
from worldmodel.data.stream import SetConfig, Stream


def test_a_step_gives_the_same_batch_in_any_order_and_with_augmentation() -> None:
    use = DataConfig(batch_size=4, held_out=0.2)
    forward = [reader("9,9,12,8,10", use=use)(step).windows for step in range(8)]
    late = reader("9,9,12,8,10", use=use)
    assert same(late(5).windows, forward[5])
    assert same(late(2).windows, forward[2])
    assert not same(forward[0], forward[1])


def test_workers_change_nothing() -> None:
    make = functools.partial(reader, "9,9,12,8,10", "20,30,8")
    alone = [make()(step).windows for step in range(6)]
    for workers in (0, 1, 2):
        ahead = Loader(make, workers)
        for step in (0, 1, 2, 5, 3, 4):  # also out of turn, as after going on with a run
            assert same(ahead(step).windows, alone[step])
        ahead.close()


def test_each_process_reads_its_own_records() -> None:
    lengths = ",".join(["9"] * 40)
    read = []
    for worker in range(2):
        made = reader(lengths, workers=2, lanes=2)
        for step in range(worker, 60, 2):  # more than an epoch
            made(step)
        read.append(made.sets[0].episodes.numbers)  # type: ignore[attr-defined]
    assert len(read[0] | read[1]) == 32
    assert len(read[0] & read[1]) <= 1  # the episode at the border


def test_ranks_see_different_windows() -> None:
    two = [reader("40,40,40,40,40", rank=rank, world=2)(0).windows for rank in range(2)]
    frames = np.concatenate([w.frame for w in two])
    assert len(np.unique(frames.reshape(8, -1), axis=0)) == 8


def test_held_out_episodes_are_never_learned_from() -> None:
    made = reader("9,9,12,8,10")
    held_out = set(made.held_out(6).instructions)
    learned = {text for step in range(20) for text in made(step).windows.instructions}
    assert held_out
    assert not held_out & learned
    assert same(made.held_out(6), reader("9,9,12,8,10").held_out(6))


def test_damage_stops_or_is_skipped_and_said() -> None:
    root = "9,9,12,8,10!3"
    use = DataConfig(batch_size=4, held_out=0.0, augmentation=None)
    stopping = reader(root, use=use)
    with pytest.raises(DamagedRecord, match="toy record 3 is damaged"):
        [stopping(step) for step in range(10)]
    skipping = reader(root, use=use, on_error="skip")
    samples = [skipping(step) for step in range(10)]
    assert {reason for s in samples for reason in s.skipped} == {"toy record 3 is damaged."}
    assert all(len(s.windows.frame) == 4 for s in samples)
    assert all("do 3" not in s.windows.instructions for s in samples)
    assert same(samples[7].windows, reader(root, use=use, on_error="skip")(7).windows)


def test_a_set_of_nothing_but_damage_ends() -> None:
    hopeless = reader("9,9!0,1", on_error="skip")
    with pytest.raises(UserError, match="100 records in a row could not be read"):
        hopeless(0)


def test_errors_of_workers_arrive_as_one_sentence() -> None:
    ahead = Loader(functools.partial(reader, "9,9!0,1"), workers=1)
    with pytest.raises(DamagedRecord, match=r"^toy record \d is damaged\.$"):
        ahead(0)
    ahead.close()


def test_too_short_episodes_are_refused_unless_padded() -> None:
    with pytest.raises(UserError, match="no episode is longer than 6 steps"):
        reader("5,4,6")
    padded = DataConfig(batch_size=4, held_out=0.2, pad=True, augmentation=None)
    assert len(reader("5,4,6", use=padded)(0).windows.frame) == 4


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match="at least one data set"):
        Stream(sets=[])
    with pytest.raises(UserError, match="unknown on_error 'ignore'"):
        reader("9,9", on_error="ignore")
    with pytest.raises(UserError, match="unknown data format 'tfds'"):
        SetConfig("x", toy_adapter(), format="tfds")  # type: ignore[arg-type]
    for weights in ([0.0], [1.0, 0.0], [1.0, -1.0], [float("nan"), 1.0]):
        sets = [ToySet(root="9,9", adapter=toy_adapter(), weight=weight) for weight in weights]
        with pytest.raises(UserError, match="weights of a mixture"):
            StreamReader(Stream(sets=sets), USE, TOKENIZER, seed=3)


def test_split_is_spread_and_complete() -> None:
    learned, held_out = split(100, 0.05)
    assert len(held_out) == 5
    assert np.diff(held_out).min() > 10
    assert sorted([*learned, *held_out]) == list(range(100))
    assert len(split(1, 0.5)[1]) == 0
    assert len(split(9, 0.0)[1]) == 0
