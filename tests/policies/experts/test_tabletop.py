"""The experts at the table and at the drawers: how they grasp, and whole episodes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import envs.simpler
from envs.episode import EXECUTED, Episode, Observation
from envs.rollout import run_episode
from experiment.errors import UserError
from policies.experts.from_above import grasp_rotation, item_of
from policies.experts.grasp import GraspExpert
from policies.experts.move_near import MoveNearExpert, place_beside
from policies.experts.registry import make_expert
from tests.policies.experts.states import CAN, hand, table, thing


def test_a_lying_can_is_gripped_across() -> None:
    item = item_of(CAN)
    assert item.narrow is not None
    np.testing.assert_allclose(np.abs(item.narrow), [1.0, 0.0, 0.0], atol=1e-6)
    closing = grasp_rotation(item.narrow, item.centre)[:, 1]
    assert abs(closing @ item.narrow) > 0.95
    assert abs(closing[2]) < 0.2  # both fingers come down beside it
    assert item.bottom == pytest.approx(0.914 - 0.0335)


def test_a_round_object_is_gripped_any_way_round() -> None:
    assert item_of(CAN | {"size": np.array([0.075, 0.075, 0.075])}).narrow is None


def test_rotations_are_rotations() -> None:
    for angle in np.linspace(0, np.pi, 7):
        narrow = np.array([np.cos(angle), np.sin(angle), 0.0])
        rotation = grasp_rotation(narrow, CAN["center"])
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert rotation[2, 2] < -0.5  # points down


def test_the_hand_goes_to_the_can_open_shuts_and_lifts_it() -> None:
    expert = GraspExpert(jitter=0.0)
    action = expert.act(table())[0]
    # The base looks the other way, so towards smaller x in the world is ahead.
    assert action[0] > 0
    assert action[6] == -1.0
    expert.reset("", 0)
    for _ in range(2):  # twice: the fingers have come to a stop
        action = expert.act(table(item_of(CAN).grasp, fingers=0.7, target=1.31))[0]
    assert expert.phase == "lift"
    assert action[2] > 0
    assert action[6] == 1.0


def raised(height: float) -> Observation:
    """The can held `height` (m) above where it lay."""
    up = np.array([0.0, 0.0, height])
    lifted = {"pose": CAN["pose"] + [*up, 0, 0, 0, 0], "center": CAN["center"] + up}
    seen = table(item_of(CAN).grasp + up, fingers=0.7, target=1.31)
    objects = {"opened_coke_can": CAN | lifted}
    return replace(seen, privileged={**seen.privileged, "objects": objects})


@pytest.mark.parametrize("hold_steps", [0, 3])
def test_a_can_is_held_as_long_as_asked_and_grasped_again_if_lost(hold_steps: int) -> None:
    expert = GraspExpert(jitter=0.0, hold_steps=hold_steps)
    expert.act(raised(0.0))
    for _ in range(1 + hold_steps):
        assert not expert.done
        action = expert.act(raised(0.09))[0]
    assert expert.done
    assert action[6] == 1.0
    expert.reset("", 0)
    expert.act(raised(0.0))
    for _ in range(hold_steps):
        expert.act(raised(0.09))
    above = item_of(CAN).grasp + np.array([0.0, 0.0, 0.1])
    expert.act(table(above, fingers=1.3, target=1.31))
    assert expert.phase not in ("hold", "lift")  # slipped out
    assert not expert.done


def test_hold_steps_must_be_a_number_of_steps() -> None:
    with pytest.raises(UserError, match="hold_steps=-1"):
        make_expert("pick_coke_can", hold_steps=-1)


def at_the_can(hand_at: np.ndarray, **more: Any) -> Observation:
    """The hand, turned as it grasps the lying can, at a place."""
    item, seen = item_of(CAN), table(hand_at, **more)
    pose = hand(hand_at, grasp_rotation(item.narrow, item.centre))
    return replace(seen, privileged={**seen.privileged, "gripper_pose_world": pose})


@pytest.mark.parametrize("height", [0.0, 0.02, 0.05, 0.09, 0.13])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_millimetre_aside_changes_little_of_what_is_done(height: float, axis: int) -> None:
    """What a learner cannot see must not decide between up and down."""
    item = item_of(CAN)
    rotation = grasp_rotation(item.narrow, item.centre)
    actions = []
    for aside in np.arange(0.0, 0.07, 0.001):
        at = item.grasp - height * rotation[:, 2] + aside * rotation[:, axis]
        actions.append(GraspExpert(jitter=0.0).act(at_the_can(at))[0, :3])
    steps = np.linalg.norm(np.diff(actions, axis=0), axis=1)
    assert steps.max() < 0.011
    # Near it goes down as far as there is to go, far from it it does not.
    assert actions[0][2] < (0.001 if height == 0.0 else -0.015)
    assert actions[-1][2] > (-0.05 if height > 0.05 else 0.0)


def test_on_its_way_beside_the_target_a_millimetre_changes_little() -> None:
    source, place = standing(-0.1, 0.3), None
    actions: dict[float, list[np.ndarray]] = {}
    for high in (0.01, 0.05):
        for further in np.arange(0.0, 0.08, 0.001):
            expert = MoveNearExpert(jitter=0.0)
            expert.act(near(source))
            if place is None:
                place = place_beside(item_of(source), near(source).privileged)
            carried = standing(place[0] + further, place[1])
            carried = {**carried, "center": carried["center"] + [0.0, 0.0, high]}
            carried["pose"] = carried["pose"] + np.array([0.0, 0.0, high, 0.0, 0.0, 0.0, 0.0])
            at = item_of(carried).grasp
            seen = near(carried)
            held = table(at, fingers=0.7, target=1.31)
            now = {**held.privileged, "objects": seen.privileged["objects"]}
            now |= {name: seen.privileged[name] for name in ("source", "target")}
            expert._place = place
            for _ in range(2):  # twice: the fingers have come to a stop
                action = expert.act(replace(held, privileged=now))[0]
            actions.setdefault(high, []).append(action[:3])
            assert expert.phase in ("lower", "carry", "lift")
    for each in actions.values():
        assert np.linalg.norm(np.diff(each, axis=0), axis=1).max() < 0.011
        assert each[0][2] < -0.01
        assert each[-1][2] > -0.01


def standing(x: float, y: float) -> dict[str, Any]:
    return thing((x, y, 0.93), np.array([0.067, 0.067, 0.123]))


def near(source: dict[str, Any]) -> Observation:
    """A source, its target and a third can; the open hand is 30 cm above the source."""
    seen = table(source["center"] + [0.0, 0.0, 0.3])
    assert seen.privileged is not None
    others = {"target": standing(-0.3, 0.3), "third": standing(-0.1, 0.05)}
    named = {"objects": {"source": source, **others}, "source": "source", "target": "target"}
    return replace(seen, privileged={**seen.privileged, **named})


def test_an_object_is_left_where_somebody_else_put_it_well() -> None:
    expert = MoveNearExpert(jitter=0.0)
    start, away = standing(-0.1, 0.3), standing(-0.2, 0.1)
    expert.act(near(start))
    assert expert.phase == "go above"
    for source, phase in ((standing(-0.17, 0.3), "rest"), (away, "go above"), (start, "go above")):
        expert.act(near(source))
        assert (expert.phase, expert.done) == (phase, phase == "rest")


def test_an_object_that_began_near_is_moved_all_the_same() -> None:
    expert = MoveNearExpert(jitter=0.0)
    expert.act(near(standing(-0.17, 0.3)))
    assert expert.phase == "go above"


def test_the_hand_rests_higher_than_one_that_is_about_to_grasp() -> None:
    expert = MoveNearExpert(jitter=0.0)
    expert.act(near(standing(-0.1, 0.3)))
    phases = []
    for height in (0.05, 0.15, 0.25):
        seen = near(standing(-0.17, 0.3))
        assert seen.privileged is not None
        at = item_of(seen.privileged["objects"]["source"]).grasp + np.array([0, 0, height])
        pose = table(at).privileged["gripper_pose_world"]
        placed = {**seen.privileged, "gripper_pose_world": pose}
        action = expert.act(replace(seen, privileged=placed))[0]
        phases.append(expert.phase)
        # The base looks towards smaller x: straight up first, then back to the robot as well.
        assert (action[0] < -0.01) == (height == 0.15)
    assert phases == ["leave", "leave", "rest"]


@pytest.mark.parametrize("executed", [None, np.zeros(7), np.full(7, 0.05)])
def test_a_learner_that_waits_is_not_a_stuck_arm(executed: np.ndarray | None) -> None:
    expert = GraspExpert(jitter=0.0)
    seen = table()
    assert seen.privileged is not None
    if executed is not None:
        seen = replace(seen, privileged={**seen.privileged, EXECUTED: executed})
    actions = np.concatenate([expert.act(seen) for _ in range(8)])
    waits = executed is not None and not executed.any()
    assert np.allclose(actions, actions[0]) == waits


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("task", "seed"),
    [
        ("open_top_drawer", 1),
        ("open_bottom_drawer", 2),
        ("close_middle_drawer", 3),
        ("pick_horizontal_coke_can", 1),
        ("pick_vertical_coke_can", 2),
        ("pick_standing_coke_can", 3),
        ("move_near", 16),  # a sponge: flat, so the fingers must come down level
    ],
)
def test_the_expert_succeeds(task: str, seed: int) -> None:
    env = envs.simpler.make(task, resolution=None, terminate_on_success=False)
    record = run_episode(env, make_expert(task), Episode(task=task, index=0, seed=seed))
    env.close()
    assert record.success_at_end
    assert record.steps < env.task.max_steps
