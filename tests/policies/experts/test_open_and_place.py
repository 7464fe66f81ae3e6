"""The expert of open_and_place: decisions in states made by hand, and whole episodes."""

import os
from typing import Any

import numpy as np
import pytest

from policies.contract import Observation
from policies.experts.drawer_state import hand_rotation
from policies.experts.open_and_place import BEFORE, PAST_CENTRE, PINCH, OpenAndPlaceExpert
from tests.policies.experts.states import APPLE, DRAWER, EDGE, TO_APPLE, UP, cabinet, outwards

HELD = {"fingers": 0.69, "target": 1.31}


@pytest.fixture
def expert() -> OpenAndPlaceExpert:
    return OpenAndPlaceExpert(jitter=0.0)


def grasping(apple: np.ndarray, **more: Any) -> Observation:
    """The hand around the apple, the drawer open."""
    at = apple + PAST_CENTRE * TO_APPLE[:, 2]
    return cabinet(at, TO_APPLE, **{"drawer": 0.22, "apple": apple, **more})


@pytest.mark.parametrize("sideways", [False, True])
def test_hand_rotation_is_a_rotation_that_points_down_at_the_cabinet(sideways: bool) -> None:
    rotation = hand_rotation(0.8, sideways)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    np.testing.assert_allclose(rotation[:, 2], [-np.cos(0.8), 0.0, -np.sin(0.8)])
    assert abs(rotation[1, 1]) == (1.0 if sideways else 0.0)


def test_pulling_moves_straight_out_of_the_cabinet(expert: OpenAndPlaceExpert) -> None:
    for drawer in (0.0, 0.1, 0.2):
        at = EDGE + np.array([drawer, 0.0, 0.0]) + PINCH
        step = outwards(expert.act(cabinet(at, drawer=drawer, fingers=0.8, target=1.31))[0])
        assert step[0] > 0.05
        assert np.abs(step[1:]).max() < 1e-6


def test_the_hand_shuts_around_the_apple_lifts_it_and_lets_it_go_in_the_drawer(
    expert: OpenAndPlaceExpert,
) -> None:
    assert expert.act(grasping(APPLE))[0, 6] == 1.0
    for _ in range(2):
        lifting = expert.act(grasping(APPLE, **HELD))[0]
    assert lifting[2] > 0.05
    assert lifting[6] == 1.0
    inside = DRAWER + np.array([0.22 + 0.18, 0.0, 0.01])
    for _ in range(2):
        letting_go = expert.act(grasping(inside, **HELD))[0]
    assert letting_go[6] == -1.0


def test_an_empty_hand_opens_again(expert: OpenAndPlaceExpert) -> None:
    assert expert.act(grasping(APPLE, fingers=1.25, target=1.31))[0, 6] == -1.0
    assert expert.act(grasping(APPLE, fingers=0.8, target=-0.01))[0, 6] == -1.0
    assert expert.act(grasping(APPLE, fingers=0.1, target=-0.01))[0, 6] == 1.0


def test_done_after_the_retreat_and_only_in_the_second_subtask(expert: OpenAndPlaceExpert) -> None:
    inside = DRAWER + np.array([0.22 + 0.18, 0.0, -0.012])
    seen = {"rotation": TO_APPLE, "drawer": 0.22, "apple": inside}
    assert outwards(expert.act(cabinet(inside + 0.02 * UP, **seen))[0])[2] > 0.05
    assert not expert.done
    high = inside + 0.3 * UP
    np.testing.assert_allclose(expert.act(cabinet(high, **seen))[0, :6], 0.0, atol=1e-6)
    assert not expert.done
    expert.act(cabinet(high, **seen, instruction="place apple into top drawer"))
    assert expert.done


def test_gives_up_when_the_apple_lies_on_the_floor(expert: OpenAndPlaceExpert) -> None:
    expert.act(cabinet(apple=np.array([0.1, 0.6, 0.04])))
    assert (expert.phase, expert.done) == ("lost", True)


@pytest.mark.parametrize(("share", "advances"), [(0.0, False), (1.0, True)])
def test_subtask_is_declared_done_once_the_drawer_is_open(share: float, advances: bool) -> None:
    expert = OpenAndPlaceExpert(jitter=0.0, advance_share=share)
    expert.act(cabinet(EDGE + BEFORE))
    assert not expert.subtask_done
    expert.act(cabinet(APPLE + np.array([0.1, 0.0, 0.2]), TO_APPLE, drawer=0.22))
    assert expert.subtask_done == advances


def succeeds(seed: int, pose: str, perturbation: float = 0.0, **settings: Any) -> bool:
    """Run an episode; whether it ended in success by SIMPLER's rule and by the strict one."""
    import envs.dataset.perturbation
    from envs.episode import Episode
    from envs.rollout import run_episode

    settings["terminate_on_success"] = False  # the expert lets go and retreats after it
    env = envs.dataset.perturbation.make("open_and_place", perturbation=perturbation, **settings)
    record = run_episode(
        env, OpenAndPlaceExpert(), Episode("open_and_place", 0, seed, robot_pose=pose)
    )
    env.close()
    return record.success_at_end and record.success_strict and record.steps < 160


@pytest.mark.simulator
@pytest.mark.parametrize(("pose", "perturbation"), [("a0", 0.0), ("b0", 1.0)])
def test_succeeds_with_primitives(pose: str, perturbation: float) -> None:
    assert succeeds(71, pose, perturbation)


@pytest.mark.simulator
def test_succeeds_with_the_official_meshes() -> None:
    root = os.environ.get("SIMPLER_ASSETS")
    if not root:
        pytest.skip("SIMPLER_ASSETS does not name a clone of ManiSkill2_real2sim")
    assert succeeds(72, "b0", assets="simpler", asset_root=root)


@pytest.mark.parametrize("behind", [0.0, 0.03, 0.06, 0.09, 0.12])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_millimetre_beside_the_apple_changes_little_of_what_is_done(
    behind: float, axis: int
) -> None:
    """What a learner cannot see must not decide between ahead and back."""
    grasp = APPLE + PAST_CENTRE * TO_APPLE[:, 2] - behind * TO_APPLE[:, 2]
    actions = [
        OpenAndPlaceExpert(jitter=0.0).act(
            cabinet(grasp + aside * TO_APPLE[:, axis], TO_APPLE, drawer=0.22)
        )[0, :3]
        for aside in np.arange(0.0, 0.06, 0.001)
    ]
    assert np.linalg.norm(np.diff(actions, axis=0), axis=1).max() < 0.011
