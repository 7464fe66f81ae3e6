"""Measure where dropped primitives come to rest: `python -m envs.simpler.measure_rests`.

Lets every object of every task fall once and writes `assets/rests_primitives.json`; rerun it
when a primitive changes. A GPU simulation cannot let the objects of one environment fall while
the others continue, and a reset on the CPU is faster without.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

import envs.simpler
from envs.simpler.assets.catalogues import CATALOGUES
from envs.simpler.assets.rests import PRIMITIVES, names, text
from envs.simpler.environment import SimplerEnv
from envs.simpler.tasks.registry import ORIENTATIONS, PICKABLE, TASKS
from envs.simpler.tasks.variants import LESS_DISTRACTORS, MORE_DISTRACTORS
from experiment import progress
from experiment.files import write_bytes

Drop = tuple[str, str, dict[str, Any]]


def drops() -> Iterator[Drop]:
    """Task, variant and reset options of every start whose objects must be dropped."""
    for model in dict.fromkeys((*PICKABLE, *LESS_DISTRACTORS, *MORE_DISTRACTORS)):
        for orientation in ORIENTATIONS:
            yield "pick_object", "visual_matching", {"object": model, "orientation": orientation}
    for model in CATALOGUES["pick_custom_baked_tex_v1"]:
        yield "place_in_closed_top_drawer", "visual_matching", {"object": model}
    for number in range(60):
        for task in ("move_near_v0", "move_near_v1"):
            yield task, "visual_matching", {"layout": number}
        for variant in ("base", "no_distractors"):
            yield "move_near", variant, {"layout": number}
    for spec in TASKS.values():
        if spec.family == "put_on":
            for number in range(spec.layouts):
                yield spec.name, "visual_matching", {"layout": number}


def measure() -> dict[str, list[list[float]]]:
    """Drop everything once; x and y relative to the drop, absolute where several fall together."""
    table: dict[str, list[list[float]]] = {}
    made: dict[tuple[str, str], SimplerEnv] = {}
    for task, variant, options in progress.each(list(drops()), "dropping", "object"):
        if (task, variant) not in made:
            made[task, variant] = envs.simpler.make(task, resolution=None, variant=variant)
            made[task, variant].scene.always_drop = True
        env = made[task, variant]
        layout = env.scene._draw(0, options).layout
        missing = [name for name in names(env.task, layout) if name not in table]
        if not missing:
            continue
        env.reset(seed=0, options=options)
        poses = [item.pose.raw_pose[0].tolist() for item in env.scene.objects]
        if len(missing) == 1 and len(poses) > 1 and len(names(env.task, layout)) == 1:
            table[missing[0]] = [_rounded(pose) for pose in poses]
            continue
        for name, pose, (x, y) in zip(
            names(env.task, layout), poses, layout.positions, strict=True
        ):
            table[name] = [_rounded([pose[0] - x, pose[1] - y, *pose[2:]])]
    for env in made.values():
        env.close()
    return table


def _rounded(pose: list[float]) -> list[float]:
    return [float(value) for value in np.round(pose, 7)]


def main() -> None:
    table = measure()
    write_bytes(PRIMITIVES, text(table).encode())
    print(f"{len(table)} drops written to {PRIMITIVES}")


if __name__ == "__main__":
    main()
