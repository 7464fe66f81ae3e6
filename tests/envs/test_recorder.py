"""Videos of episodes: how many frames, which size, and what is written into them."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from envs.dataset.video import decode
from envs.episode import Episode, Observation
from envs.recorder import PICTURE, VideoRecorder, captioned, video_path
from envs.rollout import run_episode
from experiment.errors import UserError
from tests.envs.toy import LIMIT, BrokenPolicy, ToyEnv, ToyPolicy

EPISODE = Episode(task="toy", index=12, seed=11, robot_pose="c0")
GREY = np.full((32, 40, 3), 90, dtype=np.uint8)
WHITE, GREEN = (255, 255, 255), (112, 224, 128)


def observation(instruction: str = "open top drawer", step: int = 0) -> Observation:
    return Observation(GREY, np.zeros(10, np.float32), instruction, step, {})


def test_a_video_has_every_step_and_the_first_picture(tmp_path: Path) -> None:
    run_episode(ToyEnv(), ToyPolicy(), EPISODE, [VideoRecorder(tmp_path)])
    frames = decode(video_path(tmp_path, "toy", 12))
    assert frames.shape == (LIMIT + 1, PICTURE[1], PICTURE[0], 3)
    assert [path.name for path in tmp_path.iterdir()] == ["toy_0012.mp4"]


def test_instruction_step_and_success_are_drawn_in() -> None:
    plain = captioned(observation(), "toy #1", "", WHITE)
    assert plain.shape == (512, 640, 3)
    top, middle, bottom = slice(0, 40), slice(60, 440), slice(472, 512)
    np.testing.assert_array_equal(plain[middle], 90)
    for other, changed, same in (
        (captioned(observation("place apple"), "toy #1", "", WHITE), top, bottom),
        (captioned(observation(step=7), "toy #1", "", WHITE), bottom, top),
        (captioned(observation(), "toy #1", "success", GREEN), bottom, top),
        (captioned(observation(), "toy #2", "", WHITE), top, bottom),
    ):
        assert (other[changed] != plain[changed]).any()
        np.testing.assert_array_equal(other[same], plain[same])
        np.testing.assert_array_equal(other[middle], 90)


def test_success_shows_green_only_while_it_lasts(tmp_path: Path) -> None:
    run_episode(ToyEnv(), ToyPolicy(), EPISODE, [VideoRecorder(tmp_path)])
    corner = decode(video_path(tmp_path, "toy", 12))[:, 476:508, 460:].astype(int)
    green = ((corner[..., 1] - corner[..., 0]) > 60).any(axis=(1, 2))
    # Seed 11 opens at step 5 and succeeds from step 8 to the last but one.
    assert green.tolist() == [8 <= step < LIMIT for step in range(LIMIT + 1)]


def test_pictures_of_another_shape_keep_their_aspect() -> None:
    square = Observation(np.full((64, 64, 3), 90, np.uint8), np.zeros(10), "open", 0, {})
    drawn = captioned(square, "toy", "", WHITE)
    row = drawn[256, :, 0]
    np.testing.assert_array_equal(row[70:570], 90)
    assert row[:60].max() == 0
    assert row[580:].max() == 0


@pytest.mark.slow
def test_a_broken_off_episode_leaves_no_video_and_the_next_is_whole(tmp_path: Path) -> None:
    recorder = VideoRecorder(tmp_path)
    with pytest.raises(UserError):
        run_episode(ToyEnv(), BrokenPolicy("nan"), EPISODE, [recorder])
    assert not list(tmp_path.iterdir())
    run_episode(ToyEnv(), ToyPolicy(), EPISODE, [recorder])
    assert len(decode(video_path(tmp_path, "toy", 12))) == LIMIT + 1


@pytest.mark.slow
def test_a_full_disk_keeps_the_earlier_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = VideoRecorder(tmp_path)
    run_episode(ToyEnv(), ToyPolicy(), Episode(task="toy", index=1, seed=3), [recorder])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"disk is full, .*toy_0012\.mp4"):
        run_episode(ToyEnv(), ToyPolicy(), EPISODE, [recorder])
    assert [path.name for path in tmp_path.iterdir()] == ["toy_0001.mp4"]
    assert len(decode(video_path(tmp_path, "toy", 1))) == LIMIT + 1


def test_recording_without_pictures_names_the_fix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="resolution="):
        run_episode(ToyEnv(resolution=None), ToyPolicy(), EPISODE, [VideoRecorder(tmp_path)])
