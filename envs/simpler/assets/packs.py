"""Asset packs: the geometry and looks that one task definition is built from.

`primitives` needs nothing downloaded. `simpler` reads the official meshes, textures and photographs
from a copy of ManiSkill2_real2sim (Apache-2.0): a folder named by the user or the SIMPLER_ASSETS
variable, else where `python -m envs.simpler.assets install` puts it.
"""

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from envs.simpler import primitives
from envs.simpler.assets.catalogues import CATALOGUES
from envs.simpler.assets.rests import PRIMITIVES, Rest, rests
from envs.simpler.assets.surroundings import Surroundings, add_floor, add_plain_stage
from envs.simpler.tasks.layouts import Layout
from envs.simpler.tasks.registry import TaskSpec
from experiment.errors import UserError, nearest

PACKS = ("primitives", "simpler")
FOLDER_VARIABLE = "SIMPLER_ASSETS"

# SIMPLER's robot and cabinet colourings for visual matching, in the order of its random draw.
COLORINGS = (
    "",
    "recolor_tabletop_visual_matching_1",
    "recolor_tabletop_visual_matching_2",
    "recolor_cabinet_visual_matching_1",
)
FLOOR_GREY = (0.32, 0.30, 0.28)


class AssetPack(Protocol):
    """Where a scene's geometry comes from.

    `drawn=False` leaves out all that is only looked at: SAPIEN cannot even load a colour on a
    machine without any Vulkan device.

    spacing: how far apart the environments of one GPU simulation stand (m), so that no solid part
    of one reaches into the next; as small as may be, float32 being finer near the origin.
    """

    name: str
    spacing: float

    def robot_urdf(self, robot: str, coloring: str, drawn: bool) -> Path:
        """URDF of a robot; the Google robot in one of the `COLORINGS`."""

    def cabinet_urdf(self, drawn: bool, station: str, separate_panels: bool = False) -> Path:
        """URDF of a cabinet with its three drawers, its bottom panels links of their own or not."""

    def catalogue(self, name: str) -> tuple[str, ...]:
        """Names of the objects in one of SIMPLER's tables, sorted."""
        return CATALOGUES[name]

    def add_object(
        self, builder: Any, model: str, material: Any, drawn: bool, density: float | None = None
    ) -> str | None:
        """Add the shapes of object `model`; says what had to be replaced by something plain."""

    def object_size(self, model: str) -> np.ndarray:
        """Extents `(3,)` (m) of the object's bounding box in its own frame."""

    def object_damping(self, model: str) -> tuple[float, float]:
        """Linear and angular damping of the object."""

    def rests(self, task: TaskSpec, layout: Layout, stage: str) -> list[Rest] | None:  # noqa: ARG002
        """Where the objects of a layout rest in the original once dropped, None if unknown."""
        return None

    def overlay(self, photograph: str) -> np.ndarray | None:
        """Photograph behind the scene, uint8 (h, w, 3), or None where the scene is drawn whole."""

    def add_stage(self, builder: Any, stage: str, robot: str, drawn: bool) -> Surroundings:
        """Add the surroundings `stage` ("" for a floor alone) to a static actor."""


class PrimitivePack(AssetPack):
    """Boxes, cylinders and spheres made from tables of numbers; nothing to download."""

    name = "primitives"
    spacing = 5.0

    def robot_urdf(self, robot: str, coloring: str, drawn: bool) -> Path:
        if robot.startswith("widowx"):
            return primitives.widowx_urdf(drawn=drawn)
        return primitives.robot_urdf(coloring, drawn=drawn)

    def cabinet_urdf(self, drawn: bool, station: str, separate_panels: bool = False) -> Path:
        return primitives.cabinet_urdf(separate_panels, drawn=drawn, station=station)

    def add_object(
        self, builder: Any, model: str, material: Any, drawn: bool, density: float | None = None
    ) -> str | None:
        primitives.add_object(builder, model, material, drawn=drawn, density=density)
        return None

    def object_size(self, model: str) -> np.ndarray:
        info = primitives.object_info(model)
        return np.asarray(info.bbox_max) - np.asarray(info.bbox_min)

    def object_damping(self, model: str) -> tuple[float, float]:
        return primitives.object_damping(model)

    def rests(self, task: TaskSpec, layout: Layout, stage: str) -> list[Rest] | None:  # noqa: ARG002
        return rests(task, layout, PRIMITIVES)

    def overlay(self, photograph: str) -> np.ndarray | None:  # noqa: ARG002
        return None

    def add_stage(self, builder: Any, stage: str, robot: str, drawn: bool) -> Surroundings:  # noqa: ARG002
        if not stage:
            return add_floor(builder, FLOOR_GREY, drawn)
        return add_plain_stage(builder, stage, drawn)


def asset_pack(name: str, root: str | Path | None = None) -> AssetPack:
    """Make the pack called `name`.

    Raises: `UserError` for an unknown name, a missing folder or an incomplete one.
    """
    from envs.simpler.assets.manifest import default_root
    from envs.simpler.assets.official import SimplerPack

    if name == "primitives":
        return PrimitivePack()
    if name == "simpler":
        folder = root or os.environ.get(FOLDER_VARIABLE)
        if not folder and default_root().is_dir():
            folder = default_root()
        if not folder:
            raise UserError(
                "assets=simpler needs the official files: run `python -m envs.simpler.assets "
                f"install`, or set asset_root= or {FOLDER_VARIABLE} to a clone of "
                "ManiSkill2_real2sim."
            )
        return SimplerPack(Path(folder).expanduser())
    raise UserError(f"unknown asset pack {name!r}.{nearest(name, PACKS)}")
