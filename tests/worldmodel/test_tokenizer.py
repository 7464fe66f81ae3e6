"""What every tokenizer keeps to, and pixel patches."""

from dataclasses import replace

import pytest
import torch

from experiment.errors import UserError
from worldmodel import tokenizer
from worldmodel.tokenizer.pixel import PixelTokenizer
from worldmodel.tokenizer.positions import (
    frame_position,
    start_position,
    video_position,
    video_valid,
)

TOKENIZER = PixelTokenizer(height=32, width=48, patch=16, tubelet=2)
CPU = torch.device("cpu")


def clip(length: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, 1 + length, 32, 48, 3), generator=generator)
    frames = frames.to(torch.uint8)
    return frames[:, 0], frames[:, 1:]


@pytest.mark.parametrize("difference", [0.0, 2.0])
def test_frames_come_back_exactly(difference: float) -> None:
    frame, future = clip()
    used = replace(TOKENIZER, difference=difference)
    condition, video = used.encode(frame, future)
    assert video.shape == (2, 2 * 6, 2 * 16 * 16 * 3)
    assert torch.equal(used.decode(condition, video), future)
    assert torch.equal(used.decode_frame(condition), frame)
    assert torch.equal(used.encode_frame(frame), condition)


def test_what_stands_still_is_no_difference() -> None:
    used = replace(TOKENIZER, difference=2.0)
    frame, _ = clip()
    future = frame[:, None].repeat(1, 4, 1, 1, 1)
    future[:, 2:, :16, 16:32] //= 2
    condition, video = used.encode(frame, future)
    moves = video.abs().amax(-1).view(2, 2, 6) > 0
    assert torch.equal(moves, torch.tensor([[0] * 6, [0, 1, 0, 0, 0, 0]]).bool().expand(2, -1, -1))
    still = used.decode(condition, torch.zeros_like(video))
    assert torch.equal(still, frame[:, None].expand(-1, 4, -1, -1, -1))
    with pytest.raises(UserError, match=r"tokenizer\.difference=-1"):
        replace(TOKENIZER, difference=-1.0)


def test_values_lie_between_minus_one_and_one() -> None:
    future = torch.zeros(1, 2, 32, 48, 3, dtype=torch.uint8)
    future[0, 1] = 255
    values = TOKENIZER.encode(future[:, 0], future)[1]
    assert (float(values.min()), float(values.max())) == (-1.0, 1.0)


def test_a_token_is_a_patch_at_its_position() -> None:
    future = torch.zeros(1, 4, 32, 48, 3, dtype=torch.uint8)
    future[0, 2:, 16:, 32:] = 255
    position = video_position(TOKENIZER, (3, 6, 9, 12), CPU)
    bright = (TOKENIZER.encode(future[:, 0], future)[1] == 1).all(-1)[0]
    assert position[0, bright].tolist() == [[10.5, 1.0, 2.0]]
    assert frame_position(TOKENIZER, CPU)[0, -1].tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(UserError, match="do not fill tokens of 2 frames"):
        video_position(TOKENIZER, (3, 6, 9), CPU)


def test_a_token_counts_if_all_its_frames_do() -> None:
    valid = torch.tensor([[True, True, True, False], [False, True, True, True]])
    found = video_valid(TOKENIZER, valid).view(2, 2, 6)
    assert found.any(-1).tolist() == [[True, False], [False, True]]
    assert found.all(-1).tolist() == [[True, False], [False, True]]


def test_modalities_match_the_tokens() -> None:
    frame, video = TOKENIZER.modalities
    condition, values = TOKENIZER.encode(*clip())
    assert (frame.channels, frame.predicted) == (condition.shape[-1], False)
    assert (video.channels, video.predicted) == (values.shape[-1], True)


def test_the_first_picture_lies_on_the_same_plane_and_before_every_window() -> None:
    wide = PixelTokenizer(height=32, width=64, patch=16)
    assert wide.start.grid == (1, 2)
    assert start_position(wide, CPU)[0].tolist() == [[-64.0, 0.5, 0.5], [-64.0, 0.5, 2.5]]
    # Three patches do not halve.
    assert TOKENIZER.start == TOKENIZER
    assert start_position(TOKENIZER, CPU)[0, 1].tolist() == [-64.0, 0.0, 1.0]


def test_bad_sizes_and_foreign_names_are_refused() -> None:
    with pytest.raises(UserError, match="must divide"):
        PixelTokenizer(height=100)
    with pytest.raises(UserError, match=r"tokenizer.patch=0 must be at least 1"):
        PixelTokenizer(patch=0)
    assert tokenizer.restore(TOKENIZER.config()) == TOKENIZER
    with pytest.raises(UserError, match=r"tokenizer.kind='subprocess.Popen' is unknown"):
        tokenizer.restore({"kind": "subprocess.Popen"})
