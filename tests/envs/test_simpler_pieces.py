"""Small parts of the SIMPLER environments that need no simulator."""

from pathlib import Path

import numpy as np
import pytest

from envs.original.parity import angle_between
from envs.simpler.assets import pieces
from envs.simpler.assets.catalogues import CATALOGUES
from envs.simpler.assets.choice import asset_pack
from envs.simpler.assets.rests import PRIMITIVES, TABLE, key, rests
from envs.simpler.robots import google_robot, widowx
from envs.simpler.robots.camera import RobotCamera
from envs.simpler.robots.joint_path import plan_path, rotation_vector_to_quaternion
from envs.simpler.scenes.rendering import Overlay
from envs.simpler.tasks.layouts import Layout
from envs.simpler.tasks.registry import TASKS, task_spec
from envs.simpler.tasks.start import draw_start
from envs.simpler.tasks.variants import variant_of, variants_of
from experiment.errors import UserError


@pytest.mark.parametrize("camera", [google_robot.HEAD_CAMERA, widowx.CAMERA])
def test_cameras_keep_their_field_of_view(camera: RobotCamera) -> None:
    size = np.array(camera.size)
    full, small = camera.intrinsics(*size), camera.intrinsics(96, 96)
    assert full[0, 0] == full[1, 1] == camera.focal
    np.testing.assert_allclose(np.diag(small)[:2], np.diag(full)[:2] * 96 / size)
    np.testing.assert_allclose(small[:2, 2], full[:2, 2] * 96 / size)


def test_planned_path_reaches_the_target_within_limits() -> None:
    start, target = np.zeros(3), np.array([0.3, -0.1, 0.0])
    limits = (1.5, 2.0, 50.0)
    path, velocity = plan_path(start, np.zeros(3), target, limits, 600, 1 / 513)
    np.testing.assert_allclose(path[0], start)
    np.testing.assert_allclose(path[-1], target, atol=1e-9)
    np.testing.assert_allclose(velocity[-1], 0.0, atol=1e-9)
    assert np.abs(velocity).max() <= 1.5 + 1e-9
    assert np.abs(np.diff(velocity, axis=0)).max() * 513 <= 2.0 + 1e-6


def test_rotation_vector_to_quaternion() -> None:
    quarter = rotation_vector_to_quaternion(np.array([0.0, 0.0, np.pi / 2]))
    np.testing.assert_allclose(quarter, [np.sqrt(0.5), 0, 0, np.sqrt(0.5)])
    np.testing.assert_allclose(rotation_vector_to_quaternion(np.zeros(3)), [1, 0, 0, 0])
    assert angle_between(quarter, np.array([1.0, 0, 0, 0])) == pytest.approx(np.pi / 2)
    assert angle_between(quarter, -quarter) == pytest.approx(0.0, abs=1e-12)


def test_overlay_keeps_the_foreground() -> None:
    photograph = np.full((4, 4, 3), 200, np.uint8)
    image = np.zeros((2, 3, 3), np.uint8)
    segmentation = np.array([[1, 0, 0], [0, 7, 0]], np.int16)
    shown = Overlay(photograph, 3, 2).apply(image, segmentation, [1, 7])
    assert shown[0, 0].tolist() == shown[1, 1].tolist() == [0, 0, 0]
    assert shown[0, 1].tolist() == [200, 200, 200]


def test_asset_packs_say_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIMPLER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "empty"))
    with pytest.raises(UserError, match="SIMPLER_ASSETS"):
        asset_pack("simpler")
    with pytest.raises(UserError, match="does not exist"):
        asset_pack("simpler", tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"info_pick_custom_v0\.json is missing"):
        asset_pack("simpler", tmp_path)
    with pytest.raises(UserError, match="Did you mean 'primitives'"):
        asset_pack("primitive")


def test_resting_places_move_with_the_drop() -> None:
    spec, upright = task_spec("open_and_place"), (1.0, 0.0, 0.0, 0.0)

    def apple(model: str, x: float, y: float) -> Layout:
        return Layout((model,), ((x, y),), (upright,), source=0)

    for table in (TABLE, PRIMITIVES):
        here = rests(spec, apple("baked_apple_v2", 0.0, 0.0), table)
        there = rests(spec, apple("baked_apple_v2", 0.1, -0.2), table)
        assert here is not None
        assert there is not None
        np.testing.assert_allclose(np.subtract(there[0], here[0])[:2], (0.1, -0.2))
        assert here[0][2:] == there[0][2:]
        assert here[0][2] == pytest.approx(0.918, abs=2e-3)
        assert rests(spec, apple("teapot", 0.0, 0.0), table) is None


@pytest.mark.parametrize("task", list(TASKS))
def test_both_packs_know_where_the_objects_of_every_start_rest(task: str) -> None:
    spec = TASKS[task]
    for variant in variants_of(task):
        if "distractors_" in variant or spec.family == "drawer":
            continue
        for seed in range(30):
            chosen = variant_of(spec, variant)
            models = CATALOGUES[chosen.catalogue or spec.catalogue]
            layout = draw_start(seed, spec, chosen, {}, models).layout
            for table in (TABLE, PRIMITIVES):
                found = rests(spec, layout, table)
                assert found is not None, (task, variant, layout)
                assert len(found) == len(layout.models)


def test_minus_zero_is_zero_in_the_name_of_a_drop() -> None:
    assert key("table", "a", (1.0, -0.0, 1e-9, -1e-9)) == key("table", "a", (1.0, 0.0, 0.0, 0.0))


TWO_TRIANGLES = """\
v 0 0 0
v 1 0 0
v 0 1 0
v 5 0 0
v 6 0 0
v 5 1 0
v 0 0 0
v 0 0 1
o both
f 1 2 3
f 4//1 5//1 6//1
f 7 8 2
"""


def test_meshes_come_apart_where_they_do_not_hang_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mesh = tmp_path / "spoon" / "collision.obj"
    mesh.parent.mkdir()
    mesh.write_text(TWO_TRIANGLES)
    apart = pieces.separated(mesh)
    lines = apart.read_text().splitlines()
    assert [line for line in lines if line.startswith("o ")] == ["o piece_0", "o piece_1"]
    # The third face shares a position, if not an index, with the first.
    assert lines.index("f 7 8 2") < lines.index("o piece_1")
    assert pieces.separated(apart) == apart


@pytest.mark.parametrize("text", ["", "v 0 0 0\nf 1 2 3\n", "v 0 0 0\nf one\n"])
def test_a_mesh_that_is_cut_short_is_named(tmp_path: Path, text: str) -> None:
    mesh = tmp_path / "collision.obj"
    mesh.write_text(text)
    with pytest.raises(UserError, match=r"collision\.obj is not a whole mesh"):
        pieces.separated(mesh)
