"""Streams: which window comes when, what is in it, and what happens to damaged records."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.worldmodel.toy_episodes import ToyEpisodes, toy_adapter
from worldmodel.data.adapted import AdaptedSet, cropped
from worldmodel.data.batches import DataConfig
from worldmodel.data.episodes import DamagedRecord, Episodes
from worldmodel.data.frames import Memory
from worldmodel.data.loader import ReadAhead
from worldmodel.data.order import BlockOrder, Place
from worldmodel.data.statistics import measure, statistics
from worldmodel.data.stream import SetConfig, Stream
from worldmodel.data.stream_reader import StreamReader, split
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


def test_pictures_are_cut_in_the_middle() -> None:
    pictures = np.arange(2 * 60 * 80 * 3).reshape(2, 60, 80, 3)
    assert np.array_equal(cropped(pictures, 1.0), pictures[:, :, 10:70])
    assert np.array_equal(cropped(pictures, 2.0), pictures[:, 10:50])
    assert np.array_equal(cropped(pictures, 80 / 60), pictures)


def test_rates_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"frame_rate=4\.0 does not divide the 6 Hz of toy"):
        AdaptedSet(ToyEpisodes((8,)), toy_adapter(), frame_rate=4.0)
    with pytest.raises(UserError, match="says 5 frames a second, adapter toy says 6"):
        AdaptedSet(ToyEpisodes((8,), fps=5.0), toy_adapter())


def test_records_are_read_once_while_their_block_lasts() -> None:
    episodes = ToyEpisodes((9,) * 8)
    data = AdaptedSet(episodes, toy_adapter())
    data.keep(4, Memory(0))
    order = BlockOrder(np.arange(8), np.full(8, 9), seed=0, block=4)
    for place in range(order.size):
        data.track(order(place).episode)
    assert episodes.opened == 8


@pytest.mark.parametrize("frames", [0, 9, 20, 1000])
def test_kept_pictures_are_those_read_and_memory_is_given_back(frames: int) -> None:
    episodes = ToyEpisodes((9,) * 8)
    data, fresh = (AdaptedSet(episodes, toy_adapter()) for _ in range(2))
    each = TOKENIZER.height * TOKENIZER.width * 3
    memory = Memory(frames * each)
    data.keep(2, memory)
    order = BlockOrder(np.arange(8), np.full(8, 9), seed=0, block=2)
    config = WindowConfig(future=(1, 2), chunk=3)
    for place in range(order.size):
        at = order(place)
        assert same(data.window(at, config, TOKENIZER), fresh.window(at, config, TOKENIZER))
        assert memory.free >= 0
    kept = min(frames // 9, 2)
    assert memory.free == (frames - 9 * kept) * each


def test_pictures_are_decoded_once_while_their_block_lasts() -> None:
    episodes = ToyEpisodes((9,) * 8)
    data = AdaptedSet(episodes, toy_adapter())
    data.keep(4, Memory(10**9))
    order = BlockOrder(np.arange(8), np.full(8, 9), seed=0, block=4)
    for place in range(order.size):
        data.window(order(place), WindowConfig(future=(1, 2), chunk=3), TOKENIZER)
    assert episodes.decoded == 8 * 9


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


# ---- statistics -------------------------------------------------------------------------------


def test_statistics_are_measured_once_and_kept(tmp_path: Path) -> None:
    episodes = ToyEpisodes((30, 40, 50))
    data = AdaptedSet(episodes, toy_adapter())
    data.keep(1, Memory(0))
    first = statistics(data, tmp_path)
    assert (first.episodes, first.steps) == (3, 120)
    action = np.concatenate([data.track(n).action for n in range(3)])
    np.testing.assert_allclose(
        first.normalisation.low, np.quantile(action[:, :6], 0.01, 0), atol=6e-5
    )
    assert sum(first.histogram[1]) == 120
    np.testing.assert_array_equal(first.extremes, np.stack([action.min(0), action.max(0)], 1))
    constant = np.ptp(action, axis=0) == 0
    assert constant.any()
    assert not constant.all()
    assert (np.ptp(first.edges, axis=1)[constant] == 1).all()
    before = episodes.opened
    again = statistics(AdaptedSet(episodes, toy_adapter()), tmp_path)
    assert episodes.opened == before
    assert json.dumps(again.section()) == json.dumps(first.section())
    statistics(AdaptedSet(episodes, toy_adapter(rate=5.0)), tmp_path)
    assert episodes.opened == before + 3  # another adapter is measured anew


def test_each_set_of_a_mixture_has_its_own_units(tmp_path: Path) -> None:
    use = DataConfig(batch_size=40, held_out=0.0, augmentation=None)
    roots = ("30,31", "80,80,80")
    plain, scaled = (
        reader(*roots, use=use, cache=str(tmp_path), normalise=n) for n in (False, True)
    )
    raw, found = plain(0).windows, scaled(0).windows
    assert np.array_equal(raw.frame, found.frame)
    units = [facts.normalisation for facts in plain.statistics()]
    assert not np.allclose(units[0].high, units[1].high)
    of = np.asarray([slot.number for slot in plain._order(0)])
    assert set(of) == {0, 1}
    for number, unit in enumerate(units):
        mine = of == number
        np.testing.assert_allclose(found.state[mine], unit.state(raw.state[mine]), atol=1e-6)
        valid = raw.action_valid[mine]
        expected = unit.action(raw.action[mine])
        np.testing.assert_allclose(found.action[mine][valid], expected[valid], atol=1e-5)
        assert np.abs(found.action[mine][valid][:, 1]).max() < 1.1


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
