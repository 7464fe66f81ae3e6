"""What every expert keeps to, whichever its task."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from transforms3d.axangles import axangle2mat
from transforms3d.quaternions import mat2quat

from policies.contract import Observation
from policies.experts.grasp import GraspExpert
from policies.experts.motion import Expert, matrix_of, rotation_between, shortened, turned
from policies.experts.open_and_place import OpenAndPlaceExpert
from policies.experts.put_on import PutOnExpert
from tests.policies.experts.states import UP, cabinet, cubes, table

Case = tuple[type[Expert[Any]], Callable[..., Observation]]
CASES: list[Case] = [(OpenAndPlaceExpert, cabinet), (GraspExpert, table), (PutOnExpert, cubes)]
every_expert = pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].__name__)


def trace(kind: type[Expert[Any]], seen: Observation, seed: int, jitter: float = 1.0) -> np.ndarray:
    """The actions of five steps in which the world stands still."""
    expert = kind(jitter=jitter)
    expert.reset("", seed)
    return np.concatenate([expert.act(seen) for _ in range(5)])


def test_rotations_follow_one_convention() -> None:
    current = axangle2mat([0.3, -0.2, 0.9], 0.7)
    goal = axangle2mat([-0.5, 0.1, 0.2], -1.1)
    turn = rotation_between(current, goal)
    np.testing.assert_allclose(turned(turn) @ current, goal, atol=1e-12)
    np.testing.assert_allclose(rotation_between(goal, goal), 0.0, atol=1e-7)
    np.testing.assert_allclose(turned(0.4 * UP), axangle2mat(UP, 0.4), atol=1e-12)
    pose = np.array([1.0, 2.0, 3.0, *mat2quat(goal)])
    np.testing.assert_allclose(matrix_of(pose), goal, atol=1e-12)


def test_shortened_keeps_direction() -> None:
    vector = np.array([3.0, 0.0, 4.0])
    np.testing.assert_allclose(shortened(vector, 2.5), vector / 2)
    assert shortened(vector, 6.0) is vector


@every_expert
def test_an_action_is_one_bounded_row(case: Case) -> None:
    kind, world = case
    for action in trace(kind, world(), seed=3):
        assert action.dtype == np.float32
        assert np.linalg.norm(action[:3]) < kind().max_translation * 1.16
        assert np.linalg.norm(action[3:6]) < kind().max_rotation + 1e-6
        assert abs(action[6]) <= 1.0


@every_expert
def test_an_action_is_expressed_in_the_base_frame(case: Case) -> None:
    kind, world = case
    ahead, turned_base = (
        trace(kind, world(yaw=yaw), 0, jitter=0.0)[0] for yaw in (np.pi, np.pi + 0.4)
    )
    rotation = axangle2mat(UP, -0.4)
    np.testing.assert_allclose(turned_base[:3], rotation @ ahead[:3], atol=1e-6)
    np.testing.assert_allclose(turned_base[3:6], rotation @ ahead[3:6], atol=1e-6)


@every_expert
def test_variation_follows_from_the_seed_and_is_scaled_by_jitter(case: Case) -> None:
    kind, world = case
    np.testing.assert_array_equal(trace(kind, world(), 3), trace(kind, world(), 3))
    assert np.abs(trace(kind, world(), 3) - trace(kind, world(), 4)).max() > 1e-3
    without = trace(kind, world(), 3, jitter=0.0)
    np.testing.assert_array_equal(without, trace(kind, world(), 4, jitter=0.0))


def test_without_jitter_the_action_follows_from_the_state_alone() -> None:
    actions = trace(OpenAndPlaceExpert, cabinet(), 0, jitter=0.0)
    np.testing.assert_array_equal(actions, np.repeat(actions[:1], 5, axis=0))
