"""Episodes that branch from a saved state, in the same environment and in a twin."""

from typing import Any

import gymnasium
import numpy as np
import pytest

import envs.simpler
from envs.rollout import observe
from envs.simpler.environment import SimplerEnv
from policies.experts.registry import make_expert

pytestmark = pytest.mark.simulator

Trace = list[np.ndarray]


def until(env: SimplerEnv, task: str, steps: int) -> list[np.ndarray]:
    """Let the expert act for so many steps; return the six actions that it did last."""
    raw, info = env.reset(seed=5)
    seen = observe(raw, info, 0)
    expert = make_expert(task)
    expert.reset(seen.instruction, 5)
    actions = []
    for step in range(steps):
        actions.append(np.asarray(expert.act(seen))[0])
        raw, *_, info = env.step(actions[-1])
        seen = observe(raw, info, step + 1)
    return actions[-6:]


def followed(env: SimplerEnv, actions: list[np.ndarray]) -> tuple[np.ndarray, dict[str, Any]]:
    """Return gripper and object `(t, 6)` (m) after each of the actions, and the last info."""
    rows = []
    for action in actions:
        *_, info = env.step(action)
        state = info["privileged"]
        moved = state.get("object_pose_world", state.get("drawer_pose_world"))
        rows.append(np.concatenate([state["gripper_pose_world"][:3], moved[:3]]))
    return np.array(rows), info


@pytest.mark.parametrize(
    ("task", "steps", "close"),
    [
        ("pick_standing_coke_can", 11, 2e-5),  # in free space
        ("pick_standing_coke_can", 31, 4e-3),  # the can is held
        ("open_top_drawer", 12, 2e-5),
        ("stack_cube", 14, 1e-4),
    ],
)
def test_what_follows_a_restored_state_is_what_followed_it(
    task: str, steps: int, close: float
) -> None:
    env, twin = (envs.simpler.make(task, resolution=None) for _ in range(2))
    more = until(env, task, steps)
    state = env.save_state()
    expected, info = followed(env, more)
    twin.reset(seed=5)
    for again in (twin, env, env):
        again.restore_state(state)
        found, told = followed(again, more)
        np.testing.assert_allclose(found, expected, atol=close)
        assert told["elapsed_steps"] == info["elapsed_steps"] == steps + 6
        assert told["episode_stats"] == info["episode_stats"]
    # The state itself is a copy: what followed has not changed it.
    env.restore_state(state)
    other, _ = followed(env, [-action for action in more])
    assert np.abs(other - expected).max() > 5e-3
    env.close()
    twin.close()


def test_a_state_is_asked_for_after_a_reset() -> None:
    env = envs.simpler.make("pick_standing_coke_can", resolution=None)
    with pytest.raises(gymnasium.error.ResetNeeded, match="save_state"):
        env.save_state()
