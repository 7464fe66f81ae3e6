"""The objects of an episode: which, where they are dropped, and the fixed lists of SIMPLER.

Source: SimplerEnv's move_near (60 layouts) and WidowX tasks (24 layouts each).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np
from transforms3d.euler import euler2quat

Quaternion = tuple[float, ...]
UPRIGHT: Quaternion = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Layout:
    """Objects by model, x and y (m) and quaternion (w x y z) they are dropped with.

    source and target are places in the list, None where the task has no such object.
    """

    models: tuple[str, ...] = ()
    positions: tuple[tuple[float, float], ...] = ()
    quaternions: tuple[Quaternion, ...] = ()
    source: int | None = None
    target: int | None = None
    number: int | None = None


def place_options(layout: Layout) -> dict[str, int]:
    """Return which object's place each option of a reset names, where the layout has that object.

    They are object_xy (what is to be moved), target_xy and distractor_xy.
    """
    others = [i for i in range(len(layout.models)) if i not in (layout.source, layout.target)]
    named = {"object_xy": layout.source, "target_xy": layout.target}
    named["distractor_xy"] = others[0] if len(others) == 1 else None
    return {option: place for option, place in named.items() if place is not None}


def placed(layout: Layout, given: Mapping[str, Sequence[float]]) -> Layout:
    """Return the layout with objects where those of `place_options` that are given put them (m)."""
    positions = list(layout.positions)
    for option, place in place_options(layout).items():
        if option in given:
            x, y = given[option]
            positions[place] = (float(x), float(y))
    return replace(layout, positions=tuple(positions))


def _turned(roll: float, yaw: float) -> Quaternion:
    return tuple(map(float, euler2quat(roll, 0.0, yaw)))


# ---- move near ----------------------------------------------------------------------------------

_CAN = _turned(np.pi / 2, 0.0)
_THREES = (
    ("bottle", "pepsi", "orange"),
    ("7up", "apple", "sponge"),
    ("coke", "redbull", "apple"),
    ("sponge", "bottle", "7up"),
    ("orange", "pepsi", "redbull"),
)
_STANDS: dict[str, Quaternion] = {
    "bottle": _turned(np.pi / 2, np.pi / 2),
    "pepsi": _CAN,
    "7up": _CAN,
    "coke": _CAN,
    "redbull": _CAN,
    "orange": _turned(0.0, np.pi / 2),
    "sponge": _turned(0.0, np.pi / 2),
    "apple": UPRIGHT,
}
_TRIANGLES = (
    ((-0.33, 0.04), (-0.33, 0.34), (-0.13, 0.19)),
    ((-0.13, 0.04), (-0.33, 0.19), (-0.13, 0.34)),
)
_ROLES = tuple(permutations(range(3), 2))
ROLES_AND_TRIANGLES = len(_ROLES) * len(_TRIANGLES)
"""Layouts of move_near that have the same objects; they follow one another."""
# Bottle and orange are never the baked ones, because those looked worse.
_NEVER_BAKED = {"bottle": "blue_plastic_bottle", "orange": "orange"}
TOY_DENSITY = {"apple": 200.0, "orange": 200.0}
"""Densities (kg/m3) of the toy fruit that stood on the real table."""


def _model(kind: str, catalogue: str) -> str:
    if kind in _NEVER_BAKED:
        return _NEVER_BAKED[kind]
    plain = kind if kind in ("apple", "sponge") else f"opened_{kind}_can"
    if "baked" not in catalogue:
        return plain
    return f"baked_{plain}" + ("_v2" if catalogue.endswith("v1") else "")


def move_near(number: int, catalogue: str, without_distractor: bool = False) -> Layout:
    """Layout 0 to 59: five threes of objects, two triangles, six pairs of source and target.

    Args: `catalogue` decides between plain and baked textures; `without_distractor` leaves the
        third out.
    """
    pairs, shapes = len(_ROLES), len(_TRIANGLES)
    kinds = _THREES[number // (pairs * shapes)]
    triangle = _TRIANGLES[number % (pairs * shapes) // pairs]
    source, target = _ROLES[number % pairs]
    chosen = (source, target) if without_distractor else (0, 1, 2)
    return Layout(
        models=tuple(_model(kinds[i], catalogue) for i in chosen),
        positions=tuple(triangle[i] for i in chosen),
        quaternions=tuple(_STANDS[kinds[i]] for i in chosen),
        source=chosen.index(source),
        target=chosen.index(target),
        number=number,
    )


def toy_density(model: str) -> float | None:
    """Density (kg/m3) that move_near gives an object, None for the model's own."""
    return TOY_DENSITY.get(model.removeprefix("baked_").removesuffix("_v2"))


# ---- put on -------------------------------------------------------------------------------------

_CENTRE = (-0.16, 0.0)


def _square_pairs(half_edge: float) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Ordered pairs of different corners of a square around the middle of the table."""
    corners = [
        (_CENTRE[0] + x * half_edge, _CENTRE[1] + y * half_edge)
        for x, y in product((-1, 1), repeat=2)
    ]
    return list(permutations(corners, 2))


def _basket_pairs() -> list[tuple[tuple[float, float], tuple[float, float]]]:
    xs, ys = np.linspace(-0.01, 0.01, 2), np.linspace(-0.015, 0.015, 4)
    return [((float(-0.105 + x), float(0.206 + y)), (-0.125, 0.025)) for x, y in product(xs, ys)]


_PAIRS = {
    "spoon_on_towel": _square_pairs(0.075),
    "carrot_on_plate": _square_pairs(0.075),
    "stack_cube": _square_pairs(0.05) + _square_pairs(0.1),
    "eggplant_in_basket": _basket_pairs(),
}
_YAWS = {
    "spoon_on_towel": (0.0, np.pi / 2),
    "carrot_on_plate": (np.pi, -np.pi / 2),
    "stack_cube": (0.0,),
    "eggplant_in_basket": (0.0, np.pi / 4, -np.pi / 4),
}


def put_on(number: int, task: str, models: tuple[str, ...]) -> Layout:
    """Layout 0 to 23 of a WidowX task; the first of `models` goes onto the second."""
    pairs, yaws = _PAIRS[task], _YAWS[task]
    yaw = yaws[number % len(yaws)]
    return Layout(
        models=models,
        positions=pairs[number // len(yaws)],
        quaternions=(_turned(0.0, yaw), UPRIGHT),
        source=0,
        target=1,
        number=number,
    )
