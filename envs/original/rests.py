"""Measure in the original simulator where dropped objects come to rest.

`python -m envs.original.rests --python PATH --asset-root FOLDER` lets every object of every task
fall once in SAPIEN 2 (an interpreter that has it) and writes `envs/simpler/assets/rests.json`.

A drop onto a flat table ends the same way wherever it happens (to 2e-6 m in the original), but a
lying can slides 4 mm aside in PhysX 5 where it rolled 1 mm in PhysX 4: so resets that shall match
the original take the outcome from this table.
"""

import argparse
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from envs.original.names import TABLE_BOXES
from envs.simpler.assets.catalogues import CATALOGUES
from envs.simpler.assets.official import SimplerPack
from envs.simpler.assets.rests import TABLE, basket_key, group_key, key, surface_of, text
from envs.simpler.scenes.put import SINK, SINK_POSE
from envs.simpler.scenes.settling import DROP_HEIGHT, TABLE_HEIGHT
from envs.simpler.tasks.layouts import Layout, move_near, put_on, toy_density
from envs.simpler.tasks.registry import PICKABLE, TASKS
from envs.simpler.tasks.start import ORIENTATION_QUATERNIONS
from envs.simpler.tasks.variants import LESS_DISTRACTORS, MORE_DISTRACTORS
from experiment.errors import UserError, exit_on_user_error
from experiment.files import write_bytes

Job = dict[str, Any]
UPRIGHT = (1.0, 0.0, 0.0, 0.0)


class Jobs:
    """What to drop, each thing once, by the key under which its rest is kept."""

    def __init__(self, asset_root: Path) -> None:
        self.root = asset_root
        self.pack = SimplerPack(asset_root)
        self.jobs: dict[str, Job] = {}

    def _mesh(self, model: str) -> str:
        return str(self.root.resolve() / f"data/custom/models/{model}/collision.obj")

    def _object(
        self, model: str, xy: Sequence[float], quaternion: Sequence[float], density: float | None
    ) -> Job:
        return {
            "mesh": self._mesh(model),
            "density": density or self.pack.object_density(model),
            "xy": list(xy),
            "quaternion": list(quaternion),
        }

    def _job(self, family: str, objects: list[Job], **changes: Any) -> Job:
        google = family != "put_on"
        box = None if family == "place" else TABLE_BOXES["google_robot" if google else "widowx"]
        cabinet = self.root.resolve() / "data/custom/mk_station_recolor.urdf"
        return {
            "contact_offset": 0.02 if family == "grasp" else 0.005,
            "frequency": 513 if google else 500,
            "height": TABLE_HEIGHT + DROP_HEIGHT,
            "box": box,
            "cabinet": str(cabinet) if family == "place" else None,
            "fixed": None,
            "objects": objects,
        } | changes

    def add(self, family: str, model: str, quaternion: Any, density: float | None = None) -> None:
        """Drop one object onto the table of a family of tasks."""
        at = (-0.07, 0.05) if family == "place" else (-0.16, 0.1)
        quaternion = tuple(map(float, quaternion))
        name = key(surface_of(family), model, quaternion)
        self.jobs[name] = self._job(family, [self._object(model, at, quaternion, density)]) | {
            "at": at
        }

    def add_group(self, layout: Layout) -> None:
        """Drop the objects of a move_near layout together."""
        objects = [
            self._object(*row, toy_density(row[0]))
            for row in zip(layout.models, layout.positions, layout.quaternions, strict=True)
        ]
        self.jobs[group_key(layout)] = self._job("move_near", objects) | {"at": None}

    def add_basket(self, layout: Layout) -> None:
        """Drop both objects of a layout into the sink."""
        rows = zip(layout.models, layout.positions, layout.quaternions, strict=True)
        objects = [self._object(*row, None) for row in rows]
        sink = {
            "mesh": self._mesh(SINK),
            "density": self.pack.object_density(SINK),
            "position": [float(x) for x in SINK_POSE.p],
        }
        assert layout.number is not None
        self.jobs[basket_key(layout.number)] = self._job("put_on", objects, fixed=sink) | {
            "at": None
        }


def jobs(asset_root: Path) -> dict[str, Job]:
    """All drops that some task's reset needs, by key."""
    made = Jobs(asset_root)
    for model in dict.fromkeys((*PICKABLE, *LESS_DISTRACTORS, *MORE_DISTRACTORS)):
        for quaternion in ORIENTATION_QUATERNIONS.values():
            made.add("grasp", model, quaternion)
    for model in CATALOGUES["pick_custom_baked_tex_v1"]:
        made.add("place", model, UPRIGHT)
    catalogues = ("pick_custom_v0", "pick_custom_baked_tex_v0", "pick_custom_baked_tex_v1")
    for number in range(60):
        for catalogue in catalogues:
            made.add_group(move_near(number, catalogue))
        made.add_group(move_near(number, "pick_custom_v0", without_distractor=True))
    for spec in TASKS.values():
        if spec.family == "put_on" and spec.robot == "widowx":
            for model, quaternion in _each(put_on(n, spec.name, spec.models) for n in range(24)):
                made.add("put_on", model, quaternion)
    basket = TASKS["eggplant_in_basket"]
    for number in range(basket.layouts):
        made.add_basket(put_on(number, basket.name, basket.models))
    return made.jobs


def _each(layouts: Iterator[Layout]) -> Iterator[tuple[str, Any]]:
    for layout in layouts:
        yield from zip(layout.models, layout.quaternions, strict=True)


def measure(python: str, work: dict[str, Job]) -> dict[str, list[list[float]]]:
    """Run the drops with the interpreter `python`; x and y relative to where each was dropped.

    Where several are dropped together they are absolute.
    Raises: `UserError` when the interpreter cannot do it.
    """
    worker = Path(__file__).with_name("drop_worker.py")
    try:
        done = subprocess.run(
            [python, str(worker)],
            input=json.dumps(list(work.values())),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"{python} could not run the original's physics: {error}.") from error
    table = {}
    for (name, job), rests in zip(work.items(), json.loads(done.stdout), strict=True):
        dx, dy = job["at"] or (0.0, 0.0)
        table[name] = [
            [round(v, 7) for v in (rest[0] - dx, rest[1] - dy, *rest[2:])] for rest in rests
        ]
    return table


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--python", required=True, help="interpreter with sapien 2.2")
    parser.add_argument("--asset-root", type=Path, required=True, help="official files")
    arguments = parser.parse_args()
    table = measure(arguments.python, jobs(arguments.asset_root))
    write_bytes(TABLE, text(table).encode())
    print(f"{len(table)} drops written to {TABLE}")


if __name__ == "__main__":
    main()
