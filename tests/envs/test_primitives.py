"""The primitive asset pack: the same mechanism as SIMPLER's files, in simpler shapes."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from envs.simpler.primitives import cabinet, files, google_robot, objects, shapes
from envs.simpler.primitives.urdf import Joint, Link, Shape, render
from experiment.errors import UserError
from tests.envs.primitive_scenes import (
    add,
    corners,
    load,
    new_scene,
    original_files,
    same_mechanism,
    without_visuals,
)

ROBOT_FILE = (
    "mani_skill2_real2sim/assets/descriptions/googlerobot_description/"
    "google_robot_meta_sim_fix_wheel_fix_fingertip.urdf"
)
CABINET_FILE = "data/custom/mk_station_recolor.urdf"


@pytest.fixture(scope="module")
def original() -> Path:
    return original_files()


# ---- the text ---------------------------------------------------------------------------------


def test_fixed_joints_have_neither_axis_nor_limit() -> None:
    robot = ElementTree.fromstring(google_robot.urdf())
    fixed = [joint for joint in robot.iter("joint") if joint.attrib["type"] == "fixed"]
    assert len(fixed) == 25
    assert all(joint.find("axis") is None and joint.find("limit") is None for joint in fixed)


@pytest.mark.parametrize("text", [google_robot.urdf(), cabinet.urdf(), cabinet.urdf(True)])
def test_links_make_one_tree(text: str) -> None:
    robot = ElementTree.fromstring(text)
    names = [link.attrib["name"] for link in robot.iter("link")]
    children = [joint.find("child").attrib["link"] for joint in robot.iter("joint")]  # type: ignore[union-attr]
    parents = {joint.find("parent").attrib["link"] for joint in robot.iter("joint")}  # type: ignore[union-attr]
    assert len(set(names)) == len(names)
    assert len(set(children)) == len(children) == len(names) - 1
    assert parents <= set(names)


def test_inertias_are_physical() -> None:
    for link in google_robot.LINKS:
        if link.inertial is None:
            continue
        xx, xy, xz, yy, yz, zz = link.inertial.tensor
        moments = np.linalg.eigvalsh(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
        assert link.inertial.mass > 0, link.name
        assert moments.min() > 0, link.name


def test_handles_do_not_collide_and_panels_do() -> None:
    assert not any(shape.solid for shape in cabinet.HANDLE)
    drawer = next(link for link in cabinet.links() if link.name == "top_drawer")
    solid = [shape for shape in drawer.shapes if shape.solid]
    assert solid[2] is cabinet.BOTTOM_PANEL


def test_every_coloring_differs_in_color_alone() -> None:
    texts = {coloring: google_robot.urdf(coloring) for coloring in google_robot.PALETTES}
    assert len(set(texts.values())) == 4
    assert len({re.sub(r'rgba="[^"]*"', "", text) for text in texts.values()}) == 1


def test_nothing_is_drawn_without_a_palette() -> None:
    for text in (google_robot.urdf(drawn=False), cabinet.urdf(drawn=False)):
        assert "<visual>" not in text
        assert "<collision>" in text


def test_render_writes_numbers_that_read_back_exactly() -> None:
    value = 4.3374896e-03 / 3
    links = (Link("a"), Link("b", shapes=(Shape((value,), (value, 0, 0)),)))
    text = render("r", links, (Joint("j", "a", "b", xyz=(value, 0, 0)),), None)
    robot = ElementTree.fromstring(text)
    origins = [origin.attrib["xyz"].split()[0] for origin in robot.iter("origin")]
    assert [float(text) for text in origins] == [value, value]
    assert float(next(robot.iter("sphere")).attrib["radius"]) == value


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="recolor_tabletop_visual_matching_1"):
        files.robot_urdf("recolor_tabletop_visual_matching_11")
    with pytest.raises(UserError, match="baked_apple_v2"):
        objects.model_of("baked_apple_v3")


def test_files_are_named_by_content_and_appear_whole(tmp_path: Path) -> None:
    first = files.robot_urdf(folder=tmp_path)
    changed = first.stat().st_mtime_ns
    assert files.robot_urdf(folder=tmp_path) == first
    assert first.stat().st_mtime_ns == changed
    assert files.robot_urdf(drawn=False, folder=tmp_path) != first
    assert first.read_text() == google_robot.urdf()
    assert len(list(tmp_path.iterdir())) == 2


# ---- in the simulator -------------------------------------------------------------------------


def opened_by(path: Path, force: float, friction: float) -> np.ndarray:
    """Positions (3,) of the drawers after half a second of `force` (N) on each joint."""
    scene, articulation = load(path)
    scene.set_timestep(1 / 500)
    for joint in articulation.active_joints:
        joint.set_friction(friction)
    for _ in range(250):
        articulation.set_qf(np.full(articulation.dof, force))
        scene.step()
    return np.array(articulation.qpos)


@pytest.mark.simulator
def test_separate_panels_leave_the_drawers_as_they_were(tmp_path: Path) -> None:
    together = files.cabinet_urdf(drawn=False, folder=tmp_path)
    apart = files.cabinet_urdf(separate_panels=True, drawn=False, folder=tmp_path)
    free = opened_by(together, 20.0, friction=0.0)
    # Half the acceleration of the mass that the original's boxes have, times the time squared.
    np.testing.assert_allclose(free, 0.5 * 20.0 / 11.3765 * 0.5**2, rtol=0.02)
    np.testing.assert_allclose(opened_by(apart, 20.0, friction=0.0), free, rtol=1e-4)
    # The engine's joint friction grows with the joint's load, which it splits over the links:
    # with the task's friction the drawer opens a little less far, so the panels stay optional.
    rubbed = opened_by(together, 20.0, friction=0.05)
    np.testing.assert_allclose(opened_by(apart, 20.0, friction=0.05), rubbed, rtol=0.03)


@pytest.mark.simulator
def test_apple_has_the_originals_mass() -> None:
    body = add(new_scene(), "baked_apple_v2")
    assert body.mass == pytest.approx(0.21444590389728546, rel=1e-6)
    assert shapes.APPLE_RADIUS == 0.0375


@pytest.mark.simulator
@pytest.mark.parametrize("which", ["robot", "cabinet"])
def test_mechanism_equals_the_original(which: str, original: Path, tmp_path: Path) -> None:
    if which == "robot":
        ours, theirs = files.robot_urdf(drawn=False, folder=tmp_path), original / ROBOT_FILE
    else:
        ours, theirs = (
            files.cabinet_urdf(drawn=False, folder=tmp_path),
            original / CABINET_FILE,
        )
    scene, mine = load(ours)
    other_scene, reference = load(without_visuals(theirs, tmp_path))
    assert scene is not other_scene
    # The left nail's hull is another file than the right one's: 2e-6 kg.
    same_mechanism(mine, reference, but="nail")


@pytest.mark.simulator
def test_shapes_fit_the_originals_hulls(original: Path, tmp_path: Path) -> None:
    scene, mine = load(files.robot_urdf(drawn=False, folder=tmp_path))
    other_scene, reference = load(without_visuals(original / ROBOT_FILE, tmp_path))
    assert scene is not other_scene
    hulls = {link.name: corners(link) for link in reference.links if link.collision_shapes}
    boxes = {link.name: corners(link) for link in mine.links if link.collision_shapes}
    assert set(boxes) == set(hulls)
    for name, hull in hulls.items():
        outside = np.maximum(hull[0] - boxes[name][0], boxes[name][1] - hull[1])
        assert outside.max() < 0.002, (name, outside)
        if name not in ("link_base", "link_head_pan", "link_head_tilt"):
            inside = np.abs(hull - boxes[name])
            assert inside.max() < 0.012, (name, inside)
    head = boxes["link_head_tilt"]
    assert head[1, 1] - head[0, 1] <= 0.15 + 1e-6
