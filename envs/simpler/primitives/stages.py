"""Plain stand-ins for SIMPLER's stages: a table of the same place and height, or a room.

The tables are the boxes that the recordings of the original simulator were made with where its
stages were missing; nothing else collides.
"""

from dataclasses import dataclass, replace

from experiment.errors import UserError, nearest

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Box:
    """A box in the world: middle and half extents (m), linear rgb, whether it is solid."""

    position: Vector
    half_size: Vector
    colour: Vector
    collides: bool = False


WOOD, DARK_WOOD, STONE = (0.40, 0.19, 0.08), (0.06, 0.03, 0.02), (0.42, 0.40, 0.37)
GREY, CREAM = (0.30, 0.29, 0.28), (0.62, 0.55, 0.42)
BLUE, GREEN = (0.13, 0.2, 0.33), (0.2, 0.3, 0.2)

_GOOGLE_TABLE = Box((-0.295, 0.21, 0.4495), (0.315, 0.3075, 0.4325), WOOD, collides=True)
_BRIDGE_TABLE = Box((-0.34, 0.0, 0.435), (0.36, 0.45, 0.435), (0.46, 0.36, 0.24), collides=True)


def _room(wall: Vector, floor: Vector, distance: float) -> tuple[Box, ...]:
    """A floor, a wall behind the table and one on each side, `distance` metres away."""
    return (
        Box((0.0, 0.0, -0.03), (4.0, 4.0, 0.02), floor),
        Box((-distance, 0.0, 1.5), (0.02, 4.0, 1.5), wall),
        *(Box((0.0, side * 2.0, 1.5), (4.0, 0.02, 1.5), wall) for side in (-1, 1)),
    )


def _table(colour: Vector, wall: Vector, floor: Vector) -> tuple[Box, ...]:
    return (replace(_GOOGLE_TABLE, colour=colour), *_room(wall, floor, 1.4))


STAGES: dict[str, tuple[Box, ...]] = {
    "google_pick_coke_can_1_v4": _table(WOOD, GREY, DARK_WOOD),
    "google_pick_coke_can_1_v4_alt_background": _table(WOOD, CREAM, GREY),
    "google_pick_coke_can_1_v4_alt_background_2": _table(WOOD, BLUE, GREY),
    "Baked_sc1_staging_objaverse_cabinet1_h870": _table(STONE, GREY, DARK_WOOD),
    "Baked_sc1_staging_objaverse_cabinet2_h870": _table((0.05, 0.06, 0.07), GREY, DARK_WOOD),
    "bridge_table_1_v1": (_BRIDGE_TABLE, *_room(GREY, DARK_WOOD, 1.4)),
    "bridge_table_1_v2": (_BRIDGE_TABLE, *_room(GREY, DARK_WOOD, 1.4)),
    "frl_apartment_stage_simple": _room(CREAM, WOOD, 0.9),
    "modern_bedroom_no_roof": _room(BLUE, GREY, 0.9),
    "modern_office_no_roof": _room(GREEN, STONE, 0.9),
}


def stage_boxes(name: str) -> tuple[Box, ...]:
    """Boxes that stand in for a stage.

    Raises: `UserError` for a stage that has no stand-in.
    """
    if name not in STAGES:
        raise UserError(f"unknown stage {name!r}.{nearest(name, STAGES)}")
    return STAGES[name]
