"""What needs no simulator: random draws, success rule, camera, names, overlay, asset folders."""

import numpy as np
import pytest

from envs.errors import UserError
from envs.simpler.assets import COLORINGS, asset_pack
from envs.simpler.controller import plan_path, rotation_vector_to_quaternion
from envs.simpler.google_robot import camera_intrinsics
from envs.simpler.parity import angle_between
from envs.simpler.placement import draw_placement
from envs.simpler.registry import task_spec
from envs.simpler.rendering import Overlay
from envs.simpler.success import DrawerState, PlaceInDrawer

POSES = ("a0", "b0", "c0")


def test_reset_draws_are_the_originals() -> None:
    # Read from the original's own reset with this seed.
    placement = draw_placement(1, POSES)
    assert placement.robot_pose == "b0"
    assert placement.coloring == "recolor_cabinet_visual_matching_1"
    assert placement.object_xy == pytest.approx((-0.0791489, 0.07203245), abs=1e-7)


def test_a_fixed_name_changes_no_other_draw() -> None:
    free, fixed = draw_placement(5, POSES), draw_placement(5, POSES, robot_pose="c0")
    assert fixed.robot_pose == "c0"
    assert (fixed.coloring, fixed.object_xy) == (free.coloring, free.object_xy)


@pytest.mark.parametrize("wrong", [{"robot_pose": "a9"}, {"coloring": "red"}])
def test_unknown_placement_names_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UserError, match="Known"):
        draw_placement(0, POSES, **wrong)


def test_every_pose_and_coloring_is_drawn() -> None:
    drawn = [draw_placement(seed, POSES) for seed in range(200)]
    assert {p.robot_pose for p in drawn} == set(POSES)
    assert {p.coloring for p in drawn} == set(COLORINGS)


def test_second_subtask_is_forced_in_the_101st_step() -> None:
    rule = PlaceInDrawer(forced_step=100)
    for _ in range(100):
        rule.before_step()
        assert rule.subtask == 0
    rule.before_step()
    assert rule.subtask == 1


def test_success_needs_subtask_open_drawer_and_a_contact() -> None:
    rule = PlaceInDrawer(forced_step=100)
    assert not rule.update(DrawerState(0.2, 1e-3))
    rule.advance()
    # The contact of the first subtask counts.
    assert rule.update(DrawerState(0.2, 0.0))
    assert not rule.update(DrawerState(0.04, 0.0))
    assert rule.success_ever
    assert not rule.success


def test_contact_must_exceed_the_threshold() -> None:
    rule = PlaceInDrawer(forced_step=100, subtask=1)
    assert not rule.update(DrawerState(0.2, 1e-6))
    assert rule.update(DrawerState(0.2, 2e-6))


@pytest.mark.parametrize(
    ("change", "strict"),
    [({}, True), ({"inside": False}, False), ({"released": False}, False), ({"speed": 0.2}, False)],
)
def test_strict_success_asks_for_rest_inside(change: dict[str, float], strict: bool) -> None:
    rule = PlaceInDrawer(forced_step=100, subtask=1)
    state = {"drawer": 0.16, "contact_impulse": 1.0, "inside": True, "released": True, "speed": 0.0}
    rule.update(DrawerState(**(state | change)))
    assert rule.success
    assert rule.success_strict is strict


def test_strict_success_asks_for_a_drawer_once_opened() -> None:
    rule = PlaceInDrawer(forced_step=100, subtask=1)
    rule.update(DrawerState(0.10, 1.0, inside=True, released=True, speed=0.0))
    assert rule.success
    assert not rule.success_strict


def test_camera_keeps_its_field_of_view() -> None:
    full, small = camera_intrinsics(640, 512), camera_intrinsics(96, 96)
    scale = np.array([96 / 640, 96 / 512])
    assert full[0, 0] == full[1, 1] == 425.0
    np.testing.assert_allclose(np.diag(small)[:2], np.diag(full)[:2] * scale)
    np.testing.assert_allclose(small[:2, 2], full[:2, 2] * scale)


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


def test_tasks_are_found_by_both_names() -> None:
    spec = task_spec("open_and_place")
    assert task_spec("google_robot_place_apple_in_closed_top_drawer") is spec
    with pytest.raises(UserError, match="Did you mean 'open_and_place'"):
        task_spec("open_and_plac")


def test_overlay_keeps_the_foreground() -> None:
    photograph = np.full((4, 4, 3), 200, np.uint8)
    image = np.zeros((2, 3, 3), np.uint8)
    segmentation = np.array([[1, 0, 0], [0, 7, 0]], np.int16)
    shown = Overlay(photograph, 3, 2).apply(image, segmentation, [1, 7])
    assert shown[0, 0].tolist() == shown[1, 1].tolist() == [0, 0, 0]
    assert shown[0, 1].tolist() == [200, 200, 200]


def test_asset_packs_say_what_is_missing(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("SIMPLER_ASSETS", raising=False)
    with pytest.raises(UserError, match="SIMPLER_ASSETS"):
        asset_pack("simpler")
    with pytest.raises(UserError, match="does not exist"):
        asset_pack("simpler", tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"info_pick_custom_baked_tex_v1\.json is missing"):
        asset_pack("simpler", tmp_path)
    with pytest.raises(UserError, match="Did you mean 'primitives'"):
        asset_pack("primitive")
