"""Boxes, cylinders and spheres made from tables of numbers; nothing to download."""

from pathlib import Path
from typing import Any

import numpy as np

from envs.simpler.assets.rests import PRIMITIVES, Rest, rests
from envs.simpler.assets.surroundings import Surroundings, add_floor, add_plain_stage
from envs.simpler.primitives import objects
from envs.simpler.primitives.files import cabinet_urdf, robot_urdf, widowx_urdf
from envs.simpler.tasks.layouts import Layout
from envs.simpler.tasks.registry import TaskSpec

FLOOR_GREY = (0.32, 0.30, 0.28)


class PrimitivePack:
    """The pack `primitives`."""

    name = "primitives"
    spacing = 5.0

    def robot_urdf(self, robot: str, coloring: str, drawn: bool) -> Path:
        if robot.startswith("widowx"):
            return widowx_urdf(drawn=drawn)
        return robot_urdf(coloring, drawn=drawn)

    def cabinet_urdf(self, drawn: bool, station: str, separate_panels: bool = False) -> Path:
        return cabinet_urdf(separate_panels, drawn=drawn, station=station)

    def add_object(
        self, builder: Any, model: str, material: Any, drawn: bool, density: float | None = None
    ) -> str | None:
        objects.add_object(builder, model, material, drawn=drawn, density=density)
        return None

    def object_size(self, model: str) -> np.ndarray:
        return 2 * np.asarray(objects.model_of(model).half)

    def object_damping(self, model: str) -> tuple[float, float]:
        return objects.model_of(model).damping

    def rests(self, task: TaskSpec, layout: Layout, stage: str) -> list[Rest] | None:  # noqa: ARG002
        return rests(task, layout, PRIMITIVES)

    def overlay(self, photograph: str) -> np.ndarray | None:  # noqa: ARG002
        return None

    def add_stage(self, builder: Any, stage: str, robot: str, drawn: bool) -> Surroundings:  # noqa: ARG002
        if not stage:
            return add_floor(builder, FLOOR_GREY, drawn)
        return add_plain_stage(builder, stage, drawn)
