"""The WidowX in primitive shapes: the original's mechanism, and fingers that hold."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from envs.simpler.primitives import files, widowx
from tests.envs.primitive_scenes import (
    add,
    corners,
    load,
    original_files,
    run,
    same_mechanism,
    without_visuals,
)

FILE = "mani_skill2_real2sim/assets/descriptions/widowx_description/wx250s.urdf"
FINGERS = ("left_finger_link", "right_finger_link")
# What the tasks' agent sets, lest the bar push on the fingers and they on each other's bar.
GROUPS = {"left_finger_link": 0b01, "right_finger_link": 0b10, "gripper_bar_link": 0b11}


def test_links_make_one_tree_without_rotors_on_fixed_joints() -> None:
    robot = ElementTree.fromstring(widowx.urdf())
    joints = list(robot.iter("joint"))
    children = [joint.find("child").attrib["link"] for joint in joints]  # type: ignore[union-attr]
    names = {link.attrib["name"] for link in robot.iter("link")}
    assert len(names) == 14
    assert set(children) == names - {"base_link"}
    assert len(children) == len(set(children))
    fixed = [joint for joint in joints if joint.attrib["type"] == "fixed"]
    assert len(fixed) == 5
    assert all(joint.find("axis") is None and joint.find("limit") is None for joint in fixed)


def test_pads_face_each_other_and_are_mirrored() -> None:
    links = {link.name: link for link in widowx.LINKS}
    for left, right in zip(*(links[name].shapes for name in FINGERS), strict=True):
        assert left.size == right.size
        np.testing.assert_allclose(np.multiply(left.xyz, (1, -1, 1)), right.xyz)
    pad = links["left_finger_link"].shapes[0]
    inner = pad.xyz[1] - pad.size[1] / 2
    others = links["left_finger_link"].shapes[1:]
    assert all(inner < shape.xyz[1] - shape.size[1] / 2 for shape in others)
    # Shut, the pads leave a gap; open, a 3 cm cube fits between them.
    assert 0.0 < 2 * (0.015 + inner) < 0.012
    assert 2 * (0.037 + inner) > 0.045


def test_nothing_is_drawn_unless_asked(tmp_path: Path) -> None:
    plain = files.widowx_urdf(drawn=False, folder=tmp_path).read_text()
    assert "<visual>" not in plain
    assert plain.count("<collision>") > 30
    drawn = files.widowx_urdf(folder=tmp_path).read_text()
    assert drawn.count("<visual>") > 30


@pytest.mark.simulator
def test_mechanism_equals_the_original(tmp_path: Path) -> None:
    first, mine = load(files.widowx_urdf(drawn=False, folder=tmp_path))
    second, reference = load(without_visuals(original_files() / FILE, tmp_path))
    assert first is not second
    same_mechanism(mine, reference)


@pytest.mark.simulator
def test_shapes_fit_the_originals_hulls(tmp_path: Path) -> None:
    first, mine = load(files.widowx_urdf(drawn=False, folder=tmp_path))
    second, reference = load(without_visuals(original_files() / FILE, tmp_path))
    assert first is not second
    hulls = {link.name: corners(link) for link in reference.links if link.collision_shapes}
    shapes = {link.name: corners(link) for link in mine.links if link.collision_shapes}
    del hulls["gripper_prop_link"]  # within the bar's
    assert set(shapes) == set(hulls)
    for name, hull in hulls.items():
        outside = np.maximum(hull[0] - shapes[name][0], shapes[name][1] - hull[1])
        assert outside.max() < 0.0005, (name, outside)
        near = 0.0015 if name in FINGERS else 0.007
        assert np.abs(hull - shapes[name]).max() < near, name


def grouped(robot: object) -> None:
    for link in robot.links:  # type: ignore[attr-defined]
        for shape in link.collision_shapes:
            if link.name in GROUPS:
                shape.set_collision_groups([1, 1, GROUPS[link.name], 0])


@pytest.mark.simulator
@pytest.mark.parametrize("start", ["START_QPOS", "SINK_START_QPOS"])
def test_nothing_touches_itself_where_the_tasks_start(start: str) -> None:
    from envs.simpler.robots import widowx as agent

    scene, robot = load(files.widowx_urdf(drawn=False))
    grouped(robot)
    qpos = getattr(agent, start)
    robot.qpos = [qpos[joint.name] for joint in robot.active_joints]
    for link in robot.links:
        link.disable_gravity = True
    scene.step()
    touching = [
        {body.entity.name for body in contact.bodies}
        for contact in scene.physx_system.get_contacts()
        if any(point.separation < 0 for point in contact.points)
    ]
    assert touching == []


@pytest.mark.simulator
@pytest.mark.parametrize(
    ("model", "along"),
    [
        ("baked_green_cube_3cm", 0.0),
        ("bridge_spoon_generated_modified", 0.0),
        ("bridge_spoon_generated_modified", -0.03),
        ("bridge_carrot_generated_modified", 0.0),
        ("eggplant", 0.0),
    ],
)
def test_fingers_hold_through_swings(model: str, along: float) -> None:
    """Closed on an object with the hand down, then swung by waist, shoulder and wrist."""
    import sapien

    from envs.simpler.robots.widowx import ARM_DAMPING, ARM_STIFFNESS, SHUT

    scene, robot = load(files.widowx_urdf(drawn=False))
    grouped(robot)
    qpos = np.array([0.0, 0.0, 0.0, 0.0, np.pi / 2, 0.0, 0.037, 0.037])
    robot.qpos = qpos
    pad = sapien.physx.PhysxMaterial(2.0, 2.0, 0.0)
    for link in robot.links:
        link.disable_gravity = True
        for shape in link.collision_shapes if link.name in FINGERS else ():
            shape.physical_material = pad
    gains = zip([*ARM_STIFFNESS, 1000, 1000], [*ARM_DAMPING, 200, 200], strict=True)
    for joint, (stiffness, damping), at in zip(
        robot.active_joints, gains, [*qpos[:6], SHUT, SHUT], strict=True
    ):
        joint.set_drive_properties(stiffness, damping, 60.0 if "finger" in joint.name else 200.0)
        joint.set_drive_target(float(at))
    hand = next(link for link in robot.links if link.name == "ee_gripper_link")
    body = add(scene, model)
    body.disable_gravity = True
    body.entity_pose = sapien.Pose(np.add(hand.entity_pose.p, (along, 0.0, 0.0)))
    run(scene, 0.5)
    body.disable_gravity = False
    held = hand.entity_pose.inv() * body.entity_pose
    for joint, swing in ((0, 0.5), (1, -0.4), (0, -0.5), (5, 1.0)):
        robot.active_joints[joint].set_drive_target(float(qpos[joint] + swing))
        run(scene, 0.6)
    now = hand.entity_pose.inv() * body.entity_pose
    assert np.linalg.norm(now.p - held.p) < 0.003
    assert 2 * np.degrees(np.arccos(min(1.0, abs(float(np.dot(now.q, held.q)))))) < 5.0
    assert (robot.qpos[-2:] > 0.0165).all()  # closed on something
