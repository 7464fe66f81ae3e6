"""Loose objects in primitive shapes: numbers, masses, and where they come to rest."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transforms3d.quaternions import quat2mat

from envs.simpler.assets import rests
from envs.simpler.primitives import objects
from envs.simpler.primitives.objects import MODELS
from envs.simpler.primitives.solids import Solid, volume
from envs.simpler.tasks.layouts import move_near, put_on
from envs.simpler.tasks.registry import TASKS
from envs.simpler.tasks.variants import variant_of, variants_of
from experiment.errors import UserError
from tests.envs.primitive_scenes import add, new_scene, original_files, run

SINK_PLACE = (-0.16, 0.13, 0.88)
TABLES = {"bridge": 0.87, "cabinet": 0.882, "table": 0.882}


def needed() -> set[str]:
    """Every object that a task or one of its variants names."""
    names = {"sink"}
    for spec in TASKS.values():
        names |= set(spec.models)
        for name in variants_of(spec.name):
            variant = variant_of(spec, name)
            names |= {*variant.models, *variant.distractors}
            if spec.family == "move_near":
                catalogue = variant.catalogue or spec.catalogue
                names |= {m for i in range(spec.layouts) for m in move_near(i, catalogue).models}
    return names


# ---- numbers ----------------------------------------------------------------------------------


def test_every_object_of_every_task_is_there() -> None:
    assert needed() <= set(MODELS)


def test_unknown_objects_are_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="opened_coke_can"):
        objects.model_of("opened_coke_cans")
    with pytest.raises(UserError, match="eggplant"):
        objects.add_object(None, "egplant", None)


def test_shapes_fill_the_boxes_that_rules_read() -> None:
    """The tables are rough (a can 2 cm too tall), but no shape is far from its box."""
    for name in MODELS:
        assert min(MODELS[name].half) > 0, name
        box = 8.0 * np.prod(MODELS[name].half)
        # Solids overlap, so that a body may even have more volume than its box.
        assert 0.2 < volume(MODELS[name].solids) / box < 1.4, name


def test_prisms_weigh_less_than_the_cylinders_they_stand_for() -> None:
    assert Solid((0.01, 0.1)).volume == pytest.approx(0.99359 * np.pi * 1e-5, rel=1e-5)
    assert Solid((0.01, 0.1), round_ends=True).volume == pytest.approx(
        np.pi * 1e-4 * (0.08 + 4.0 / 3.0 * 0.01)
    )


def test_numbers_are_those_of_the_official_tables() -> None:
    """Any of them: two tables disagree on the spoon's box."""
    tables = sorted((original_files() / "data/custom").glob("info_*.json"))
    contents = [json.loads(table.read_text()) for table in tables]
    for name in MODELS:
        x, y, z = MODELS[name].half
        low, high = (0.0, 2 * z) if name == "sink" else (-z, z)
        ours = {
            "bbox": {"min": [-x, -y, low], "max": [x, y, high]},
            "scales": [1.0],
            "density": MODELS[name].density,
        }
        rows = [content[name] for content in contents if name in content]
        assert ours in rows, name


# ---- in the simulator -------------------------------------------------------------------------


@pytest.mark.simulator
def test_bodies_have_the_originals_masses() -> None:
    scene = new_scene()
    for name in MODELS:
        assert add(scene, name).mass == pytest.approx(MODELS[name].mass, rel=1e-4), name


@pytest.mark.simulator
def test_density_changes_the_mass() -> None:
    scene = new_scene()
    mass = MODELS["apple"].mass
    assert add(scene, "apple", density=200.0).mass == pytest.approx(mass / 4, rel=1e-5)
    can = add(scene, "opened_coke_can", density=1000.0)
    assert can.mass == pytest.approx(MODELS["coke_can"].mass, rel=1e-4)


@pytest.mark.simulator
def test_centres_of_mass_are_the_originals() -> None:
    import sapien

    from envs.simpler.assets.pieces import separated

    models = original_files() / "data/custom/models"
    scene = new_scene()
    for name in MODELS:
        builder = scene.create_actor_builder()
        builder.add_multiple_convex_collisions_from_file(
            str(separated(models / name / "collision.obj"))
        )
        hulls = builder.build().find_component_by_type(sapien.physx.PhysxRigidDynamicComponent)
        offset = add(scene, name).cmass_local_pose.p - hulls.cmass_local_pose.p
        if name != "sink":  # never moves
            assert np.abs(offset).max() < 0.0015, (name, offset)


def tilt(first: Any, second: Any) -> float:
    """Angle (degrees) between where two quaternions put the vertical."""
    return float(np.degrees(np.arccos(min(1.0, quat2mat(first)[2] @ quat2mat(second)[2]))))


def resting() -> list[tuple[str, str, float, list[float]]]:
    """Key, model, height of the table and the original's pose at rest of each known drop."""
    rows = json.loads(Path(rests.TABLE).read_text())
    found = []
    for key, (pose, *_) in rows.items():
        surface, model, *_ = key.split("/")
        if surface in TABLES and model in MODELS:
            found.append((key, model, TABLES[surface], pose))
    return found


@pytest.mark.simulator
def test_objects_rest_as_high_as_the_original() -> None:
    """Dropped a little above where the original rests; those that roll only keep their height."""
    import sapien

    scene, drops = new_scene(), resting()
    assert len(drops) > 60
    bodies = []
    for i, (key, model, table, pose) in enumerate(drops):
        x, y = i % 10 - 5.0, i // 10 - 5.0
        builder = scene.create_actor_builder()
        place = sapien.Pose([x, y, table - 0.1])
        builder.add_box_collision(place, half_size=[0.3, 0.3, 0.1])
        builder.build_static()
        body = add(scene, model)
        turn = [float(value) for value in key.split("/")[2].split(",")]
        body.entity_pose = sapien.Pose([x, y, pose[2] + 0.01], turn)
        bodies.append(body)
    run(scene, 1.5)
    for (key, model, _, wanted), body in zip(drops, bodies, strict=True):
        pose = body.entity_pose
        assert abs(pose.p[2] - wanted[2]) < 0.002, (key, pose.p[2] - wanted[2])
        if model in ("apple", "baked_apple_v2", "orange", "baked_orange_v2", "eggplant"):
            continue
        assert tilt(pose.q, wanted[3:]) < 9.0, key
        assert np.linalg.norm(body.linear_velocity) < 1e-3, key


@pytest.mark.simulator
@pytest.mark.parametrize("layout", [0, 7, 22])
def test_basket_and_basin_hold_what_falls_in(layout: int) -> None:
    """As the task drops them: turning about z alone for half a second, then freely."""
    import sapien

    fixed = put_on(layout, "eggplant_in_basket", ("eggplant", "dummy_sink_target_plane"))
    wanted = json.loads(Path(rests.TABLE).read_text())[rests.basket_key(layout)]
    scene = new_scene()
    sink = add(scene, "sink")
    sink.entity_pose = sapien.Pose(SINK_PLACE)
    sink.set_locked_motion_axes([True] * 6)
    bodies = [add(scene, model) for model in fixed.models]
    rows = zip(bodies, fixed.positions, fixed.quaternions, strict=True)
    for body, xy, turn in rows:
        body.entity_pose = sapien.Pose([*xy, 1.37], list(turn))
        body.set_locked_motion_axes([False, False, False, True, True, False])
    run(scene, 0.5)
    for body in bodies:
        body.set_locked_motion_axes([False] * 6)
        body.linear_velocity = body.angular_velocity = np.zeros(3)
    run(scene, 2.0)
    eggplant, board = (body.entity_pose for body in bodies)
    np.testing.assert_allclose(board.p, wanted[1][:3], atol=0.004)
    assert tilt(board.q, wanted[1][3:]) < 1.0
    assert abs(eggplant.p[2] - wanted[0][2]) < 0.003
    # Where in the basin it stops rolling is chance.
    assert np.abs(eggplant.p[:2] - (-0.13, 0.22)).max() < 0.07
    assert all(np.linalg.norm(body.linear_velocity) < 2e-3 for body in bodies)
