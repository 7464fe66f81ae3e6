"""Disturbed actions: seeded, in bursts, never the gripper, nothing at scale 0."""

from typing import Any

import gymnasium
import numpy as np

from envs.dataset.perturbation import ActionPerturbation


class Echo(gymnasium.Env[Any, Any]):
    """Remembers what it was told to execute."""

    def __init__(self) -> None:
        self.executed: list[np.ndarray] = []

    def reset(self, **_: Any) -> Any:
        self.executed = []
        return {}, {}

    def step(self, action: np.ndarray) -> Any:
        self.executed.append(action)
        return {}, 0.0, False, False, {}


def executed(scale: float, seed: int, steps: int = 200) -> np.ndarray:
    echo = Echo()
    env = ActionPerturbation(echo, scale)
    env.reset(seed=seed)
    for _ in range(steps):
        env.step(np.array([0, 0, 0, 0, 0, 0, 1], np.float32))
    return np.array(echo.executed)


def test_scale_zero_disturbs_nothing() -> None:
    assert not executed(0.0, seed=1)[:, :6].any()


def test_the_gripper_is_left_alone_and_the_arm_is_not() -> None:
    runs = np.array([executed(1.0, seed) for seed in range(12)])
    assert (runs[..., 6] == 1.0).all()
    moved = np.abs(runs[..., :3]).sum(axis=(1, 2))
    # A quarter of the episodes draws scale 0.
    assert (moved == 0).any()
    assert (moved > 0).any()


def test_bursts_follow_from_the_seed() -> None:
    disturbed = next(seed for seed in range(20) if executed(1.0, seed)[:, :3].any())
    np.testing.assert_array_equal(executed(1.0, disturbed), executed(1.0, disturbed))
    others = [executed(1.0, seed) for seed in range(disturbed + 1, disturbed + 20)]
    assert any(not np.array_equal(executed(1.0, disturbed), other) for other in others)


def test_most_steps_are_undisturbed() -> None:
    runs = np.concatenate([executed(1.0, seed) for seed in range(12)])
    share = (np.abs(runs[:, :3]).sum(axis=1) > 0).mean()
    assert 0.05 < share < 0.4
