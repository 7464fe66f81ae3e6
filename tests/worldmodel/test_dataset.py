"""Data sets: what is in a window, and what is cached."""

import pickle
import threading
from pathlib import Path

import numpy as np
import pytest

from experiment.errors import UserError
from tests.worldmodel.toy_episodes import ToyEpisodes, toy_adapter
from tests.worldmodel.toy_streams import SIZE, WINDOWS, same, toy_set, window_at
from worldmodel.data.action_map import ActionMap
from worldmodel.data.formats.episode import Column, DamagedRecord
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.order import EpochOrder
from worldmodel.data.pictures import Memory, cropped
from worldmodel.data.windows import WindowConfig


class Halved:
    """A gripper code that can be told from the commands."""

    def __call__(self, actions: np.ndarray) -> np.ndarray:
        learned = actions.copy()
        learned[:, 6] = np.cumsum(actions[:, 6]) / 2
        return learned

    def resting(self, last: np.ndarray) -> np.ndarray:
        rest = np.zeros_like(last)
        rest[6] = last[6]
        return rest


def test_a_window_is_what_its_index_says() -> None:
    window = window_at(toy_set(ToyEpisodes((8, 9))), 1, 4)
    assert window.frame[0, 0, 0, 0] == 14
    assert window.future[0, :, 0, 0, 0].tolist() == [15, 16]
    np.testing.assert_allclose(window.action[0, :, 1], [0.004, 0.005, 0.006], atol=1e-7)
    assert window.instructions == ["do 1"]
    assert window.state.shape == (1, 2)
    assert window.future_valid.all()
    assert window.action_valid.all()
    assert window.frame.is_contiguous()
    assert window.future.is_contiguous()


def test_the_first_picture_of_the_episode_can_be_in_every_window() -> None:
    window = window_at(toy_set(ToyEpisodes((8, 9)), WindowConfig((1, 2), 3, start=True)), 1, 4)
    assert window.start is not None
    assert window.start[0, 0, 0].tolist() == [10, 10, 10]
    assert window.frame[0, 0, 0, 0] == 14
    assert window_at(toy_set(ToyEpisodes((8, 9))), 1, 4).start is None


def test_earlier_pictures_can_be_in_every_window() -> None:
    config = WindowConfig((1, 2), 3, past=(1, 3))
    assert config.pictures == 5
    data = toy_set(ToyEpisodes((8, 9)), config)
    later, early = window_at(data, 1, 4), window_at(data, 1, 2)
    assert later.past is not None
    assert early.past is not None
    assert later.past.shape[:2] == (1, 2)
    assert later.past[0, :, 0, 0, 0].tolist() == [13, 11]
    # Before the episode its first picture stands.
    assert early.past[0, :, 0, 0, 0].tolist() == [11, 10]
    assert later.future[0, :, 0, 0, 0].tolist() == [15, 16]
    assert window_at(toy_set(ToyEpisodes((8, 9))), 1, 4).past is None
    with pytest.raises(UserError, match=r"data\.use\.windows\.past=\[0\] must be steps before now"):
        WindowConfig(past=(0,))


def test_after_the_end_the_last_frame_is_repeated_and_masked() -> None:
    window = window_at(toy_set(ToyEpisodes((8,)), after_end="mask"), 0, 6)
    assert window.future[0, :, 0, 0, 0].tolist() == [7, 7]
    assert window.future_valid[0].tolist() == [True, False]
    assert window.action_valid[0].tolist() == [True, True, False]
    assert not window.action[0, 2].any()


def test_after_the_end_the_robot_may_rest() -> None:
    rows = np.full((8, 7), 0.1, dtype=np.float32)
    data = toy_set(ToyEpisodes((8,), values={"action": rows}), after_end="hold")
    data.learn(Halved(), None)
    window = window_at(data, 0, 6)
    assert window.action_valid.all()
    assert window.future_valid[0].tolist() == [True, False]
    np.testing.assert_allclose(window.action[0, :2, :6], 0.1)
    np.testing.assert_array_equal(window.action[0, 2, :6], 0)
    # The transform saw the whole episode; what it gave last is held.
    np.testing.assert_allclose(window.action[0, :, 6], [0.35, 0.4, 0.4], atol=1e-6)
    units = Normalisation(np.zeros(6), np.full(6, 0.2), np.zeros(2), np.full(2, 0.1))
    data.learn(Halved(), units)
    window = window_at(data, 0, 6)
    np.testing.assert_allclose(window.action[0, :, 0], [0, 0, -1], atol=1e-6)
    np.testing.assert_allclose(window.state[0], [1, 1], atol=1e-6)


@pytest.mark.parametrize("success", [True, False])
def test_a_robot_rests_only_after_an_episode_that_succeeded(success: bool) -> None:
    columns = {**ToyEpisodes((8,)).columns, "next.success": Column("array", (1,), "bool")}
    ended = np.repeat([[False], [success]], [7, 1], axis=0)
    episodes = ToyEpisodes((8,), values={"next.success": ended}, columns=columns)
    window = window_at(toy_set(episodes, after_end="hold"), 0, 6)
    assert window.action_valid[0].tolist() == [True, True, success]


def test_windows_that_end_in_time_are_counted_or_all() -> None:
    counts = {
        kind: toy_set(ToyEpisodes((8, 2)), after_end=kind).counts
        for kind in ("drop", "mask", "hold")
    }
    assert counts["drop"].tolist() == [6, 0]
    assert counts["mask"].tolist() == counts["hold"].tolist() == [8, 2]


def test_frames_are_skipped_to_the_rate_asked_for_actions_are_not() -> None:
    config = WindowConfig(future=(1, 2), chunk=6)
    data = toy_set(ToyEpisodes((12,)), config, frame_rate=2.0)  # of 6 Hz
    window = window_at(data, 0, 1)
    assert window.future[0, :, 0, 0, 0].tolist() == [4, 7]
    np.testing.assert_allclose(window.action[0, :, 1], 0.001 * np.arange(1, 7), atol=1e-7)
    assert data.counts.tolist() == [6]
    # What a policy remembers is of control steps: it looks at that rate.
    remembers = toy_set(ToyEpisodes((12,)), WindowConfig((1, 2), 6, past=(3,)), frame_rate=2.0)
    assert window_at(remembers, 0, 5).past[0, 0, 0, 0, 0] == 2  # type: ignore[index]


def test_video_alone_needs_no_actions() -> None:
    rows = np.full((8, 7), np.nan, dtype=np.float32)
    episodes = ToyEpisodes((8,), values={"action": rows})
    window = window_at(toy_set(episodes, video_only=True), 0, 1)
    assert window.action.shape == (1, 3, 0)
    assert window.state.shape == (1, 0)
    assert window.future[0, :, 0, 0, 0].tolist() == [2, 3]
    with pytest.raises(DamagedRecord, match="not finite"):
        window_at(toy_set(episodes), 0, 1)


def test_pictures_are_cut_in_the_middle() -> None:
    pictures = np.arange(2 * 60 * 80 * 3).reshape(2, 60, 80, 3)
    assert np.array_equal(cropped(pictures, 1.0), pictures[:, :, 10:70])
    assert np.array_equal(cropped(pictures, 2.0), pictures[:, 10:50])
    assert np.array_equal(cropped(pictures, 80 / 60), pictures)


def test_rates_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"frame_rate=4\.0 does not divide the 6 Hz of toy"):
        toy_set(ToyEpisodes((8,)), frame_rate=4.0)
    with pytest.raises(UserError, match="has 5 frames a second, adapter toy 6"):
        toy_set(ToyEpisodes((8,), fps=5.0))
    adapter = toy_adapter(rate=None)
    assert toy_set(ToyEpisodes((8,), fps=5.0), adapter=adapter, frame_rate=2.5).stride == 2
    with pytest.raises(UserError, match="the rate of toy is not known"):
        toy_set(ToyEpisodes((8,)), adapter=adapter, frame_rate=2.5)


def test_records_are_read_once_while_their_block_lasts() -> None:
    episodes = ToyEpisodes((9,) * 8)
    data = toy_set(episodes)
    data.keep(4, Memory(0))
    order = EpochOrder(np.arange(8), np.full(8, 9), seed=0, block=4)
    for place in range(order.size):
        data.arrays(order(place).episode)
    assert episodes.opened == 8


@pytest.mark.parametrize("frames", [0, 9, 20, 1000])
def test_kept_pictures_are_those_read_and_memory_is_given_back(frames: int) -> None:
    episodes = ToyEpisodes((9,) * 8)
    data, fresh = toy_set(episodes, after_end="mask"), toy_set(episodes, after_end="mask")
    each = SIZE[0] * SIZE[1] * 3
    memory = Memory(frames * each)
    data.keep(2, memory)
    order = EpochOrder(np.arange(8), np.full(8, 9), seed=0, block=2)
    for place in range(order.size):
        at = order(place)
        assert same(window_at(data, *at), window_at(fresh, *at))
        assert memory.free >= 0
    kept = min(frames // 9, 2)
    assert memory.free == (frames - 9 * kept) * each


def test_pictures_are_decoded_once_while_their_block_lasts() -> None:
    episodes = ToyEpisodes((9,) * 8)
    data = toy_set(episodes, after_end="mask")
    data.keep(4, Memory(10**9))
    order = EpochOrder(np.arange(8), np.full(8, 9), seed=0, block=4)
    for place in range(order.size):
        window_at(data, *order(place))
    assert episodes.decoded == 8 * 9


def test_a_small_set_is_decoded_once_for_all_runs(tmp_path: Path) -> None:
    episodes = ToyEpisodes((9, 7), damaged=())
    fresh, data = toy_set(episodes), toy_set(episodes)
    expected = [window_at(fresh, n, step) for n, step in ((0, 0), (1, 4), (0, 6))]
    data.decode_once(tmp_path, skip_damaged=False)
    before = episodes.decoded
    again = toy_set(ToyEpisodes((9, 7)), video_only=True)
    again.decode_once(tmp_path, skip_damaged=False)
    assert episodes.decoded == before
    copy = pickle.loads(pickle.dumps(data))
    for source in (data, copy):
        found = [window_at(source, n, step) for n, step in ((0, 0), (1, 4), (0, 6))]
        assert all(same(one, other) for one, other in zip(found, expected, strict=True))
    assert len(list(tmp_path.glob("*.npy"))) == 1
    smaller = toy_set(episodes, size=(16, 32))
    smaller.decode_once(tmp_path, skip_damaged=False)
    assert window_at(smaller, 1, 4).frame.shape == (1, 16, 32, 3)
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_what_another_process_decodes_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, waits, late = threading.Event(), threading.Event(), ToyEpisodes((9, 7))
    monkeypatch.setattr("builtins.print", lambda *_, **__: waits.set())

    class Slow(ToyEpisodes):
        def __getitem__(self, number: int):  # type: ignore[no-untyped-def]
            begun.set()
            assert waits.wait(20)
            return super().__getitem__(number)

    def decode_too() -> None:
        begun.wait(20)
        toy_set(late).decode_once(tmp_path, skip_damaged=False)

    other = threading.Thread(target=decode_too)
    other.start()
    toy_set(Slow((9, 7))).decode_once(tmp_path, skip_damaged=False)
    other.join(20)
    assert late.decoded == 0
    assert [path.suffix for path in sorted(tmp_path.glob("pictures*"))] == [".json", ".npy"]


def test_decoding_once_stops_at_damage_or_remembers_it(tmp_path: Path) -> None:
    class Broken(ToyEpisodes):
        def __getitem__(self, number: int):  # type: ignore[no-untyped-def]
            episode = super().__getitem__(number)
            if number == 1:
                episode.images = lambda *_: (_ for _ in ()).throw(DamagedRecord("picture 1"))  # type: ignore[method-assign]
            return episode

    data = toy_set(Broken((9, 7)), WINDOWS)
    with pytest.raises(DamagedRecord, match="picture 1"):
        data.decode_once(tmp_path, skip_damaged=False)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    data.decode_once(tmp_path, skip_damaged=True)
    assert window_at(data, 0, 3).frame[0, 0, 0, 0] == 3
    with pytest.raises(DamagedRecord, match="picture 1"):
        window_at(data, 1, 3)


EXECUTED = ActionMap("executed[0:3]", "executed[3:6]", "axis_angle", "executed[6]", "closing")


def departing(step: int, by: np.ndarray) -> ToyEpisodes:
    """An episode of eight steps whose robot did something else at one of them."""
    rows = np.full((8, 7), 0.1, dtype=np.float32)
    executed = rows.copy()
    executed[step] += by
    columns = dict(ToyEpisodes((8,)).columns) | {"executed": Column("array", (7,), "float32")}
    return ToyEpisodes((8,), values={"action": rows, "executed": executed}, columns=columns)


@pytest.mark.parametrize("place", [0, 4, 6])
def test_after_a_departure_the_other_actions_do_not_count(place: int) -> None:
    by = 0.2 * np.eye(7)[place]
    adapter = toy_adapter(executed=EXECUTED)
    data = toy_set(departing(3, by), adapter=adapter, after_end="hold", after_departure="mask")
    valid = [window_at(data, 0, step).action_valid[0].tolist() for step in (1, 2, 3, 4, 6)]
    # The action of the step itself answers a state that the recorded ones lead to.
    assert valid == [[True] * 3, [True, True, False], [True, False, False], [True] * 3, [True] * 3]
    kept = toy_set(departing(3, by), adapter=adapter, after_end="hold")
    assert window_at(kept, 0, 3).action_valid.all()
    hardly = toy_set(departing(3, by / 100), adapter=adapter, after_departure="mask")
    assert window_at(hardly, 0, 3).action_valid.all()


def test_a_set_need_not_say_what_was_executed() -> None:
    data = toy_set(
        ToyEpisodes((8,)), adapter=toy_adapter(executed=EXECUTED), after_departure="mask"
    )
    assert window_at(data, 0, 3).action_valid.all()
