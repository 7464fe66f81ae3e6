"""Which window comes when: once an epoch, shared out over lanes and ranks."""

from collections import Counter

import numpy as np
import pytest

from experiment.errors import UserError
from worldmodel.data.lanes import BatchOrder, SetOrder, shared_out
from worldmodel.data.order import BlockOrder, MixtureOrder, Place


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


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_parts_hold_every_window_once(parts: int) -> None:
    counts = np.random.default_rng(0).integers(1, 9, 20)
    found: list[tuple[int, int]] = []
    sizes = []
    for episodes, windows, firsts in shared_out(np.arange(20), counts, parts, seed=1):
        mine = zip(episodes, windows, firsts, strict=True)
        found += [(e, first + i) for e, count, first in mine for i in range(count)]
        sizes.append(int(windows.sum()))
    assert sorted(found) == [(e, i) for e in range(20) for i in range(counts[e])]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("lanes", "block", "parts"), [(1, 2, 1), (4, 2, 4), (6, 4, 3), (4, 9, 2)])
def test_lanes_own_their_windows(lanes: int, block: int, parts: int) -> None:
    counts = np.full(18, 8)
    order = SetOrder(np.arange(18), counts, seed=4, block=block, lanes=lanes)
    assert order.parts == parts
    drawn = [[order(lane, place) for place in range(144 // lanes)] for lane in range(lanes)]
    everything = [place for lane in drawn for place in lane]
    assert len(set(everything)) == len(everything) == 144
    owned = [{p.episode for lane in range(lanes) if lane % parts == n for p in drawn[lane]}
             for n in range(parts)]  # fmt: skip
    assert sum(len(each) for each in owned) < 18 + parts  # shared at borders alone


def test_an_epoch_of_ranks_and_steps_is_every_window_once() -> None:
    sets = [SetOrder(np.arange(24), np.full(24, 10), seed=1, block=3, lanes=4)]
    orders = [BatchOrder([1.0], 7, 5, 2, rank, world=2) for rank in range(2)]
    slots = [slot for order in orders for step in range(24) for slot in order(step)]
    windows = [sets[0](slot.lane, slot.place) for slot in slots]
    assert len(windows) == len(set(windows)) == 240
    with pytest.raises(UserError, match="rank 2"):
        BatchOrder([1.0], 7, 5, 2, rank=2, world=2)
