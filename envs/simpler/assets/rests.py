"""Where dropped objects come to rest in the original simulator (`rests.json`).

Measured there by `python -m envs.original.rests`, with the official meshes on a flat table: x and y
relative to the point of the drop (absolute where several are dropped together), z and the
quaternion as they are.
"""

import functools
import json
from collections.abc import Sequence
from pathlib import Path

from envs.simpler.layouts import Layout
from envs.simpler.registry import TaskSpec

TABLE = Path(__file__).with_name("rests.json")
Rest = tuple[float, ...]


def surface_of(family: str) -> str:
    """What the objects of a family of tasks fall onto, and with which settings."""
    return {"grasp": "table", "place": "cabinet", "put_on": "bridge"}[family]


def key(surface: str, model: str, quaternion: Sequence[float]) -> str:
    """Name of a drop; quaternions (w x y z) are told apart to three decimals."""
    turned = ",".join(f"{value + 0.0:.3f}" for value in quaternion)
    return f"{surface}/{model}/{turned}".replace("-0.000", "0.000")


def group_key(layout: Layout) -> str:
    """Name of the drop of a layout's objects together: one that rolls makes the others wait."""
    places = ";".join(f"{x:.3f},{y:.3f}" for x, y in layout.positions)
    return f"near/{'+'.join(layout.models)}/{places}"


def basket_key(layout: int) -> str:
    """Name of the drop of both objects of a layout into the sink."""
    return f"basket/{layout}"


@functools.cache
def _table() -> dict[str, list[Rest]]:
    rows = json.loads(TABLE.read_text())
    return {name: [tuple(rest) for rest in rests] for name, rests in rows.items()}


def rest(surface: str, model: str, quaternion: Sequence[float], xy: Sequence[float]) -> Rest | None:
    """Pose (x, y, z, quaternion) at which an object dropped at `xy` (m) ends, None if unknown."""
    found = _table().get(key(surface, model, quaternion))
    if found is None:
        return None
    dx, dy, *others = found[0]
    return (xy[0] + dx, xy[1] + dy, *others)


def rests(spec: TaskSpec, layout: Layout) -> list[Rest] | None:
    """Poses at which the objects of a layout end together, None if unknown."""
    if spec.family == "move_near":
        return _table().get(group_key(layout))
    if spec.robot == "widowx_sink":
        return None if layout.number is None else _table().get(basket_key(layout.number))
    rows = zip(layout.models, layout.quaternions, layout.positions, strict=True)
    found = [rest(surface_of(spec.family), *row) for row in rows]
    return [each for each in found if each is not None] if all(found) else None
