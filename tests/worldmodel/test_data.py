"""Batches of windows: augmentation, normalisation, tokens."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiment.errors import UserError
from worldmodel.assembler import Assembler
from worldmodel.data.augmentation import Augmentation
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.windows import Window, WindowBatch, WindowConfig, stack
from worldmodel.text.words import HashedWords
from worldmodel.tokenizer.pixel import PixelTokenizer

RNG = np.random.default_rng(0)
WINDOWS = WindowConfig(future=(1, 3), chunk=4)
TOKENIZER = PixelTokenizer(height=16, width=16, patch=8)


def windows(*numbers: int, picture: np.ndarray | None = None) -> WindowBatch:
    """Return windows whose frames, states and actions all carry their step's number."""

    def frame(number: int) -> np.ndarray:
        return np.full((16, 16, 3), number, np.uint8) if picture is None else picture

    def rows(first: int, count: int, width: int) -> np.ndarray:
        return np.repeat(np.arange(first, first + count)[:, None], width, 1).astype(np.float32)

    return stack(
        [
            Window(
                pictures=[frame(n), frame(n + 1), frame(n + 3)],
                future_valid=np.ones(2, dtype=bool),
                action=rows(n, 4, 7),
                action_valid=np.ones(4, dtype=bool),
                state=rows(n, 1, 10)[0],
                instruction="open top drawer" if n < 8 else "place apple into top drawer",
                start=frame(0),
            )
            for n in numbers
        ]
    )


def changed(batch: WindowBatch, augmentation: Augmentation, seed: int = 0) -> WindowBatch:
    augmentation(batch, np.random.default_rng(seed))
    return batch


def test_a_batch_is_contiguous_and_can_be_cut() -> None:
    batch = windows(0, 5, 8)
    assert batch.frame.shape == (3, 16, 16, 3)
    assert batch.future[:, :, 0, 0, 0].tolist() == [[1, 3], [6, 8], [9, 11]]
    assert all(t.is_contiguous() for t in vars(batch).values() if isinstance(t, torch.Tensor))
    some = batch.to("cpu").rows(slice(1, 3))
    assert some.samples == 2
    assert some.state[:, 0].tolist() == [5, 8]
    assert some.instructions == ["open top drawer", "place apple into top drawer"]


def test_augmentation_changes_all_frames_of_a_window_alike() -> None:
    picture = RNG.integers(60, 190, size=(16, 16, 3), dtype=np.uint8)
    batch = changed(windows(0, 5, 6, picture=picture), Augmentation(shift=2))
    for window in range(3):
        assert not np.array_equal(batch.frame[window], picture)
        assert batch.start is not None
        for frame in (*batch.future[window], batch.start[window]):
            assert torch.equal(frame, batch.frame[window])
    assert not torch.equal(batch.frame[0], batch.frame[1])
    again = changed(windows(0, 5, 6, picture=picture), Augmentation(shift=2))
    assert torch.equal(again.frame, batch.frame)


def test_augmentation_is_a_shift_and_a_linear_change_of_levels() -> None:
    picture = RNG.integers(60, 190, size=(16, 16, 3), dtype=np.uint8)
    nothing = Augmentation(shift=0, brightness=0.0, contrast=0.0)
    assert np.array_equal(changed(windows(0, picture=picture), nothing).frame[0], picture)
    only_shift = Augmentation(shift=2, brightness=0, contrast=0)
    moved = changed(windows(0, picture=picture), only_shift, seed=3).frame[0].numpy()
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


def test_tokens_belong_to_the_same_window() -> None:
    norm = Normalisation(np.full(6, -1.0), np.full(6, 1.0), np.zeros(10), np.ones(10))
    text, cpu = HashedWords(words=5), torch.device("cpu")
    assembler = Assembler(TOKENIZER, text, WINDOWS, norm)
    batch = assembler(windows(2, 9))
    assert set(batch) == {"text", "frame", "video", "state", "action"}
    assert all((tokens.tau == 0).all() for tokens in batch.values())
    assert batch["state"].values[:, 0, 0].tolist() == [2, 9]
    assert batch["action"].values[:, 0, 0].tolist() == [2, 9]
    assert batch["action"].position[0, :, 0].tolist() == [0, 1, 2, 3]
    frames = (batch["frame"].values[:, 0, 0] + 1) * 127.5
    np.testing.assert_allclose(frames, [2, 9], atol=1e-4)
    wanted = text.embed(["open top drawer", "place apple into top drawer"], cpu)
    assert torch.equal(batch["text"].values, wanted)
    video_only = Assembler(TOKENIZER, text, WINDOWS)(windows(2))
    assert list(video_only) == ["text", "frame", "video"]


def test_an_episode_whose_first_picture_is_not_known_begins_now() -> None:
    assembler = Assembler(TOKENIZER, HashedWords(), replace(WINDOWS, start=True))
    assert assembler.modalities[-1].name == "start"
    batch = windows(2, 9)
    levels = (assembler(batch)["start"].values[:, 0, 0] + 1) * 127.5
    np.testing.assert_allclose(levels, [0, 0], atol=1e-4)
    for tokens in (
        assembler(replace(batch, start=None)),
        assembler.known(replace(batch, start=None)),
    ):
        levels = (tokens["start"].values[:, 0, 0] + 1) * 127.5
        np.testing.assert_allclose(levels, [2, 9], atol=1e-4)


def test_words_are_left_out_and_put_in_and_the_pictures_stay() -> None:
    numbers = [0] * 400
    plain = changed(windows(*numbers), Augmentation())
    batch = changed(windows(*numbers), Augmentation(words=0.5))
    assert torch.equal(batch.frame, plain.frame)
    said = [set(each.split()) for each in batch.instructions]
    learned = {"open", "top", "drawer"}
    exactly = sum(each == "open top drawer" for each in batch.instructions)
    assert 190 < exactly < 270
    assert any(not each for each in said)
    assert any(learned > each for each in said), "words are left out"
    assert any(learned < each for each in said), "words are put in"
    again = changed(windows(*numbers), Augmentation(words=0.5))
    assert again.instructions == batch.instructions
    all_of = changed(windows(*numbers), Augmentation(words=1.0)).instructions
    assert sum(each == "open top drawer" for each in all_of) < 100


def test_bad_settings_are_named() -> None:
    with pytest.raises(UserError, match=r"augmentation\.words=2"):
        Augmentation(words=2)
    with pytest.raises(UserError, match="chunk and every entry of future"):
        WindowConfig(future=(0, 3))
    with pytest.raises(UserError, match="shift must not be negative"):
        Augmentation(contrast=1.5)
    with pytest.raises(UserError, match="do not fill tokens"):
        Assembler(TOKENIZER, HashedWords(), WindowConfig(future=(3,)))
