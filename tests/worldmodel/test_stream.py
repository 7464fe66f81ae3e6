"""Streams: which window comes when, what is in it, and what happens to damaged records."""

import functools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.worldmodel.toy_episodes import ToyEpisodes, toy_adapter
from worldmodel.data.adapted import AdaptedSet
from worldmodel.data.batches import DataConfig
from worldmodel.data.episodes import DamagedRecord, Episodes
from worldmodel.data.loader import ReadAhead
from worldmodel.data.order import BlockOrder, MixtureOrder, Place, batch_places
from worldmodel.data.statistics import measure, statistics
from worldmodel.data.stream import SetConfig, Stream, StreamReader, split
from worldmodel.data.windows import WindowConfig
from worldmodel.errors import UserError
from worldmodel.tokenizer.pixel import PixelTokenizer

TOKENIZER = PixelTokenizer(height=32, width=32, patch=16, tubelet=2)
USE = DataConfig(batch_size=4, held_out=0.2, augmentation=None)


class ToySet(SetConfig):
    """A set in memory in place of one on a disk; `root` says how long its episodes are."""

    def open(self, *_: object) -> Episodes:
        lengths, _, damaged = self.root.partition("!")
        bad = tuple(int(n) for n in damaged.split(",") if n)
        return ToyEpisodes(tuple(int(n) for n in lengths.split(",")), bad)


def reader(*roots: str, use: DataConfig = USE, **settings: Any) -> StreamReader:
    ranks = {name: settings.pop(name) for name in ("rank", "world") if name in settings}
    sets = [ToySet(root=root, adapter=toy_adapter()) for root in roots]
    stream = Stream(sets=sets, block=2, **settings)
    return StreamReader(stream, use, TOKENIZER, seed=3, **ranks)


# ---- order ------------------------------------------------------------------------------------


def test_every_window_comes_once_an_epoch_and_each_epoch_differs() -> None:
    order = BlockOrder(np.array([4, 7, 9, 2]), np.array([3, 0, 5, 2]), seed=1, block=2)
    assert order.size == 10
    epochs = [[order(10 * epoch + place) for place in range(10)] for epoch in range(3)]
    everything = {Place(4, i) for i in range(3)} | {Place(9, i) for i in range(5)}
    everything |= {Place(2, i) for i in range(2)}
    assert all(set(epoch) == everything for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_place_can_be_found_without_those_before_it() -> None:
    arguments = (np.arange(50), np.random.default_rng(0).integers(1, 9, 50), 5, 8)
    forward = [BlockOrder(*arguments)(place) for place in range(600)]
    order = BlockOrder(*arguments)
    backward = [order(place) for place in reversed(range(600))][::-1]
    assert forward == backward


def test_a_block_is_read_through_before_the_next() -> None:
    order = BlockOrder(np.arange(12), np.full(12, 6), seed=0, block=3)
    episodes = [order(place).episode for place in range(order.size)]
    blocks = [set(episodes[i : i + 18]) for i in range(0, 72, 18)]
    assert [len(block) for block in blocks] == [3, 3, 3, 3]


def test_shares_of_a_mixture_hold_over_any_stretch() -> None:
    order = MixtureOrder([3.0, 1.0, 0.5], seed=2)
    drawn = [order(place) for place in range(5000)]
    for start in (0, 1000, 3000):
        counted = Counter(number for number, _ in drawn[start : start + 1000])
        assert [counted[n] for n in range(3)] == order.counts.tolist()
    assert order.counts.tolist() == [667, 222, 111]
    for number in range(3):  # each set's places are taken one after the other
        mine = [place for chosen, place in drawn if chosen == number]
        assert mine == list(range(len(mine)))


def test_ranks_share_out_the_places() -> None:
    alone = [batch_places(step, 8).tolist() for step in range(3)]
    apart = [batch_places(step, 4, rank, 2).tolist() for step in range(3) for rank in range(2)]
    assert np.array_equal(np.concatenate(alone), np.concatenate(apart))
    with pytest.raises(UserError, match="rank 2"):
        batch_places(0, 4, 2, 2)


# ---- windows ----------------------------------------------------------------------------------


def test_a_window_is_what_its_place_says() -> None:
    data = AdaptedSet(ToyEpisodes((8, 9)), toy_adapter())
    config = WindowConfig(future=(1, 2), chunk=3)
    window = data.window(Place(1, 4), config, TOKENIZER)
    assert window.frame[0, 0, 0, 0] == 14
    assert window.future[0, :, 0, 0, 0].tolist() == [15, 16]
    np.testing.assert_allclose(window.action[0, :, 1], [0.004, 0.005, 0.006], atol=1e-7)
    assert window.instructions == ["do 1"]
    assert window.state.shape == (1, 2)
    assert window.future_valid.all()
    assert window.action_valid.all()


def test_after_the_end_the_last_frame_is_repeated_and_masked() -> None:
    data = AdaptedSet(ToyEpisodes((8,)), toy_adapter())
    window = data.window(Place(0, 6), WindowConfig(future=(1, 2), chunk=3), TOKENIZER)
    assert window.future[0, :, 0, 0, 0].tolist() == [7, 7]
    assert window.future_valid[0].tolist() == [True, False]
    assert window.action_valid[0].tolist() == [True, True, False]
    assert not window.action[0, 2].any()


def test_frames_are_skipped_to_the_rate_asked_for_actions_are_not() -> None:
    data = AdaptedSet(ToyEpisodes((12,)), toy_adapter(), frame_rate=2.0)  # of 6 Hz
    config = WindowConfig(future=(1, 2), chunk=6)
    window = data.window(Place(0, 1), config, TOKENIZER)
    assert window.future[0, :, 0, 0, 0].tolist() == [4, 7]
    np.testing.assert_allclose(window.action[0, :, 1], 0.001 * np.arange(1, 7), atol=1e-7)
    assert data.counts(config, whole=True).tolist() == [6]
    assert data.counts(config, whole=False).tolist() == [12]


def test_rates_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"frame_rate=4\.0 does not divide the 6 Hz of toy"):
        AdaptedSet(ToyEpisodes((8,)), toy_adapter(), frame_rate=4.0)
    with pytest.raises(UserError, match="says 5 frames a second, adapter toy says 6"):
        AdaptedSet(ToyEpisodes((8,), fps=5.0), toy_adapter())


def test_records_are_read_once_while_their_block_lasts() -> None:
    episodes = ToyEpisodes((9,) * 8)
    data = AdaptedSet(episodes, toy_adapter(), keep=4)
    order = BlockOrder(np.arange(8), np.full(8, 9), seed=0, block=4)
    for place in range(order.size):
        data.track(order(place).episode)
    assert episodes.opened == 8


# ---- streams ----------------------------------------------------------------------------------


def same(one: Any, other: Any) -> bool:
    names = ("frame", "future", "future_valid", "action", "action_valid", "state")
    equal = all(np.array_equal(getattr(one, n), getattr(other, n)) for n in names)
    return equal and one.instructions == other.instructions


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
        ahead = ReadAhead(make, workers)
        for step in (0, 1, 2, 5, 3, 4):  # also out of turn, as after going on with a run
            assert same(ahead(step).windows, alone[step])
        ahead.close()


def test_ranks_see_different_windows() -> None:
    two = [reader("9,9,12,8,10", rank=rank, world=2)(0).windows for rank in range(2)]
    use = DataConfig(batch_size=8, held_out=0.2, augmentation=None)
    one = reader("9,9,12,8,10", use=use)(0).windows
    assert np.array_equal(np.concatenate([w.frame for w in two]), one.frame)


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
    ahead = ReadAhead(functools.partial(reader, "9,9!0,1"), workers=1)
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
    with pytest.raises(UserError, match="weights of a mixture"):
        MixtureOrder([1.0, 0.0], seed=0)


def test_split_is_spread_and_complete() -> None:
    learned, held_out = split(100, 0.05)
    assert len(held_out) == 5
    assert np.diff(held_out).min() > 10
    assert sorted([*learned, *held_out]) == list(range(100))
    assert len(split(1, 0.5)[1]) == 0
    assert len(split(9, 0.0)[1]) == 0


# ---- statistics -------------------------------------------------------------------------------


def test_statistics_are_measured_once_and_kept(tmp_path: Path) -> None:
    episodes = ToyEpisodes((30, 40, 50))
    data = AdaptedSet(episodes, toy_adapter(), keep=1)
    first = statistics(data, tmp_path)
    assert (first.episodes, first.steps) == (3, 120)
    action = np.concatenate([data.track(n).action for n in range(3)])
    np.testing.assert_allclose(
        first.normalisation.low, np.quantile(action[:, :6], 0.01, 0), atol=6e-5
    )
    assert sum(first.histogram[1]) == 120
    before = episodes.opened
    again = statistics(AdaptedSet(episodes, toy_adapter()), tmp_path)
    assert episodes.opened == before
    assert json.dumps(again.section()) == json.dumps(first.section())
    statistics(AdaptedSet(episodes, toy_adapter(rate=5.0)), tmp_path)
    assert episodes.opened == before + 3  # another adapter is measured anew


def test_half_a_file_of_statistics_is_made_again(tmp_path: Path) -> None:
    data = AdaptedSet(ToyEpisodes((30, 40)), toy_adapter())
    whole = statistics(data, tmp_path)
    path = next(tmp_path.glob("statistics-*.json"))
    path.write_text(path.read_text()[:100])
    assert statistics(data, tmp_path).section() == whole.section()


def test_statistics_stop_at_damage_or_list_it() -> None:
    data = AdaptedSet(ToyEpisodes((30, 40), damaged=(1,)), toy_adapter())
    with pytest.raises(DamagedRecord):
        measure(data, skip_damaged=False)
    assert measure(data, skip_damaged=True).damaged == ["toy record 1 is damaged."]
