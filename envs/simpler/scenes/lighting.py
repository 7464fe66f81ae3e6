"""Lights by family of tasks and name.

Source: `_setup_lighting` of SimplerEnv's scenes; directions and colours (linear, per light).
"""

from typing import Any

import numpy as np

Light = tuple[tuple[float, float, float], float]

_DOWN = (0.0, 0.0, -1.0)
_ASIDE = (1.0, 1.0, -1.0)
_FROM_ROBOT = (-1.0, -0.5, -1.0)
_MATCHING_ANGLE = np.deg2rad(75.0)
_TO_CABINET = (-float(np.cos(_MATCHING_ANGLE)), 0.0, -float(np.sin(_MATCHING_ANGLE)))
_SIDES: tuple[Light, ...] = (((-1.0, 1.0, -0.05), 0.5), ((-1.0, -1.0, -0.05), 0.5))


def _three(down: float, sides: float) -> tuple[Light, ...]:
    return ((_DOWN, down), (_FROM_ROBOT, sides), (_ASIDE, sides))


_TABLE: dict[str, tuple[float, tuple[Light, ...]]] = {
    "standard": (0.3, _three(2.2, 0.7)),
    "darker": (0.3, ((_ASIDE, 0.8), (_DOWN, 0.8))),
    "brighter": (0.3, _three(3.6, 1.3)),
    "sink": (0.3, ((_DOWN, 0.3),)),
}
_CABINET: dict[str, tuple[float, tuple[Light, ...]]] = {
    "matching": (1.0, ((_TO_CABINET, 1.0),)),
    "standard": (0.3, (((-0.2, 0.0, -1.0), 1.0), *_SIDES)),
    "darker": (0.3, (((-0.2, 0.0, -1.0), 0.5), *_SIDES)),
    "brighter": (0.3, (((-0.2, 0.0, -1.0), 2.0), *_SIDES)),
}


def lights(family: str, name: str) -> tuple[float, tuple[Light, ...]]:
    """Ambient light, and direction and strength of each directional light (all white)."""
    table = _CABINET if family in ("drawer", "place") else _TABLE
    return table[name]


def add_lights(scene: Any, family: str, name: str) -> None:
    ambient, directional = lights(family, name)
    scene.set_ambient_light([ambient] * 3)
    for direction, strength in directional:
        scene.add_directional_light(list(direction), [strength] * 3)
