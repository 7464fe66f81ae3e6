"""Which window comes when: once an epoch, shared out over shards and ranks."""

from collections import Counter

import numpy as np
import pytest

from experiment.errors import UserError
from worldmodel.data.order import (
    BatchOrder,
    EpochOrder,
    Mixture,
    SetOrder,
    WindowIndex,
    shards_of,
    shards_of_a_process,
)


def test_every_window_comes_once_an_epoch_and_each_epoch_differs() -> None:
    order = EpochOrder(np.array([4, 7, 9, 2]), np.array([3, 0, 5, 2]), seed=1, block=2)
    assert order.size == 10
    epochs = [[order(10 * epoch + place) for place in range(10)] for epoch in range(3)]
    everything = {WindowIndex(4, i) for i in range(3)} | {WindowIndex(9, i) for i in range(5)}
    everything |= {WindowIndex(2, i) for i in range(2)}
    assert all(set(epoch) == everything for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_place_can_be_found_without_those_before_it() -> None:
    arguments = (np.arange(50), np.random.default_rng(0).integers(1, 9, 50), 5, 8)
    forward = [EpochOrder(*arguments)(place) for place in range(600)]
    order = EpochOrder(*arguments)
    backward = [order(place) for place in reversed(range(600))][::-1]
    assert forward == backward


def test_a_block_is_read_through_before_the_next() -> None:
    order = EpochOrder(np.arange(12), np.full(12, 6), seed=0, block=3)
    episodes = [order(place).episode for place in range(order.size)]
    blocks = [set(episodes[i : i + 18]) for i in range(0, 72, 18)]
    assert [len(block) for block in blocks] == [3, 3, 3, 3]


@pytest.mark.parametrize("shares", [[3.0, 1.0, 0.5], [0.9, 0.0999, 1e-4], [1.0]])
def test_shares_of_a_mixture_are_exact_over_any_stretch(shares: list[float]) -> None:
    mixture = Mixture(shares, seed=2)
    drawn = [mixture(place) for place in range(60_000)]
    expected = np.asarray(shares) / np.sum(shares)
    for end in (999, 7_999, 59_999):
        counted = Counter(number for number, _ in drawn[:end])
        for number, share in enumerate(expected):
            # A period ends near each thousand; within it the order is shuffled.
            assert abs(counted[number] - share * end) < 1 + 50 * share * (1 - share)
    for number in range(len(shares)):  # each set's places are taken one after the other
        mine = [place for chosen, place in drawn if chosen == number]
        assert mine == list(range(len(mine)))
    again = Mixture(shares, seed=2)
    assert [again(place) for place in (59_999, 3, 31_234)] == [
        drawn[59_999],
        drawn[3],
        drawn[31_234],
    ]


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_parts_hold_every_window_once(parts: int) -> None:
    counts = np.random.default_rng(0).integers(1, 9, 20)
    found: list[tuple[int, int]] = []
    sizes = []
    for episodes, windows, firsts in shards_of(np.arange(20), counts, parts, seed=1):
        mine = zip(episodes, windows, firsts, strict=True)
        found += [(e, first + i) for e, count, first in mine for i in range(count)]
        sizes.append(int(windows.sum()))
    assert sorted(found) == [(e, i) for e in range(20) for i in range(counts[e])]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("shards", "block", "own"), [(1, 2, 1), (4, 2, 4), (6, 4, 3), (4, 9, 2)])
def test_shards_own_their_windows(shards: int, block: int, own: int) -> None:
    counts = np.full(18, 8)
    order = SetOrder(np.arange(18), counts, seed=4, block=block, shards=shards)
    assert order.shards == own
    drawn = [[order(shard, place) for place in range(144 // shards)] for shard in range(shards)]
    everything = [place for shard in drawn for place in shard]
    assert len(set(everything)) == len(everything) == 144
    owned = [{p.episode for shard in range(shards) if shard % own == n for p in drawn[shard]}
             for n in range(own)]  # fmt: skip
    assert sum(len(each) for each in owned) < 18 + own  # shared at borders alone


@pytest.mark.parametrize(("world", "parts"), [(1, 1), (2, 1), (2, 2), (4, 2), (2, 4)])
def test_ranks_share_out_a_batch_that_does_not_depend_on_them(world: int, parts: int) -> None:
    whole = BatchOrder([0.7, 0.3], 7, 8, 4, parts=parts)
    ranks = [BatchOrder([0.7, 0.3], 7, 8, 4, rank, world, parts) for rank in range(world)]
    for step in (0, 3, 11, 400):
        assert [slot for order in ranks for slot in order(step)] == whole(step)


def test_an_epoch_of_ranks_and_steps_is_every_window_once() -> None:
    sets = [SetOrder(np.arange(24), np.full(24, 10), seed=1, block=3, shards=4)]
    orders = [BatchOrder([1.0], 7, 10, 4, rank, world=2, parts=2) for rank in range(2)]
    slots = [slot for order in orders for step in range(24) for slot in order(step)]
    windows = [sets[0](slot.shard, slot.place) for slot in slots]
    assert len(windows) == len(set(windows)) == 240
    owned = [{slot.shard for step in range(24) for slot in order(step)} for order in orders]
    assert owned == [{0, 2}, {1, 3}]
    assert shards_of_a_process(4, 1, parts=2, world=2) == 2
    assert shards_of_a_process(4, 2, parts=2, world=2) == 1


def test_ranks_and_parts_that_do_not_fit_are_refused() -> None:
    for arguments, words in (
        ((2, 2, 1), "rank 2"),
        ((0, 3, 1), "batch_size=10 cannot be shared out among 3 processes"),
        ((0, 2, 4), "parts=4 must divide"),
    ):
        with pytest.raises(UserError, match=words):
            BatchOrder([1.0], 7, 10, 2, *arguments)
