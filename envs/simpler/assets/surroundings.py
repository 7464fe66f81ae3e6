"""The surroundings of a scene: a floor, a plain stand-in, or an official stage.

Source of the stages' poses: SimplerEnv's scene loading (Habitat's y-up files, turned upright).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sapien
from transforms3d.quaternions import qmult

from envs.simpler.primitives.stages import stage_boxes

FLOOR_HALF_SIZE = (10.0, 10.0, 0.017)
UPRIGHT = (0.707, 0.707, 0.0, 0.0)
# Centre of the tables of both robots in their stages.
OFFSETS = {
    "google_robot": (1.6616, 3.0337, 0.0),
    "widowx": (2.0634, 2.8313, 0.0),
    "widowx_sink": (2.0634, 2.8313, 0.0),
}
# Stages that were not made for these tasks are moved so that the cabinet fits.
MOVED: dict[str, sapien.Pose] = {
    "modern_bedroom": sapien.Pose([0.178, -2.235, 1.669], [0.007, 0.0, 0.0, -1.0]),
    "modern_office": sapien.Pose([-0.192, -1.728, 1.48], [0.709, 0.0, 0.0, -0.705]),
}
# Stages around the cabinet do not collide.
NOT_SOLID = ("frl_apartment", "modern_bedroom", "modern_office")


@dataclass(frozen=True)
class Surroundings:
    """Where the actor belongs (m), and the name of what a plain shape replaces."""

    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    stand_in: str = ""


def add_floor(builder: Any, colour: tuple[float, float, float], drawn: bool) -> Surroundings:
    """Add a floor that does not collide."""
    if drawn:
        material = sapien.render.RenderMaterial(base_color=[*colour, 1.0], roughness=0.9)
        builder.add_box_visual(half_size=list(FLOOR_HALF_SIZE), material=material)
    return Surroundings(OFFSETS["google_robot"])


def add_plain_stage(builder: Any, stage: str, drawn: bool) -> Surroundings:
    """Add the boxes that stand in for a stage."""
    for box in stage_boxes(stage):
        pose = sapien.Pose(list(box.position))
        if box.collides:
            builder.add_box_collision(pose=pose, half_size=list(box.half_size))
        if drawn:
            material = sapien.render.RenderMaterial(base_color=[*box.colour, 1.0], roughness=0.9)
            builder.add_box_visual(pose=pose, half_size=list(box.half_size), material=material)
    return Surroundings(stand_in=f"stage {stage}")


def add_official_stage(builder: Any, path: Path, robot: str, drawn: bool) -> Surroundings:
    """Add an official stage, solid unless it is a room around the cabinet."""
    pose = sapien.Pose(q=list(UPRIGHT))
    for prefix, moved in MOVED.items():
        if path.stem.startswith(prefix):
            pose = sapien.Pose(moved.p, qmult(moved.q, UPRIGHT))
    if not path.stem.startswith(NOT_SOLID):
        builder.add_nonconvex_collision_from_file(str(path), pose)
    if drawn:
        builder.add_visual_from_file(str(path), pose)
    return Surroundings(OFFSETS[robot])
