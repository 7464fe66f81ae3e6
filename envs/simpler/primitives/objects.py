"""Every loose object of SIMPLER's tasks: its shapes, its mass, its numbers in SIMPLER's tables.

Bounding boxes and densities are those of `data/custom/info_*.json` (ManiSkill2_real2sim,
commit ef7a4d4), which success rules read; masses are what the original's hulls weigh there.
"""

from dataclasses import dataclass, replace
from typing import Any

from envs.simpler.primitives import shapes
from envs.simpler.primitives.sink import sink
from envs.simpler.primitives.solids import Solid, Vector, volume
from experiment.errors import UserError, nearest

# Linear and angular damping (1/s). The hulls of the originals have small flat faces that stop them
# from rolling away; spheres need damping for that, and the eggplant falls onto a slope.
STILL = (0.1, 0.1)
ROUND = (0.1, 2.0)
ROLLER = (0.1, 8.0)


@dataclass(frozen=True)
class Model:
    """One object. half: half extents (m) of the bounding box of SIMPLER's tables, centred on the
    frame but for the sink. mass (kg): of the original at `density`."""

    half: Vector
    density: float
    mass: float
    solids: tuple[Solid, ...]
    damping: tuple[float, float] = STILL


_RED, _BLUE, _GREEN = (0.55, 0.010, 0.012), (0.01, 0.05, 0.36), (0.02, 0.30, 0.06)
_ORANGE, _SPRITE, _PALE_BLUE = (0.80, 0.22, 0.01), (0.10, 0.45, 0.12), (0.22, 0.26, 0.44)
_CAN_BOX, _TALL_BOX = (0.033, 0.0615, 0.033), (0.02925, 0.086, 0.02925)
_BOTTLE_BOX = (0.03005, 0.1015, 0.03025)


def _can(mass: float, color: Vector, *measures: float, box: Vector = _CAN_BOX) -> Model:
    return Model(box, 50.0, mass, tuple(shapes.can(color, *measures)))


def _cube(color: Vector) -> Model:
    half = shapes.CUBE / 2
    return Model((half, half, half), 1000.0, 0.027, tuple(shapes.cube(color)))


_COKE = _can(0.01995750, _RED, -0.0690, 0.0538, 0.0331, 0.0003, 0.0009)
_PEPSI = _can(0.02037094, _BLUE, -0.0643, 0.0599, 0.0333, 0.0002, 0.0003)
_SEVEN_UP = _can(0.01964579, _GREEN, -0.0630, 0.0590, 0.0331, 0.0001, -0.0004)
_APPLE = Model((0.04, 0.04, 0.04), 800.0, 0.21444590389728546, tuple(shapes.apple()), ROUND)
_ORANGE_FRUIT = Model((0.035, 0.035, 0.034), 800.0, 0.1450978, tuple(shapes.orange()), ROUND)
_SPONGE = Model((0.035, 0.05, 0.018), 150.0, 0.03485906, tuple(shapes.sponge()))
_BOTTLE = Model(_BOTTLE_BOX, 50.0, 0.02853431, tuple(shapes.bottle(-0.0875, 0.1157)))
_BOTTLE_V2 = Model(_BOTTLE_BOX, 50.0, 0.02995630, tuple(shapes.bottle(-0.0880, 0.1160)))
_REDBULL = _can(0.01788720, _PALE_BLUE, -0.0658, 0.0675, 0.0298, 0.0, 0.0, box=_TALL_BOX)
_REDBULL_BAKED = _can(0.01690240, _PALE_BLUE, -0.0652, 0.0670, 0.0291, 0.0, 0.0, box=_TALL_BOX)
_GREEN_CUBE, _YELLOW_CUBE = _cube((0.04, 0.36, 0.06)), _cube((0.75, 0.52, 0.02))

MODELS: dict[str, Model] = {
    "opened_coke_can": _COKE,
    "opened_pepsi_can": _PEPSI,
    "opened_sprite_can": _can(0.02030250, _SPRITE, -0.0620, 0.0611, 0.0336, 0.0004, 0.0002),
    "opened_fanta_can": _can(0.02027890, _ORANGE, -0.0636, 0.0596, 0.0336, 0.0003, 0.0003),
    "opened_redbull_can": _REDBULL,
    "opened_7up_can": _SEVEN_UP,
    "blue_plastic_bottle": _BOTTLE,
    "apple": _APPLE,
    "orange": _ORANGE_FRUIT,
    "sponge": _SPONGE,
    **{f"baked_apple{version}": _APPLE for version in ("", "_v2")},
    **{f"baked_opened_7up_can{version}": _SEVEN_UP for version in ("", "_v2")},
    **{f"baked_opened_coke_can{version}": _COKE for version in ("", "_v2")},
    **{f"baked_opened_pepsi_can{version}": _PEPSI for version in ("", "_v2")},
    **{f"baked_opened_redbull_can{version}": _REDBULL_BAKED for version in ("", "_v2")},
    **{f"baked_sponge{version}": _SPONGE for version in ("", "_v2")},
    **{f"baked_orange{version}": _ORANGE_FRUIT for version in ("", "_v2")},
    "baked_blue_plastic_bottle": _BOTTLE,
    "baked_blue_plastic_bottle_v2": _BOTTLE_V2,
    "bridge_spoon_generated_modified": Model(
        (0.07, 0.0173, 0.013021), 1200.0, 0.04305848, tuple(shapes.spoon())
    ),
    "bridge_carrot_generated_modified": Model(
        (0.0575, 0.016, 0.019), 700.0, 0.05472691, tuple(shapes.carrot())
    ),
    "bridge_plate_objaverse_larger": Model(
        (0.055, 0.055, 0.003), 1000.0, 0.03918878, tuple(shapes.plate())
    ),
    "table_cloth_generated_shorter": Model(
        (0.05, 0.05, 0.005), 330.0, 0.02669705, tuple(shapes.cloth())
    ),
    "green_cube_3cm": _GREEN_CUBE,
    "yellow_cube_3cm": _YELLOW_CUBE,
    "baked_green_cube_3cm": _GREEN_CUBE,
    "baked_yellow_cube_3cm": _YELLOW_CUBE,
    "eggplant": Model(
        (0.03915, 0.0187, 0.0190), 400.0, 0.02088881, tuple(shapes.eggplant()), ROLLER
    ),
    "dummy_sink_target_plane": Model(
        (0.065, 0.04, 0.001), 100000.0, 2.08, tuple(shapes.sink_target())
    ),
    "sink": Model((0.1345, 0.1965, 0.0575), 100000.0, 372.0812683, tuple(sink())),
}
FULL_CAN_DENSITY = 1000.0
_FULL = ("7up_can", "coke_can", "fanta_can", "pepsi_can", "redbull_can", "sprite_can")
for _name in _FULL:
    _opened = MODELS[f"opened_{_name}"]
    MODELS[_name] = replace(
        _opened,
        density=FULL_CAN_DENSITY,
        mass=_opened.mass * FULL_CAN_DENSITY / _opened.density,
        # SIMPLER's table has the right height for the full can alone.
        half=(0.02925, 0.066, 0.02925) if _name == "redbull_can" else _opened.half,
    )


def model_of(name: str) -> Model:
    """Look an object up; raises `UserError` for one that has no primitive."""
    if name not in MODELS:
        raise UserError(f"unknown object {name!r}.{nearest(name, MODELS)}")
    return MODELS[name]


def add_object(
    builder: Any,
    model: str,
    material: Any,
    drawn: bool = True,
    density: float | None = None,
) -> None:
    """Add the shapes of object `model` to a SAPIEN actor builder.

    Args: `material` is a PhysxMaterial (None = default); `density` (kg/m^3) is that of the
    original's hulls (None: of its table), so the object weighs what the original does at it.

    Raises: `UserError` for an object that has no primitive.
    """
    body = model_of(model)
    mass = body.mass * (1.0 if density is None else density / body.density)
    for solid in body.solids:
        solid.add(builder, material, mass / volume(body.solids), drawn)
