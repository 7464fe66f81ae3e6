"""Readers: which window comes when, and what happens to damaged records."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from experiment.errors import UserError
from tests.worldmodel.toy_episodes import toy_adapter
from tests.worldmodel.toy_streams import USE, WINDOWS, ToySet, reader, same, toy_source
from worldmodel.data.augmentation import Augmentation
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.reader import DataConfig, split
from worldmodel.data.source import DataSource, SetConfig


def test_a_step_gives_the_same_batch_in_any_order_and_with_augmentation() -> None:
    use = DataConfig(batch_size=4, held_out=0.2)
    forward = [reader("9,9,12,8,10", use=use)(step).batch for step in range(8)]
    late = reader("9,9,12,8,10", use=use)
    assert same(late(5).batch, forward[5])
    assert same(late(2).batch, forward[2])
    assert not same(forward[0], forward[1])


def test_a_reader_can_be_sent_to_another_process() -> None:
    made = reader("9,9,12,8,10")
    first = made(0).batch
    copy = pickle.loads(pickle.dumps(made))
    assert same(copy(0).batch, first)
    assert copy.sets[0].episodes is not made.sets[0].episodes


def test_each_process_reads_its_own_records() -> None:
    lengths = ",".join(["9"] * 40)
    read = []
    for worker in range(2):
        made = reader(lengths, workers=2, shards=2)
        for step in range(worker, 60, 2):  # more than an epoch
            made(step)
        read.append(made.sets[0].episodes.numbers)  # type: ignore[attr-defined]
    assert len(read[0] | read[1]) == 32
    assert len(read[0] & read[1]) <= 1  # the episode at the border


@pytest.mark.parametrize("parts", [1, 2])
def test_ranks_share_out_the_batch_of_one(parts: int) -> None:
    use = dataclasses.replace(USE, augmentation=Augmentation(shift=1, words=0.5))
    one = reader("40,40,40,40,40", use=use, parts=parts)(5).batch
    two = [
        reader("40,40,40,40,40", use=use, parts=parts, rank=r, world=2)(5).batch for r in range(2)
    ]
    for rank, rows in enumerate(two):
        assert same(rows, one.rows(slice(rank * rows.samples, (rank + 1) * rows.samples)))


def test_held_out_episodes_are_never_learned_from() -> None:
    made = reader("9,9,12,8,10")
    held_out = made.held_out(6).batch
    assert held_out is not None
    learned = {text for step in range(20) for text in made(step).batch.instructions}
    assert not set(held_out.instructions) & learned
    again = reader("9,9,12,8,10").held_out(6).batch
    assert again is not None
    assert same(held_out, again)
    # As many as there are, none twice.
    everything = made.held_out(100).batch
    assert everything is not None
    assert everything.samples == 6
    assert len(torch.unique(everything.frame.flatten(1), dim=0)) == 6


def test_held_out_windows_of_one_set_of_a_mixture_and_without_the_future() -> None:
    made = reader("9,9,12", "30,31,32")
    now = made.held_out(5, [1], now_only=True).batch
    assert now is not None
    assert now.samples == 5
    assert now.future.shape == (5, 0, 32, 32, 3)
    assert now.action.shape == (5, 6, 7)


def test_few_episodes_are_the_first_ones_and_count_as_what_they_are() -> None:
    few = reader("9,9,12,8,10", "60,60", use=dataclasses.replace(USE, episodes=2))
    seen = {t for step in range(40) for t in few(step).batch.instructions}
    assert seen == {"do 0", "do 1"}
    assert few.episodes == 3  # one of the second set is held out
    alone = reader("9,9", "60", use=dataclasses.replace(USE, held_out=0.0))
    np.testing.assert_allclose(few.shares, alone.shares)
    held_out, of_all = (made.held_out(100, [0]).batch for made in (few, reader("9,9,12,8,10")))
    assert held_out is not None
    assert of_all is not None
    assert same(held_out, of_all)
    with pytest.raises(UserError, match=r"data.use.episodes=0 must be at least 1"):
        DataConfig(episodes=0)


def test_nothing_may_be_held_out() -> None:
    use = dataclasses.replace(USE, held_out=0.0)
    assert reader("9,9,12", use=use).held_out(5).batch is None


def test_damage_stops_or_is_skipped_and_listed() -> None:
    root = "9,9,12,8,10!3"
    use = DataConfig(batch_size=4, held_out=0.0, augmentation=None)
    stopping = reader(root, use=use)
    with pytest.raises(DamagedRecord, match="toy record 3 is damaged"):
        [stopping(step) for step in range(10)]
    skipping = reader(root, use=use, on_error="skip")
    samples = [skipping(step) for step in range(10)]
    assert [reason for s in samples for reason in s.skipped] == ["toy record 3 is damaged."]
    assert all(len(s.batch.frame) == 4 for s in samples)
    assert all("do 3" not in s.batch.instructions for s in samples)
    assert same(samples[7].batch, reader(root, use=use, on_error="skip")(7).batch)


def test_damaged_held_out_records_are_replaced_by_other_held_out_ones() -> None:
    lengths = ",".join(["9"] * 10)
    use = dataclasses.replace(USE, held_out=0.3)
    _, held_out = split(10, 0.3)
    one = reader(f"{lengths}!{held_out[0]}", use=use, on_error="skip").held_out(9)
    assert one.batch is not None
    assert one.batch.samples == 6
    assert one.skipped == (f"toy record {held_out[0]} is damaged.",)
    assert set(one.batch.instructions) == {f"do {n}" for n in held_out[1:]}
    every = ",".join(map(str, held_out))
    nothing = reader(f"{lengths}!{every}", use=use, on_error="skip").held_out(6)
    assert nothing.batch is None
    assert len(nothing.skipped) == 3
    with pytest.raises(DamagedRecord):
        reader(f"{lengths}!{every}", use=use).held_out(6)


def test_a_set_of_nothing_but_damage_ends() -> None:
    hopeless = reader("9,9!0,1", on_error="skip")
    with pytest.raises(UserError, match="none of 100 windows drawn could be read, the last"):
        hopeless(0)


def test_too_short_episodes_are_refused_unless_padded() -> None:
    with pytest.raises(UserError, match=r"no episode is longer than 6 steps: .*after_end=mask"):
        reader("5,4,6")
    padded = dataclasses.replace(USE, after_end="mask")
    assert len(reader("5,4,6", use=padded)(0).batch.frame) == 4


def test_states_of_a_mixture_have_one_width() -> None:
    sets = [
        ToySet(root="20,20", adapter=toy_adapter(name="wide")),
        ToySet(root="20,20", adapter=toy_adapter(name="none", state=())),
    ]
    source = DataSource(sets=sets, block=2, workers=0)
    made = source.window_reader(source.open(USE, (32, 32)), USE, 0)
    states = torch.cat([made(step).batch.state for step in range(6)])
    assert states.shape == (24, 2)
    assert (states == 0).all(1).any()


def test_some_sets_of_a_mixture_may_be_chosen() -> None:
    source = toy_source("9,9", "30,31", "40,40", only=["toy2", "toy1"])
    assert [data.name for data in source.open(USE, (32, 32))] == ["toy2", "toy1"]
    with pytest.raises(UserError, match=r"unknown set 'toy3'. Did you mean"):
        toy_source("9,9", "30,31", only=["toy3"]).open(USE, (32, 32))


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match="at least one data set"):
        DataSource(sets=[])
    with pytest.raises(UserError, match="unknown on_error 'ignore'"):
        reader("9,9", on_error="ignore")
    with pytest.raises(UserError, match="unknown data format 'tfds'"):
        SetConfig("x", toy_adapter(), format="tfds")  # type: ignore[arg-type]
    for weights in ([0.0], [1.0, 0.0], [1.0, -1.0], [float("nan"), 1.0]):
        sets = [ToySet(root="9,9", adapter=toy_adapter(), weight=weight) for weight in weights]
        source = DataSource(sets=sets)
        with pytest.raises(UserError, match="weights of a mixture"):
            source.window_reader(source.open(USE, (32, 32)), USE, 0)
    with pytest.raises(UserError, match="batch_size"):
        DataConfig(batch_size=0)
    with pytest.raises(UserError, match=r"unknown data.use.after_end 'holds'. Did you mean 'hold'"):
        DataConfig(after_end="holds")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"unknown data.use.after_departure 'masks'. Did you mean"):
        DataConfig(after_departure="masks")  # type: ignore[arg-type]
    huge = dataclasses.replace(USE, batch_size=10_000_000, windows=WINDOWS)
    with pytest.raises(UserError, match=r"batch_size=10000000: a batch would take .* at most"):
        reader("9,9", use=huge)


def test_several_roots_may_be_written_with_blanks() -> None:
    sets = SetConfig("one, two ,s3://three", toy_adapter()).single()
    assert [each.root for each in sets] == ["one", "two", "s3://three"]


def test_split_is_spread_and_complete() -> None:
    learned, held_out = split(100, 0.05)
    assert len(held_out) == 5
    assert np.diff(held_out).min() > 10
    assert sorted([*learned, *held_out]) == list(range(100))
    assert len(split(1, 0.5)[1]) == 0
    assert len(split(9, 0.0)[1]) == 0


def test_augmentation_of_a_step_follows_from_the_step() -> None:
    use = dataclasses.replace(USE, augmentation=Augmentation(shift=2))
    one, plain = reader("20,20", use=use)(3).batch, reader("20,20")(3).batch
    assert same(one, reader("20,20", use=use)(3).batch)
    assert not torch.equal(one.frame, plain.frame)
    assert torch.equal(one.action, plain.action)
