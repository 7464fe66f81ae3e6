"""The simulated task itself, without a renderer, and with one where a device can draw."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

import envs.simpler
from envs.errors import UserError
from envs.simpler import parity, rendering
from envs.simpler.registry import TASKS

pytestmark = pytest.mark.simulator


@pytest.fixture(scope="module")
def env():
    environment = envs.simpler.make("open_and_place", resolution=None)
    yield environment
    environment.close()


def moving_actions(count: int) -> np.ndarray:
    actions = np.random.default_rng(0).normal(0.0, 0.02, (count, 7)).astype(np.float32)
    actions[:, 6] = 0.0
    return actions


def test_same_seed_gives_the_same_episode_bit_for_bit(env) -> None:
    runs = []
    for _ in range(2):
        _, info = env.reset(seed=3)
        states = [info["privileged"]["object_pose_world"]]
        for action in moving_actions(5):
            observation, *_, info = env.step(action)
            states += [observation["state"], info["privileged"]["object_pose_world"]]
        runs.append(np.concatenate(states))
    np.testing.assert_array_equal(*runs)


def test_a_fresh_environment_gives_the_same_episode(env) -> None:
    _, here = env.reset(seed=4)
    other = envs.simpler.make("open_and_place", resolution=None)
    _, there = other.reset(seed=4)
    other.close()
    np.testing.assert_array_equal(
        here["privileged"]["object_pose_world"], there["privileged"]["object_pose_world"]
    )


def test_translation_moves_the_gripper_along_the_base_axes(env) -> None:
    observation, _ = env.reset(seed=0)
    start = observation["state"][:3].copy()
    for _ in range(6):
        observation, *_ = env.step(np.array([0, 0, -0.02, 0, 0, 0, 0], np.float32))
    moved = observation["state"][:3] - start
    assert moved[2] < -0.015
    assert np.abs(moved[:2]).max() < 0.01


def test_plus_one_closes_the_gripper_and_minus_one_opens(env) -> None:
    env.reset(seed=0)
    close = np.array([0, 0, 0, 0, 0, 0, 1], np.float32)
    for _ in range(5):
        *_, info = env.step(close)
    assert info["privileged"]["finger_angle"] > 1.0
    for _ in range(5):
        *_, info = env.step(-close)
    assert info["privileged"]["finger_angle"] < 0.1


def test_an_unreachable_target_freezes_the_arm(env) -> None:
    env.reset(seed=0)
    *_, before = env.step(np.zeros(7, np.float32))
    *_, after = env.step(np.array([1, 1, 1, 0, 0, 0, 0], np.float32))
    travelled = (
        after["privileged"]["gripper_pose_base"][:3] - before["privileged"]["gripper_pose_base"][:3]
    )
    assert np.linalg.norm(travelled) < 0.01


def test_instruction_changes_when_the_policy_advances(env) -> None:
    _, info = env.reset(seed=0)
    assert info["instruction"] == "open top drawer"
    env.advance_to_next_subtask()
    *_, info = env.step(np.zeros(7, np.float32))
    assert info["instruction"] == "place apple into top drawer"


@pytest.mark.parametrize("wrong", [np.zeros(6), np.full(7, np.nan), np.full(7, np.inf)])
def test_bad_actions_are_refused_by_step(env, wrong: np.ndarray) -> None:
    env.reset(seed=0)
    with pytest.raises(UserError, match="action at step 0"):
        env.step(wrong)


def test_options_fix_the_start(env) -> None:
    _, info = env.reset(seed=0, options={"robot_pose": "c0", "object_xy": (-0.06, 0.04)})
    assert info["robot_pose"] == "c0"
    np.testing.assert_allclose(info["privileged"]["base_pose"][:2], [0.665, 0.224], atol=1e-6)
    position = info["privileged"]["object_pose_world"]
    np.testing.assert_allclose(position[:2], [-0.06, 0.04], atol=0.01)
    with pytest.raises(UserError, match="unknown reset option"):
        env.reset(seed=0, options={"robot": "c0"})


def test_gymnasium_makes_it_by_id() -> None:
    made = gymnasium.make(TASKS["open_and_place"].gym_id)
    made.reset(seed=0)
    _, _, _, truncated, _ = made.step(np.zeros(7, np.float32))
    assert not truncated
    made.close()


def test_pictures_have_the_size_asked_for() -> None:
    try:
        rendering.drawing_device()
    except UserError as error:
        pytest.skip(str(error))
    small = envs.simpler.make("open_and_place", resolution=(80, 64))
    observation, _ = small.reset(seed=0)
    small.close()
    assert observation["image"].shape == (64, 80, 3)
    assert observation["image"].dtype == np.uint8
    # The picture shows something: the table, the red apple, the background.
    assert observation["image"].std() > 10


def test_impossible_resolutions_are_refused() -> None:
    with pytest.raises(UserError, match="resolution"):
        envs.simpler.make("open_and_place", resolution=(0, 64))


def test_parity_with_the_original(simpler_assets: Path, simpler_goldens: Path) -> None:
    spec = TASKS["open_and_place"]
    official = envs.simpler.make(spec.name, "simpler", simpler_assets, resolution=None)
    results = parity.measure(official, simpler_goldens, spec)
    official.close()
    worst = parity.summary(results, "simpler")
    assert worst["resets"] >= 40
    assert worst["joints_rad"] < 5e-4
    assert worst["base_m"] < 1e-3
    assert worst["base_rad"] < 5e-4
    assert worst["object_m"] < 1e-3
    assert worst["free_joints_rad"] < 0.01
    assert worst["free_gripper_m"] < 5e-3
    for rule in ("success", "subtask", "instruction", "contacts"):
        assert worst[f"rule_{rule}"] == 1.0
