"""Where dropped objects come to rest, for both asset packs.

`rests.json` was measured in the original simulator by `python -m envs.original.rests`, with the
official meshes; `rests_primitives.json` in this one by `python -m envs.simpler.measure_rests`. x, y
relative to the point of the drop (absolute where several are dropped together), z and the
quaternion as they are.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from envs.simpler.tasks.layouts import Layout, put_on
from envs.simpler.tasks.registry import TaskSpec

TABLE = Path(__file__).with_name("rests.json")
PRIMITIVES = Path(__file__).with_name("rests_primitives.json")
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
    positions = ";".join(f"{x:.3f},{y:.3f}" for x, y in layout.positions)
    return f"near/{'+'.join(layout.models)}/{positions}"


def basket_key(layout: int) -> str:
    """Name of the drop of both objects of a layout into the sink."""
    return f"basket/{layout}"


def names(spec: TaskSpec, layout: Layout) -> list[str]:
    """Names of the drops that a layout is made of: one for all together, or one for each object.

    In the basket's task only those of its list are known.
    """
    if spec.family == "move_near":
        return [group_key(layout)]
    if spec.robot == "widowx_sink":
        number = layout.number or 0
        listed = layout == put_on(number, spec.name, spec.models)
        return [basket_key(number) if listed else "basket/elsewhere"]
    rows = zip(layout.models, layout.quaternions, strict=True)
    return [key(surface_of(spec.family), *row) for row in rows]


@functools.cache
def _table(path: Path) -> dict[str, list[Rest]]:
    if not path.is_file():
        return {}
    rows = json.loads(path.read_text())
    return {name: [tuple(rest) for rest in rests] for name, rests in rows.items()}


def rests(spec: TaskSpec, layout: Layout, table: Path = TABLE) -> list[Rest] | None:
    """Poses (x, y, z, quaternion) at which the objects of a layout end, None if unknown."""
    drops = _table(table)
    per_drop = [drops.get(name) for name in names(spec, layout)]
    if len(per_drop) == 1 and len(layout.models) > 1:
        return per_drop[0]
    poses: list[Rest] = []
    for rows, (x, y) in zip(per_drop, layout.positions, strict=True):
        if rows is None:
            return None
        dx, dy, *others = rows[0]
        poses.append((x + dx, y + dy, *others))
    return poses


def text(table: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """A table as JSON, a line a drop."""
    lines = (f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in sorted(table.items()))
    return "{\n" + ",\n".join(lines) + "\n}\n"
