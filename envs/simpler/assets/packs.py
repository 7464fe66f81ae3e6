"""Asset packs: the geometry and looks that one task definition is built from.

`primitives` needs nothing downloaded. `simpler` reads the official meshes, textures and photographs
from a clone of ManiSkill2_real2sim (Apache-2.0), named by a folder or the SIMPLER_ASSETS variable.
"""

import json
import os
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from envs.errors import UserError, nearest
from envs.simpler import primitives

PACKS = ("primitives", "simpler")
FOLDER_VARIABLE = "SIMPLER_ASSETS"

# SIMPLER's robot and cabinet colourings for visual matching, in the order of its random draw.
COLORINGS = (
    "",
    "recolor_tabletop_visual_matching_1",
    "recolor_tabletop_visual_matching_2",
    "recolor_cabinet_visual_matching_1",
)

_DESCRIPTIONS = "mani_skill2_real2sim/assets/descriptions/googlerobot_description"
_ROBOT = "google_robot_meta_sim_fix_wheel_fix_fingertip"


class AssetPack(Protocol):
    """Where a scene's geometry comes from.

    `drawn=False` leaves out all that is only looked at: SAPIEN cannot even load a colour on a
    machine without any Vulkan device.
    """

    name: str

    def robot_urdf(self, coloring: str, drawn: bool) -> Path:
        """URDF of the robot in one of the `COLORINGS`."""

    def cabinet_urdf(self, drawn: bool) -> Path:
        """URDF of the cabinet with its three drawers."""

    def add_object(self, builder: Any, model: str, material: Any, drawn: bool) -> None:
        """Add the collision and visual shapes of object `model` to an actor builder."""

    def object_damping(self, model: str) -> tuple[float, float]:
        """Linear and angular damping of the object."""

    def overlay(self, robot_pose: str) -> np.ndarray | None:
        """Photograph behind the scene, uint8 (h, w, 3), or None where the scene is drawn whole."""


class PrimitivePack:
    """Boxes, cylinders and spheres made from tables of numbers; nothing to download."""

    name = "primitives"

    def robot_urdf(self, coloring: str, drawn: bool) -> Path:
        return primitives.robot_urdf(coloring, drawn=drawn)

    def cabinet_urdf(self, drawn: bool) -> Path:
        return primitives.cabinet_urdf(drawn=drawn)

    def add_object(self, builder: Any, model: str, material: Any, drawn: bool) -> None:
        primitives.add_object(builder, model, material, drawn=drawn)

    def object_damping(self, model: str) -> tuple[float, float]:
        return primitives.object_damping(model)

    def overlay(self, robot_pose: str) -> np.ndarray | None:  # noqa: ARG002
        return None


class SimplerPack:
    """SIMPLER's official files, read from a clone of ManiSkill2_real2sim."""

    name = "simpler"

    def __init__(self, root: Path) -> None:
        """Raises: `UserError` naming the first missing file."""
        self.root = root
        if not root.is_dir():
            raise UserError(
                f"asset folder {root} does not exist; point asset_root= (or {FOLDER_VARIABLE}) "
                "at a clone of ManiSkill2_real2sim."
            )
        catalogue = self._file("data/custom/info_pick_custom_baked_tex_v1.json")
        try:
            self._models: dict[str, Any] = json.loads(catalogue.read_text())
        except json.JSONDecodeError as error:
            raise UserError(f"{catalogue} is not valid JSON ({error}); fetch it again.") from error

    def _file(self, relative: str) -> Path:
        path = self.root / relative
        if not path.is_file():
            raise UserError(
                f"asset folder {self.root} is incomplete: {relative} is missing; "
                "clone ManiSkill2_real2sim again or name another asset_root=."
            )
        return path

    def robot_urdf(self, coloring: str, drawn: bool) -> Path:
        suffix = f"_{coloring}" if coloring else ""
        path = self._file(f"{_DESCRIPTIONS}/{_ROBOT}{suffix}.urdf")
        return path if drawn else _undrawn(path)

    def cabinet_urdf(self, drawn: bool) -> Path:
        path = self._file("data/custom/mk_station_recolor.urdf")
        return path if drawn else _undrawn(path)

    def add_object(self, builder: Any, model: str, material: Any, drawn: bool) -> None:
        if model not in self._models:
            raise UserError(f"unknown object {model!r}.{nearest(model, self._models)}")
        folder = f"data/custom/models/{model}"
        builder.add_multiple_convex_collisions_from_file(
            str(self._file(f"{folder}/collision.obj")),
            material=material,
            density=self._models[model].get("density", 1000.0),
        )
        if not drawn:
            return
        kinds = ("textured.obj", "textured.dae", "textured.glb")
        visual = next((k for k in kinds if (self.root / folder / k).is_file()), kinds[-1])
        builder.add_visual_from_file(str(self._file(f"{folder}/{visual}")))

    def object_damping(self, model: str) -> tuple[float, float]:  # noqa: ARG002
        return 0.1, 0.1

    def overlay(self, robot_pose: str) -> np.ndarray | None:
        path = self._file(f"data/real_inpainting/open_drawer_{robot_pose}.png")
        try:
            with Image.open(path) as picture:
                return np.asarray(picture.convert("RGB"))
        except OSError as error:
            raise UserError(f"{path} does not decode as a picture; fetch it again.") from error


def _undrawn(path: Path) -> Path:
    """Copy of a URDF in the cache without its visuals; meshes are named by absolute paths."""
    try:
        robot = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise UserError(f"{path} is not valid XML ({error}); fetch it again.") from error
    for material in robot.findall("material"):
        robot.remove(material)
    for link in robot.iter("link"):
        for visual in link.findall("visual"):
            link.remove(visual)
        for mesh in link.iter("mesh"):
            mesh.set("filename", str((path.parent / mesh.get("filename", "")).resolve()))
    return primitives.write(ElementTree.tostring(robot, encoding="unicode"), path.stem)


def asset_pack(name: str, root: str | Path | None = None) -> AssetPack:
    """Make the pack called `name`.

    Raises: `UserError` for an unknown name, a missing folder or an incomplete one.
    """
    if name == "primitives":
        return PrimitivePack()
    if name == "simpler":
        folder = root or os.environ.get(FOLDER_VARIABLE)
        if not folder:
            raise UserError(
                "assets=simpler needs a folder: set asset_root= or the environment variable "
                f"{FOLDER_VARIABLE} to a clone of ManiSkill2_real2sim."
            )
        return SimplerPack(Path(folder).expanduser())
    raise UserError(f"unknown asset pack {name!r}.{nearest(name, PACKS)}")
