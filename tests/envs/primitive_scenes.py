"""What the tests of the primitives share: scenes without a renderer, and the original's files."""

import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from envs.simpler.primitives import objects


def original_files() -> Path:
    """The clone of ManiSkill2_real2sim that the user names; the test is skipped without it."""
    root = os.environ.get("SIMPLER_ASSETS")
    if not root:
        pytest.skip("SIMPLER_ASSETS does not name a clone of ManiSkill2_real2sim")
    return Path(root)


def new_scene(frequency: int = 500) -> Any:
    """An empty scene with the settings of SIMPLER's tasks."""
    import sapien

    config = sapien.physx.PhysxSceneConfig()
    config.enable_pcm, config.enable_tgs = False, True
    sapien.physx.set_scene_config(config)
    sapien.physx.set_body_config(solver_position_iterations=25, solver_velocity_iterations=1)
    sapien.physx.set_default_material(1.0, 1.0, 0.0)
    sapien.physx.set_shape_config(contact_offset=0.005)
    scene = sapien.Scene([sapien.physx.PhysxCpuSystem()])
    scene.set_timestep(1.0 / frequency)
    return scene


def load(path: Path, scene: Any = None) -> Any:
    """The scene (a new one unless given) and the articulation in it, its root fixed."""
    scene = new_scene() if scene is None else scene
    loader = scene.create_urdf_loader()
    loader.fix_root_link = True
    return scene, loader.load(str(path))


def add(scene: Any, model: str, **settings: Any) -> Any:
    """Body of a primitive object as the tasks make it."""
    import sapien

    builder = scene.create_actor_builder()
    material = sapien.physx.PhysxMaterial(0.5, 0.5, 0.0)
    objects.add_object(builder, model, material, drawn=False, **settings)
    body = builder.build().find_component_by_type(sapien.physx.PhysxRigidDynamicComponent)
    body.linear_damping, body.angular_damping = objects.model_of(model).damping
    return body


def run(scene: Any, seconds: float) -> None:
    for _ in range(round(seconds / scene.timestep)):
        scene.step()


def without_visuals(path: Path, folder: Path) -> Path:
    """A copy of an original URDF that needs no renderer, meshes named by absolute paths."""
    tree = ElementTree.parse(path)
    for link in tree.getroot().iter("link"):
        for visual in link.findall("visual"):
            link.remove(visual)
        for mesh in link.iter("mesh"):
            mesh.set("filename", str(path.parent / mesh.attrib["filename"]))
    copy = folder / path.name
    tree.write(copy)
    return copy


def corners(link: Any) -> np.ndarray:
    """Lowest and highest corner (2, 3) of a link's collision shapes in its frame."""
    import sapien

    points = []
    for shape in link.collision_shapes:
        if isinstance(shape, sapien.physx.PhysxCollisionShapeBox):
            local = np.array(np.meshgrid(*[(-h, h) for h in shape.half_size])).reshape(3, -1).T
        elif isinstance(shape, sapien.physx.PhysxCollisionShapeCylinder):
            angles = np.linspace(0, 2 * np.pi, 33)
            ring = shape.radius * np.stack([np.cos(angles), np.sin(angles)], 1)
            ends = [np.full((33, 1), s * shape.half_length) for s in (-1, 1)]
            local = np.concatenate([np.concatenate([end, ring], 1) for end in ends])
        else:
            local = shape.vertices * shape.scale
        matrix = shape.local_pose.to_transformation_matrix()
        points.append(local @ matrix[:3, :3].T + matrix[:3, 3])
    stacked = np.concatenate(points)
    return np.stack([stacked.min(0), stacked.max(0)])


def tensor(link: Any) -> np.ndarray:
    """Inertia (3, 3) of a link about its centre of mass, in the link's axes."""
    turn = link.cmass_local_pose.to_transformation_matrix()[:3, :3]
    return turn @ np.diag(link.inertia) @ turn.T


def same_mechanism(mine: Any, reference: Any, but: str = "nothing") -> None:
    """Assert equal joints, limits, frames and inertias; links with `but` in their name may weigh
    a little else."""
    names = [joint.name for joint in reference.active_joints]
    assert [joint.name for joint in mine.active_joints] == names
    np.testing.assert_array_equal(mine.qlimits, reference.qlimits)
    links = {link.name: link for link in mine.links}
    assert set(links) == {link.name for link in reference.links}
    for wanted in reference.links:
        link = links[wanted.name]
        near = 3e-6 if but in wanted.name else 0.0
        assert link.mass == pytest.approx(wanted.mass, rel=1e-5, abs=near), wanted.name
        if but in wanted.name:
            continue
        scale = wanted.inertia.max()
        np.testing.assert_allclose(
            tensor(link), tensor(wanted), atol=1e-3 * scale, err_msg=wanted.name
        )
        np.testing.assert_allclose(link.cmass_local_pose.p, wanted.cmass_local_pose.p, atol=1e-6)
    generator = np.random.default_rng(0)
    for _ in range(3):
        low, high = reference.qlimits.T
        qpos = generator.uniform(low, high)
        mine.qpos, reference.qpos = qpos, qpos
        for wanted in reference.links:
            pose, wanted_pose = links[wanted.name].entity_pose, wanted.entity_pose
            np.testing.assert_allclose(pose.p, wanted_pose.p, atol=1e-5, err_msg=wanted.name)
            assert abs(np.dot(pose.q, wanted_pose.q)) > 1 - 1e-6, wanted.name
