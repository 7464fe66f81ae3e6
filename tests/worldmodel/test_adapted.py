"""Adapted sets: what is in a window, and what is kept at hand."""

import numpy as np
import pytest

from experiment.errors import UserError
from tests.worldmodel.toy_episodes import ToyEpisodes, toy_adapter
from tests.worldmodel.toy_streams import TOKENIZER, same, window_at
from worldmodel.data.order import BlockOrder, Place
from worldmodel.data.picture_memory import Memory
from worldmodel.data.source import AdaptedSet, cropped
from worldmodel.data.windows import WindowConfig


def test_a_window_is_what_its_place_says() -> None:
    data = AdaptedSet(ToyEpisodes((8, 9)), toy_adapter())
    config = WindowConfig(future=(1, 2), chunk=3)
    window = window_at(data, Place(1, 4), config, TOKENIZER)
    assert window.frame[0, 0, 0, 0] == 14
    assert window.future[0, :, 0, 0, 0].tolist() == [15, 16]
    np.testing.assert_allclose(window.action[0, :, 1], [0.004, 0.005, 0.006], atol=1e-7)
    assert window.instructions == ["do 1"]
    assert window.state.shape == (1, 2)
    assert window.future_valid.all()
    assert window.action_valid.all()


def test_after_the_end_the_last_frame_is_repeated_and_masked() -> None:
    data = AdaptedSet(ToyEpisodes((8,)), toy_adapter())
    window = window_at(data, Place(0, 6), WindowConfig(future=(1, 2), chunk=3), TOKENIZER)
    assert window.future[0, :, 0, 0, 0].tolist() == [7, 7]
    assert window.future_valid[0].tolist() == [True, False]
    assert window.action_valid[0].tolist() == [True, True, False]
    assert not window.action[0, 2].any()


def test_frames_are_skipped_to_the_rate_asked_for_actions_are_not() -> None:
    data = AdaptedSet(ToyEpisodes((12,)), toy_adapter(), frame_rate=2.0)  # of 6 Hz
    config = WindowConfig(future=(1, 2), chunk=6)
    window = window_at(data, Place(0, 1), config, TOKENIZER)
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
    each = TOKENIZER.picture[0] * TOKENIZER.picture[1] * 3
    memory = Memory(frames * each)
    data.keep(2, memory)
    order = BlockOrder(np.arange(8), np.full(8, 9), seed=0, block=2)
    config = WindowConfig(future=(1, 2), chunk=3)
    for place in range(order.size):
        at = order(place)
        assert same(window_at(data, at, config, TOKENIZER), window_at(fresh, at, config, TOKENIZER))
        assert memory.free >= 0
    kept = min(frames // 9, 2)
    assert memory.free == (frames - 9 * kept) * each


def test_pictures_are_decoded_once_while_their_block_lasts() -> None:
    episodes = ToyEpisodes((9,) * 8)
    data = AdaptedSet(episodes, toy_adapter())
    data.keep(4, Memory(10**9))
    order = BlockOrder(np.arange(8), np.full(8, 9), seed=0, block=4)
    for place in range(order.size):
        window_at(data, order(place), WindowConfig(future=(1, 2), chunk=3), TOKENIZER)
    assert episodes.decoded == 8 * 9
