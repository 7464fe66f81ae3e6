"""Starts that are on no list: objects and robots anywhere between SIMPLER's fixed places.

Move near has 60 layouts, each of the WidowX's tasks 24, and the robot nine poses before a drawer.
A policy that learned from demonstrations of all of them has seen every start there is; here it has
seen none.
"""

from typing import Any

import numpy as np

from envs.simpler.tasks import layouts
from envs.simpler.tasks.layouts import Layout
from envs.simpler.tasks.registry import TaskSpec
from envs.simpler.tasks.start import ROBOT_POSES, draw_start
from envs.simpler.tasks.variants import VISUAL_MATCHING, variant_of

Place = tuple[float, float]

# Nearest that two objects may lie (m): no towel under the spoon, nothing near what it is moved to.
_APART = {"move_near": 0.20, "put_on": 0.13}
_CUBES_APART = 0.08
_TRIES = 200_000  # three objects 20 cm apart take 1,600 on average


def scattered(spec: TaskSpec, generator: np.random.Generator) -> dict[str, Any]:
    """Draw options of a reset that put what has fixed places anywhere between these.

    Uniform in the rectangle that a task's layouts span, objects not too near to one another; the
    robot in the box that its poses span (m, rad). Empty for a task whose starts are drawn anyway.
    """
    options: dict[str, Any] = {}
    if spec.robot_poses:
        poses = np.array([ROBOT_POSES[name] for name in spec.robot_poses])
        x, y, yaw = generator.uniform(poses.min(0), poses.max(0))
        options |= {"robot_xy": (float(x), float(y)), "robot_yaw": float(yaw)}
    if spec.layouts:
        options |= _objects(spec, generator)
    return options


def _objects(spec: TaskSpec, generator: np.random.Generator) -> dict[str, Place]:
    matching = variant_of(spec, VISUAL_MATCHING)
    listed = [draw_start(0, spec, matching, {"layout": n}) for n in range(spec.layouts)]
    roles = [_roles(start.layout) for start in listed]
    names = [name for name in roles[0] if len({role[name] for role in roles}) > 1]
    lows, highs = (
        np.array([edge([role[name] for role in roles], axis=0) for name in names])
        for edge in (np.min, np.max)
    )
    apart = _CUBES_APART if spec.name == "stack_cube" else _APART[spec.family]
    for _ in range(_TRIES):
        places = generator.uniform(lows, highs)
        gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(len(places))
        if gaps.min() >= apart:
            return {name: (float(x), float(y)) for name, (x, y) in zip(names, places, strict=True)}
    raise RuntimeError(f"{spec.name}: no room for objects that far apart")


def _roles(layout: Layout) -> dict[str, Place]:
    """Return the options of a reset that would put each object where the layout has it."""
    return {
        option: layout.positions[place] for option, place in layouts.place_options(layout).items()
    }
