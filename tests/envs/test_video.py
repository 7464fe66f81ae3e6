"""Frames survive the encoder, and joined clips are the clips."""

from pathlib import Path

import numpy as np
import pytest

from envs.dataset.video import decode, encode, join
from experiment.errors import UserError


def clip(seed: int, frames: int) -> np.ndarray:
    """Return smooth moving pictures uint8 `(t, 48, 64, 3)`."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:48, 0:64] / 10.0
    phase, colour = generator.uniform(0, 6, 2), generator.uniform(20, 120, 3)
    t = np.arange(frames)[:, None, None, None]
    wave = (
        np.sin(x + phase[0])[None, :, :, None]
        * np.cos(y + phase[1] + 0.2 * t[:, :, :, 0])[..., None]
    )
    return (128 + wave * colour).astype(np.uint8)


def error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def test_frames_come_back_in_number_order_and_colour(tmp_path: Path) -> None:
    frames = clip(0, 7)
    path = tmp_path / "clip.mp4"
    path.write_bytes(encode(frames, 3, crf=14, gop=3))
    decoded = decode(path)
    assert decoded.shape == frames.shape
    assert error(decoded, frames) < 4
    for index in range(6):
        assert error(decoded[index], frames[index]) < error(decoded[index], frames[index + 1])


def test_the_same_frames_give_the_same_bytes() -> None:
    once, again = (encode(clip(1, 5), 3, crf=14, gop=3) for _ in range(2))
    assert once == again, "encoding is not deterministic"


def test_joined_clips_decode_to_what_each_decodes_to(tmp_path: Path) -> None:
    lengths = (4, 1, 7)
    paths = [tmp_path / f"{i}.mp4" for i in range(3)]
    for i, (path, length) in enumerate(zip(paths, lengths, strict=True)):
        path.write_bytes(encode(clip(i, length), 3, crf=14, gop=3))
    joined = tmp_path / "joined.mp4"
    joined.write_bytes(join(paths, 3))
    np.testing.assert_array_equal(decode(joined), np.concatenate([decode(p) for p in paths]))


def test_a_truncated_clip_is_named(tmp_path: Path) -> None:
    paths = [tmp_path / "whole.mp4", tmp_path / "cut.mp4"]
    for path in paths:
        path.write_bytes(encode(clip(0, 5), 3, crf=14, gop=3))
    paths[1].write_bytes(paths[1].read_bytes()[:200])
    with pytest.raises(UserError, match=r"cut\.mp4 is not a readable video"):
        join(paths, 3)
    with pytest.raises(UserError, match=r"cut\.mp4 is not a readable video"):
        decode(paths[1])


def test_odd_pictures_are_refused() -> None:
    with pytest.raises(UserError, match="63x48"):
        encode(np.zeros((1, 48, 63, 3), np.uint8), 3, crf=14, gop=3)
