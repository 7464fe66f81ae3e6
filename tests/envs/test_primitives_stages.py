"""Cabinets by name, and the plain boxes that stand in for SIMPLER's stages."""

import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from envs.simpler.primitives import cabinet, files, stages
from envs.simpler.tasks.registry import TASKS
from envs.simpler.tasks.variants import variant_of, variants_of
from experiment.errors import UserError
from tests.envs.primitive_scenes import original_files

GOOGLE, BRIDGE = "google_pick_coke_can_1_v4", "bridge_table_1_v1"
RECORDINGS = {
    GOOGLE: "google_robot_pick_standing_coke_can__seed0",
    BRIDGE: "widowx_stack_cube__seed0",
    "bridge_table_1_v2": "widowx_put_eggplant_in_basket__seed0",
}


def variants() -> list[tuple[str, str, str]]:
    """Family, stage and station of every variant of every task."""
    found = []
    for spec in TASKS.values():
        for name in variants_of(spec.name):
            variant = variant_of(spec, name)
            found.append((spec.family, variant.stage, variant.station))
    return found


def test_every_variant_has_its_stage_and_cabinet() -> None:
    names = {stage for _, stage, _ in variants() if stage}
    assert len(names) >= 10
    for stage in names:
        assert stages.stage_boxes(stage)
    assert {station for _, _, station in variants()} <= set(cabinet.STATIONS)


def test_objects_stand_on_tables_and_the_cabinet_stands_alone() -> None:
    for family, stage, _ in variants():
        if not stage:
            continue
        solid = [box for box in stages.stage_boxes(stage) if box.collides]
        if family in ("drawer", "place"):
            assert solid == []
        else:
            (table,) = solid
            top = table.position[2] + table.half_size[2]
            assert top == pytest.approx(0.87 if stage.startswith("bridge") else 0.882)


def test_rooms_leave_room() -> None:
    """Walls are only drawn, but must not cut through a table, the cabinet or the robot."""
    for name in {stage for _, stage, _ in variants() if stage}:
        for box in stages.stage_boxes(name):
            low = np.subtract(box.position, box.half_size)
            high = np.add(box.position, box.half_size)
            inside = (low < (1.2, 0.6, 1.4)).all() and (high > (-0.62, -0.5, 0.0)).all()
            assert not inside or box.collides, (name, box)


def test_backgrounds_differ_from_the_base() -> None:
    plain = stages.stage_boxes(GOOGLE)
    for suffix in ("_alt_background", "_alt_background_2"):
        other = stages.stage_boxes(GOOGLE + suffix)
        assert other[0] == plain[0]
        assert [box.colour for box in other[1:]] != [box.colour for box in plain[1:]]


def test_unknown_stages_and_stations_are_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=BRIDGE):
        stages.stage_boxes("bridge_table_1_v")
    with pytest.raises(UserError, match="mk_station2"):
        files.cabinet_urdf(station="mk_station22")


@pytest.mark.parametrize("stage", RECORDINGS)
def test_tables_are_those_of_the_recordings(stage: str) -> None:
    folder = os.environ.get("SIMPLER_GOLDENS")
    if not folder:
        pytest.skip("SIMPLER_GOLDENS does not name the recordings of the original")
    with np.load(Path(folder) / "random" / f"{RECORDINGS[stage]}.npz") as recording:
        wanted = json.loads(str(recording["meta_json"]))["scene_substituted"]
    (table,) = (box for box in stages.stage_boxes(stage) if box.collides)
    middle = np.add(wanted["box_local_p"], wanted["arena_p"])
    np.testing.assert_allclose(table.position, middle, atol=1e-6)
    np.testing.assert_allclose(table.half_size, wanted["box_half_size"], atol=1e-6)


def test_stations_differ_in_colour_alone() -> None:
    texts = {station: cabinet.urdf(station=station) for station in cabinet.STATIONS}
    assert len(set(texts.values())) == 4
    assert len({re.sub(r'rgba="[^"]*"', "", text) for text in texts.values()}) == 1


@pytest.mark.parametrize("station", ["mk_station", "mk_station2"])
def test_stations_have_the_originals_colours(station: str) -> None:
    path = original_files() / f"data/custom/{station}.urdf"
    colours = {
        material.attrib["name"]: material.find("color").attrib["rgba"]  # type: ignore[union-attr]
        for material in ElementTree.parse(path).getroot().findall("material")
    }
    palette = cabinet.STATIONS[station]
    pairs = {"board": "gray_wooden", "inside": "white_wooden", "top": "stone", "handle": "black"}
    for ours, theirs in pairs.items():
        wanted = [float(value) for value in colours[theirs].split()[:3]]
        np.testing.assert_allclose(palette[ours], wanted, atol=1e-3)
