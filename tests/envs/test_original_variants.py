"""Variants in the original's words, and the original itself where it is installed."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs.original
import envs.simpler
from envs.original.names import original_id, settings
from envs.original.recordings import Golden, goldens_of, read_episode
from envs.simpler.tasks.registry import task_spec
from envs.simpler.tasks.variants import variant_of, variants_of

TASKS = ("pick_standing_coke_can", "move_near", "open_top_drawer", "open_and_place")


def settings_of(task: str, variant: str) -> dict[str, Any]:
    spec = task_spec(task)
    return settings(spec, variant_of(spec, variant))


@pytest.mark.parametrize("task", TASKS)
def test_every_variant_is_a_message_with_its_stage(task: str) -> None:
    for name in variants_of(task)[1:]:
        made = json.loads(json.dumps(settings_of(task, name)))
        assert made["scene_name"] == variant_of(task_spec(task), name).stage
        assert "prepackaged_config" not in made


def test_variants_are_made_as_in_the_scripts_of_simplerenv() -> None:
    can = settings_of("pick_standing_coke_can", "lighting_darker")
    assert can["slightly_darker_lighting"]
    assert can["upright"]
    drawer = settings_of("open_top_drawer", "lighting_brighter")
    assert (drawer["light_mode"], drawer["station_name"]) == ("brighter", "mk_station")
    assert settings_of("close_drawer", "cabinet_2")["station_name"] == "mk_station3"
    assert settings_of("open_and_place", "base")["model_ids"] == ["apple"]
    assert settings_of("move_near", "no_distractors")["no_distractor"]
    assert original_id(task_spec("move_near"), "table_1") == "MoveNearGoogleInScene-v0"
    assert len(settings_of("pick_coke_can", "distractors_more")["distractor_model_ids"]) == 6


# ---- where the original is there ---------------------------------------------------------------


@pytest.fixture(scope="module")
def python() -> str:
    named = os.environ.get(envs.original.PYTHON_VARIABLE)
    if not named:
        pytest.skip(f"{envs.original.PYTHON_VARIABLE} is not set; it names the original's python")
    return named


def recorded_objects(golden: Golden, rows: Any, seen: dict[str, Any]) -> None:
    for name, row in zip(golden.meta["obj_names"], rows, strict=True):
        if name in seen["objects"]:  # the sink is no object of the task
            np.testing.assert_array_equal(seen["objects"][name]["pose"], row)


@pytest.mark.simulator
@pytest.mark.parametrize(
    "task", ["open_and_place", "close_middle_drawer", "pick_horizontal_coke_can", "move_near_v1"]
)
def test_the_original_repeats_its_recordings(
    python: str, simpler_assets: Path, simpler_goldens: Path, task: str
) -> None:
    golden = read_episode(goldens_of(simpler_goldens, task_spec(task).simpler_name, "random")[0])
    env = envs.original.make(task, python)
    _, info = env.reset(seed=golden.meta["seed"])
    if golden.meta["scene_substituted"] and not info["stand_ins"]:
        env.close()
        pytest.skip("recorded on a box; here the stage's own file is there")
    seen, arrays = info["privileged"], golden.arrays
    assert info["instruction"] == golden.meta["instruction"]
    assert seen["qpos"] == golden.joints("reset_qpos")
    np.testing.assert_array_equal(seen["base_pose"], arrays["reset_base_pose"])
    np.testing.assert_array_equal(seen["gripper_pose_world"], arrays["reset_tcp_world"])
    recorded_objects(golden, arrays.get("reset_obj_poses", ()), seen)
    for step in range(5):
        *_, info = env.step(arrays["action"][step])
        seen = info["privileged"]
        assert seen["qpos"] == golden.joints("qpos", step)
        assert info["success"] == bool(arrays["success"][step])
        recorded_objects(golden, arrays["obj_poses"][step] if "obj_poses" in arrays else (), seen)
    env.close()


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("task", "variant"),
    [
        ("pick_coke_can", "camera_1"),
        ("move_near", "no_distractors"),
        ("open_drawer", "cabinet_1"),
        ("place_in_closed_drawer", "base"),
    ],
)
def test_variants_start_in_both_simulators_alike(
    python: str, simpler_assets: Path, task: str, variant: str
) -> None:
    def start(env: Any) -> dict[str, Any]:
        _, info = env.reset(seed=3)
        env.close()
        return info

    theirs = start(envs.original.make(task, python, variant=variant))
    root = str(simpler_assets)
    ours = start(
        envs.simpler.make(task, assets="simpler", asset_root=root, resolution=None, variant=variant)
    )
    for name in ("instruction", "variant", "robot_pose", "coloring", "layout", "object"):
        assert theirs[name] == ours[name]
    there, here = theirs["privileged"], ours["privileged"]
    assert set(there) == set(here)
    assert there["qpos"] == pytest.approx(here["qpos"], abs=1e-6)
    np.testing.assert_allclose(there["base_pose"], here["base_pose"], atol=1e-6)
    assert list(there["objects"]) == list(here["objects"])
    for name, item in there["objects"].items():
        np.testing.assert_allclose(item["pose"], here["objects"][name]["pose"], atol=1e-4)
