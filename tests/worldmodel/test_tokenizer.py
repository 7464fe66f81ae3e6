"""Pixel patches."""

import numpy as np
import pytest
import torch

from experiment.errors import UserError
from worldmodel.tokenizer.pixel import PixelTokenizer

RNG = np.random.default_rng(0)
TOKENIZER = PixelTokenizer(height=32, width=48, patch=16, tubelet=2)


def clips(length: int = 4) -> np.ndarray:
    return RNG.integers(0, 256, size=(2, length, 32, 48, 3), dtype=np.uint8)


def test_frames_come_back_exactly() -> None:
    frames = clips()
    tokens = TOKENIZER.video_tokens(frames, (1, 2, 3, 4))
    assert tokens.values.shape == (2, 2 * 6, 2 * 16 * 16 * 3)
    np.testing.assert_array_equal(TOKENIZER.decode(tokens.values), frames)
    one = TOKENIZER.frame_tokens(frames[:, 0])
    np.testing.assert_array_equal(TOKENIZER.decode_frame(one.values), frames[:, 0])


def test_values_lie_between_minus_one_and_one() -> None:
    frames = np.zeros((1, 2, 32, 48, 3), dtype=np.uint8)
    frames[0, 1] = 255
    values = TOKENIZER.video_tokens(frames, (1, 2)).values
    assert (values.min(), values.max()) == (-1.0, 1.0)


def test_a_token_is_a_patch_at_its_position() -> None:
    frames = np.zeros((1, 4, 32, 48, 3), dtype=np.uint8)
    frames[0, 2:, 16:, 32:] = 255
    tokens = TOKENIZER.video_tokens(frames, (3, 6, 9, 12))
    bright = (tokens.values == 1).all(-1)[0]
    assert tokens.position[0, bright].tolist() == [[10.5, 1.0, 2.0]]
    assert TOKENIZER.frame_tokens(frames[:, 0]).position[0, -1].tolist() == [0.0, 1.0, 2.0]
    assert not bright[tokens.position[0, :, 0] == 4.5].any()
    assert torch.equal(TOKENIZER.video_position((3, 6, 9, 12)), tokens.position)


def test_a_tubelet_counts_if_all_its_frames_do() -> None:
    valid = np.array([[True, True, True, False], [False, True, True, True]])
    tokens = TOKENIZER.video_tokens(clips(), (1, 2, 3, 4), valid)
    assert tokens.valid is not None
    assert tokens.valid.view(2, 2, 6).any(-1).tolist() == [[True, False], [False, True]]
    assert tokens.valid.view(2, 2, 6).all(-1).tolist() == [[True, False], [False, True]]


def test_resizing_averages_and_leaves_the_native_size_alone() -> None:
    frames = clips()[0]
    assert TOKENIZER.resize(frames) is frames
    stripes = np.zeros((1, 64, 96, 3), dtype=np.uint8)
    stripes[:, :, ::2] = 200
    small = TOKENIZER.resize(stripes)
    assert small.shape == (1, 32, 48, 3)
    assert abs(int(small[0, 16, 24, 0]) - 100) <= 1
    with pytest.raises(ValueError, match="uint8"):
        TOKENIZER.resize(stripes.astype(np.float32))


def test_modalities_match_the_tokens() -> None:
    frame, video = TOKENIZER.modalities
    tokens = TOKENIZER.video_tokens(clips(), (1, 2, 3, 4))
    assert (video.channels, video.predicted) == (tokens.values.shape[-1], True)
    assert (frame.channels, frame.predicted) == (768, False)


def test_bad_sizes_are_named() -> None:
    with pytest.raises(UserError, match="must divide"):
        PixelTokenizer(height=100)
    with pytest.raises(UserError, match="tubelets of 2"):
        TOKENIZER.video_position((3, 6, 9))
