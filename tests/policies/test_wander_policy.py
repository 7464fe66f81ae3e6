"""Wandering: legs that come back, and the same for a seed."""

import numpy as np

from policies.contract import Observation
from policies.wander_policy import FASTEST, LEG_STEPS, WanderPolicy

SEEN = Observation(None, np.zeros(10, np.float32), "wander", 0, {})


def legs(seed: int, count: int = 200) -> list[np.ndarray]:
    policy = WanderPolicy()
    policy.reset("wander", seed)
    return [policy.act(SEEN) for _ in range(count)]


def test_a_seed_is_a_way() -> None:
    first, again, other = (np.concatenate(legs(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:100], other[:100])


def test_legs_are_straight_slow_and_stay_near_the_start() -> None:
    way = legs(3)
    assert {len(leg) for leg in way} == set(range(LEG_STEPS[0], LEG_STEPS[1] + 1))
    assert all((leg == leg[0]).all() for leg in way)
    steps = np.concatenate(way)
    assert np.abs(steps[:, :3]).max() <= FASTEST[0] + 1e-6
    assert np.abs(steps[:, 3:6]).max() <= FASTEST[1] + 1e-6
    assert np.abs(np.cumsum(steps[:, :3], 0)).max() < 0.6, "it comes back"
    assert np.cumsum(steps[:, :3], 0).std(0).min() > 0.05, "and gets about"
    assert set(steps[:, 6]) == {-1.0, 0.0, 1.0}
