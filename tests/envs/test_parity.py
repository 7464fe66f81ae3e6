"""A recording is compared with what was asked for when it was made."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs.simpler
from envs.original.parity import measure
from envs.original.recordings import Golden, read_episode, reset_options
from envs.original.replay import agreement
from envs.simpler.tasks.registry import task_spec


def drawer_recording(advance: Any) -> Golden:
    """Six steps of putting an apple into a drawer; the second subtask begins with step 3."""
    steps = [{"eval": {"episode_stats": {}}, "contacts": {}, "instruction": ""} for _ in range(6)]
    meta = {
        "advance_before_step": advance,
        "target_drawer": "top",
        "cabinet_joints": ["top_drawer_joint"],
        "obj_names": ["apple"],
    }
    arrays = {
        "cabinet_qpos": np.full((6, 1), 0.2),
        "success": np.zeros(6),
        "is_final_subtask": np.array([0, 0, 0, 1, 1, 1]),
    }
    return Golden(Path("made.npz"), meta, arrays, steps)


@pytest.mark.parametrize(("advance", "share"), [(3, 1.0), ([3], 1.0), ([3, 5], 1.0), (None, 0.5)])
def test_every_recorded_advance_is_made(advance: Any, share: float) -> None:
    found = agreement(drawer_recording(advance), task_spec("open_and_place"))
    assert found["rule_subtask"] == share


def test_options_are_those_of_the_recording() -> None:
    item, robot = {"init_xy": [-0.2, 0.1]}, {"init_xy": [0.35, 0.2]}
    described = {
        "options": {"reconfigure": True, "obj_init_options": item, "robot_init_options": robot}
    }
    there, elsewhere = np.array([0.35, 0.2, 0, 0, 0, 0, 1]), np.array([0.3, 0, 0, 0, 0, 0, 1])
    asked = {"obj_init_options": item, "robot_init_options": robot}
    assert reset_options(described, there) == asked
    # The prepackaged environments overwrite where the robot is to stand.
    assert reset_options(described, elsewhere) == {"obj_init_options": item}
    assert reset_options({}, there) == {}


def record(path: Path, task: str, options: dict[str, Any]) -> None:
    """Write a recording as the original's are, of a standing robot in this simulator."""
    env = envs.simpler.make(task, resolution=None)
    spec = env.task
    _, info = env.reset(seed=4, options=options)
    names = list(info["privileged"]["objects"])
    rows: list[dict[str, Any]] = []
    start = info["privileged"]
    arrays: dict[str, Any] = {
        "reset_base_pose": start["base_pose"],
        "reset_obj_poses": [start["objects"][name]["pose"] for name in names],
        "reset_qpos": list(start["qpos"].values()),
    }
    steps: dict[str, list[Any]] = {
        name: [] for name in ("action", "qpos", "tcp_base", "obj_poses", "success")
    }
    for _ in range(3):
        action = np.array([0, 0, 0, 0, 0, 0, -1.0])
        *_, info = env.step(action)
        seen = info["privileged"]
        report = {k: v for k, v in info.items() if k in env.scene.rule.report}
        rows.append(
            {
                "eval": report | {"episode_stats": info["episode_stats"]},
                "contacts": {},
                "instruction": info["instruction"],
            }
        )
        steps["action"].append(action)
        steps["qpos"].append(list(seen["qpos"].values()))
        steps["tcp_base"].append(seen["gripper_pose_base"])
        steps["obj_poses"].append([seen["objects"][name]["pose"] for name in names])
        steps["success"].append(info["success"])
    meta = {
        "seed": 4,
        "options": {"reconfigure": True} | options,
        "advance_before_step": [],
        "active_joints": list(start["qpos"]),
        "link_names": [link.name for link in env.scene.links],
        "obj_names": names,
    }
    env.close()
    path.parent.mkdir(parents=True)
    written = arrays | steps
    np.savez(
        path,
        meta_json=json.dumps(meta),
        step_log_json=[json.dumps(row) for row in rows],
        is_final_subtask=np.ones(3),
        **written,
    )
    assert spec.simpler_name in path.name


@pytest.mark.simulator
def test_a_recording_with_options_is_repeated(tmp_path: Path) -> None:
    path = tmp_path / "random" / "google_robot_pick_coke_can__seed4.npz"
    item = {"init_xy": [-0.25, 0.3], "orientation": "upright"}
    record(path, "pick_coke_can", {"obj_init_options": item})
    env = envs.simpler.make("pick_coke_can", resolution=None)
    (result,) = measure(env, tmp_path, task_spec("pick_coke_can"))
    assert result["object_m"] < 1e-6
    assert result["free_joints_rad"] < 1e-6
    assert min(v for k, v in result.items() if k.startswith("rule_")) == 1.0
    # Asked for without its options the same recording is of another episode.
    meta = json.loads(str(np.load(path)["meta_json"])) | {"options": {}}
    arrays = dict(np.load(path)) | {"meta_json": json.dumps(meta)}
    np.savez(path, **arrays)
    assert measure(env, tmp_path, task_spec("pick_coke_can"))[0]["object_m"] > 0.01
    env.close()
    assert read_episode(path).advances == set()
