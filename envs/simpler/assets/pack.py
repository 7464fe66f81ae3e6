"""What a scene needs from an asset pack: the geometry and looks of one task definition."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from envs.simpler.assets.rests import Rest
from envs.simpler.assets.surroundings import Surroundings
from envs.simpler.tasks.layouts import Layout
from envs.simpler.tasks.registry import TaskSpec


class AssetPack(Protocol):
    """Where a scene's geometry comes from.

    `drawn=False` leaves out everything that does not collide: SAPIEN cannot even load a colour on a
    machine without any Vulkan device.

    spacing: how far apart the environments of one GPU simulation stand (m), so that no solid part
    of one reaches into the next; as small as may be, float32 being finer near the origin.
    """

    name: str
    spacing: float

    def robot_urdf(self, robot: str, coloring: str, drawn: bool) -> Path:
        """URDF of a robot; the Google robot in one of the `COLORINGS`."""

    def cabinet_urdf(self, drawn: bool, station: str, separate_panels: bool = False) -> Path:
        """URDF of a cabinet with its three drawers, its bottom panels as separate links or not."""

    def add_object(
        self, builder: Any, model: str, material: Any, drawn: bool, density: float | None = None
    ) -> str | None:
        """Add the shapes of object `model`; returns what a plain shape replaced, if anything."""

    def object_size(self, model: str) -> np.ndarray:
        """Extents `(3,)` (m) of the object's bounding box in its own frame."""

    def object_damping(self, model: str) -> tuple[float, float]:
        """Linear and angular damping of the object."""

    def rests(self, task: TaskSpec, layout: Layout, stage: str) -> list[Rest] | None:
        """Where the objects of a layout rest once dropped, None if unknown."""

    def overlay(self, photograph: str) -> np.ndarray | None:
        """Photograph behind the scene, uint8 (h, w, 3), or None where the scene is drawn whole."""

    def add_stage(self, builder: Any, stage: str, robot: str, drawn: bool) -> Surroundings:
        """Add the surroundings `stage` ("" for a floor alone) to a static actor."""
