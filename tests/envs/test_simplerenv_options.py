"""SimplerEnv's reset options mean what they mean there, and slips in them are named."""

from typing import Any

import numpy as np
import pytest
from transforms3d.euler import euler2quat
from transforms3d.quaternions import qmult

from envs.simpler.tasks.registry import task_spec
from envs.simpler.tasks.simplerenv_options import translated
from envs.simpler.tasks.start import (
    HALF_TURN,
    ORIENTATION_QUATERNIONS,
    ROBOT_POSES,
    draw_start,
)
from envs.simpler.tasks.variants import variant_of
from experiment.errors import UserError


def robot(x: float, y: float, yaw: float) -> dict[str, Any]:
    turn = qmult(euler2quat(0, 0, yaw), HALF_TURN)
    return {"robot_init_options": {"init_xy": np.array([x, y]), "init_rot_quat": turn}}


@pytest.mark.parametrize("yaw", [0.0, -0.09, 1.2, -3.0, np.pi / 2])
def test_the_robot_stands_as_the_quaternion_says(yaw: float) -> None:
    asked = robot(0.35, 0.21, yaw)
    ours = translated(asked, task_spec("move_near"))
    spec = task_spec("move_near")
    start = draw_start(3, spec, variant_of(spec, "visual_matching"), ours)
    position, quaternion = start.base_pose(0.0)
    np.testing.assert_allclose(position[:2], [0.35, 0.21])
    turn = asked["robot_init_options"]["init_rot_quat"]
    assert abs(quaternion @ turn) == pytest.approx(1.0)
    # A quaternion and its negative are one rotation.
    asked["robot_init_options"]["init_rot_quat"] = -turn
    assert translated(asked, spec)["robot_yaw"] == pytest.approx(ours["robot_yaw"])


@pytest.mark.parametrize("name", ROBOT_POSES)
def test_a_pose_of_the_drawer_tasks_is_known_by_name(name: str) -> None:
    spec = task_spec("open_drawer")
    assert translated(robot(*ROBOT_POSES[name]), spec) == {"robot_pose": name}


@pytest.mark.parametrize(
    ("task", "options", "ours"),
    [
        ("stack_cube", {"obj_init_options": {"episode_id": np.int64(3)}}, {"layout": 3}),
        ("move_near", {"obj_init_options": {"episode_id": 59}}, {"layout": 59}),
        ("open_and_place", {"obj_init_options": {"init_xy": [0, 1]}}, {"object_xy": (0.0, 1.0)}),
        (
            "pick_coke_can",
            {"obj_init_options": {"orientation": "upright"}, "model_id": "apple"},
            {"orientation": "upright", "object": "apple"},
        ),
        (
            "pick_coke_can",
            {"obj_init_options": {"init_rot_quat": ORIENTATION_QUATERNIONS["lr_switch"]}},
            {"orientation": "lr_switch"},
        ),
        ("close_drawer", {"obj_init_options": {"cabinet_init_qpos": 0.2}}, {}),
        ("open_drawer", {"robot_init_options": None, "coloring": ""}, {"coloring": ""}),
        ("open_drawer", {"reconfigure": True}, {"reconfigure": True}),
    ],
)
def test_options_are_said_in_ours(task: str, options: dict[str, Any], ours: dict[str, Any]) -> None:
    assert translated(options, task_spec(task)) == ours


@pytest.mark.parametrize(
    ("task", "options", "says"),
    [
        ("stack_cube", {"obj_init_options": {"episode_i": 3}}, "Did you mean 'episode_id'"),
        ("stack_cube", {"obj_init_options": {"episode_id": 24}}, "episode_id must be 0 to 23"),
        ("stack_cube", {"obj_init_options": {"init_xy": [0, 0]}}, "unknown option 'init_xy'"),
        ("pick_coke_can", {"obj_init_options": {"init_xy": [0]}}, "init_xy must be 2 finite"),
        ("pick_coke_can", {"obj_init_options": {"init_xy": "ab"}}, "init_xy must be 2 finite"),
        ("pick_coke_can", {"robot_init_options": {"qpos": [0]}}, "unknown option 'qpos'"),
        ("pick_coke_can", {"robot_init_options": 3}, "must be a dict"),
        ("pick_coke_can", {"robot_init_options": {"init_rot_quat": [0, 1, 0, 0]}}, "about z only"),
        ("pick_coke_can", {"obj_init_options": {"init_rot_quat": [0, 1, 0, 0]}}, "one of the"),
        ("pick_coke_can", {"model_scale": 2.0}, "model_scale"),
        ("close_drawer", {"obj_init_options": {"cabinet_init_qpos": 0.1}}, "starts at 0.2 m"),
    ],
)
def test_a_slip_is_named(task: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        translated(options, task_spec(task))


@pytest.mark.parametrize("variant", ["distractors_less", "distractors_more"])
def test_the_object_to_pick_is_never_a_distractor(variant: str) -> None:
    spec = task_spec("pick_object")
    counts = set()
    for model in spec.models:
        start = draw_start(0, spec, variant_of(spec, variant), {"object": model})
        assert start.layout.models[0] == model
        assert len(set(start.layout.models)) == len(start.layout.models)
        counts.add(len(start.layout.models))
    assert len(counts) == 1
