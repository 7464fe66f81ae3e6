"""From trajectories to batches: windows, augmentation, normalisation, order."""

import dataclasses

import numpy as np
import pytest
import torch

from experiment.errors import UserError
from worldmodel.assembler import Assembler
from worldmodel.data.augmentation import Augmentation
from worldmodel.data.batches import Batches, DataConfig, Order, usable
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.trajectories import Trajectories, cut
from worldmodel.data.windows import WindowConfig
from worldmodel.text.words import HashedWords
from worldmodel.tokenizer.pixel import PixelTokenizer

RNG = np.random.default_rng(0)
WINDOWS = WindowConfig(future=(1, 3), chunk=4)
TOKENIZER = PixelTokenizer(height=16, width=16, patch=8)


@pytest.fixture
def trajectories() -> Trajectories:
    """Two episodes of 5 and 7 frames; frame, state and action all carry the frame's number."""
    number = np.arange(12)
    return Trajectories(
        frames=np.broadcast_to(number[:, None, None, None], (12, 16, 16, 3)).astype(np.uint8),
        state=np.repeat(number[:, None], 10, 1).astype(np.float32),
        action=np.repeat(number[:, None], 7, 1).astype(np.float32),
        instruction=(number >= 8).astype(np.int64),
        instructions=("open top drawer", "place apple into top drawer"),
        starts=np.array([0, 5, 12]),
        fps=3.0,
        source="test",
    )


def test_a_window_is_now_and_what_follows(trajectories: Trajectories) -> None:
    windows = cut(trajectories, np.array([0, 8]), WINDOWS)
    assert windows.frame[:, 0, 0, 0].tolist() == [0, 8]
    assert windows.future[:, :, 0, 0, 0].tolist() == [[1, 3], [9, 11]]
    assert windows.action[:, :, 0].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert windows.state[:, 0].tolist() == [0, 8]
    assert windows.future_valid.all()
    assert windows.action_valid.all()
    assert windows.instructions == ["open top drawer", "place apple into top drawer"]


def test_a_window_ends_with_its_episode(trajectories: Trajectories) -> None:
    windows = cut(trajectories, np.array([3, 4, 11]), WINDOWS)
    assert windows.future[:, :, 0, 0, 0].tolist() == [[4, 4], [4, 4], [11, 11]]
    assert windows.future_valid.tolist() == [[True, False], [False, False], [False, False]]
    assert windows.action[:, :, 0].tolist() == [[3, 4, 0, 0], [4, 0, 0, 0], [11, 0, 0, 0]]
    assert windows.action_valid.sum(1).tolist() == [2, 1, 1]


def test_usable_frames_have_the_future_they_need(trajectories: Trajectories) -> None:
    assert usable(trajectories, [0, 1], 3).tolist() == [0, 1, 5, 6, 7, 8]
    assert usable(trajectories, [1], 0).tolist() == list(range(5, 12))
    with pytest.raises(UserError, match="longer than 9"):
        usable(trajectories, [0, 1], 9)


def test_episodes_are_held_out_whole(trajectories: Trajectories) -> None:
    many = dataclasses.replace(trajectories, starts=np.arange(0, 101))
    learned, held_out = many.split(0.1)
    assert len(held_out) == 10
    assert sorted([*learned, *held_out]) == list(range(100))
    assert np.diff(held_out).min() > 5
    with pytest.raises(UserError, match="at least 2 episodes"):
        dataclasses.replace(trajectories, starts=np.array([0, 12])).split(0.1)


def test_every_window_comes_once_an_epoch_whatever_was_asked_before() -> None:
    indices = np.arange(100, 110)
    order = Order(indices, 4, seed=0)
    steps = [order(step) for step in range(10)]
    epochs = np.concatenate(steps).reshape(4, 10)
    for epoch in epochs:
        assert sorted(epoch) == list(indices)
    assert not np.array_equal(epochs[0], epochs[1])
    np.testing.assert_array_equal(Order(indices, 4, seed=0)(7), steps[7])
    assert not np.array_equal(Order(indices, 4, seed=1)(7), steps[7])


def test_augmentation_changes_all_frames_of_a_window_alike(trajectories: Trajectories) -> None:
    picture = RNG.integers(60, 190, size=(16, 16, 3), dtype=np.uint8)
    still = dataclasses.replace(trajectories, frames=np.stack([picture] * 12))
    windows = cut(still, np.array([0, 5, 6]), WINDOWS)
    changed = Augmentation(shift=2)(windows, np.random.default_rng(0))
    for window in range(3):
        assert not np.array_equal(changed.frame[window], picture)
        for frame in changed.future[window]:
            np.testing.assert_array_equal(frame, changed.frame[window])
    assert not np.array_equal(changed.frame[0], changed.frame[1])
    again = Augmentation(shift=2)(windows, np.random.default_rng(0))
    np.testing.assert_array_equal(again.frame, changed.frame)


def test_augmentation_is_a_shift_and_a_linear_change_of_levels(trajectories: Trajectories) -> None:
    picture = RNG.integers(60, 190, size=(16, 16, 3), dtype=np.uint8)
    still = dataclasses.replace(trajectories, frames=np.stack([picture] * 12))
    windows = cut(still, np.array([0]), WINDOWS)
    nothing = Augmentation(shift=0, brightness=0.0, contrast=0.0)(windows, np.random.default_rng(0))
    np.testing.assert_array_equal(nothing.frame, windows.frame)
    moved = Augmentation(shift=2, brightness=0, contrast=0)(
        windows, np.random.default_rng(3)
    ).frame[0]
    offsets = [
        (y, x)
        for y in range(-2, 3)
        for x in range(-2, 3)
        if np.array_equal(moved[2:-2, 2:-2], picture[2 + y : 14 + y, 2 + x : 14 + x])
    ]
    assert len(offsets) == 1
    assert offsets != [(0, 0)]


def test_normalisation_can_be_undone_and_leaves_the_gripper() -> None:
    action = RNG.normal(0.01, 0.03, size=(500, 7)).astype(np.float32)
    state = RNG.normal(2.0, 3.0, size=(500, 10)).astype(np.float32)
    state[:, 4] = 1.0
    norm = Normalisation.of(state, action)
    inside = norm.action(action)
    np.testing.assert_allclose(norm.action_back(inside), action, atol=1e-6)
    np.testing.assert_array_equal(inside[:, 6], action[:, 6])
    np.testing.assert_allclose(
        np.quantile(inside[:, :6], [0.01, 0.99], axis=0), [[-1] * 6, [1] * 6], atol=1e-3
    )
    np.testing.assert_allclose(norm.state(state)[:, :4].std(0), 1.0, atol=1e-3)
    assert np.isfinite(norm.state(state)).all()
    again = Normalisation.from_section(norm.section())
    np.testing.assert_array_equal(again.action(action), inside)
    with pytest.raises(UserError, match="normalisation"):
        Normalisation.from_section({"low": [0.0]})


def test_a_batch_follows_from_seed_and_step_alone(trajectories: Trajectories) -> None:
    def batches(seed: int) -> Batches:
        order = Order(usable(trajectories, [0, 1], 0), 4, seed)
        return Batches(trajectories, order, WINDOWS, Augmentation(shift=1), seed)

    one, other = batches(0), batches(0)
    other(3)
    for name in ("frame", "future", "action", "state"):
        assert torch.equal(getattr(one(5), name), getattr(other(5), name))
    assert not torch.equal(one(5).state, batches(1)(5).state)


def test_tokens_belong_to_the_same_window(trajectories: Trajectories) -> None:
    norm = Normalisation(np.full(6, -1.0), np.full(6, 1.0), np.zeros(10), np.ones(10))
    text, cpu = HashedWords(words=5), torch.device("cpu")
    assembler = Assembler(TOKENIZER, text, WINDOWS, norm)
    batch = assembler(cut(trajectories, np.array([2, 9]), WINDOWS))
    assert set(batch) == {"text", "frame", "video", "state", "action"}
    assert all((tokens.tau == 0).all() for tokens in batch.values())
    assert batch["state"].values[:, 0, 0].tolist() == [2, 9]
    assert batch["action"].values[:, 0, 0].tolist() == [2, 9]
    assert batch["action"].position[0, :, 0].tolist() == [0, 1, 2, 3]
    frames = (batch["frame"].values[:, 0, 0] + 1) * 127.5
    np.testing.assert_allclose(frames, [2, 9], atol=1e-4)
    wanted = text.embed(["open top drawer", "place apple into top drawer"], cpu)
    assert torch.equal(batch["text"].values, wanted)
    video_only = Assembler(TOKENIZER, text, WINDOWS)(cut(trajectories, np.array([2]), WINDOWS))
    assert list(video_only) == ["text", "frame", "video"]


def test_bad_settings_are_named() -> None:
    with pytest.raises(UserError, match="chunk and every entry of future"):
        WindowConfig(future=(0, 3))
    with pytest.raises(UserError, match="shift must not be negative"):
        Augmentation(contrast=1.5)
    with pytest.raises(UserError, match="batch_size"):
        DataConfig(batch_size=0)
    with pytest.raises(UserError, match="do not fill tokens"):
        Assembler(TOKENIZER, HashedWords(), WindowConfig(future=(3,)))
