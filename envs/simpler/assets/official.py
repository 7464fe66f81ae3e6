"""SIMPLER's official files, read from a copy of ManiSkill2_real2sim."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from envs.simpler.assets.catalogues import CATALOGUES
from envs.simpler.assets.manifest import FOLDER_VARIABLE, check_file
from envs.simpler.assets.pieces import separated
from envs.simpler.assets.rests import Rest, rests
from envs.simpler.assets.surroundings import (
    NOT_SOLID,
    Surroundings,
    add_floor,
    add_official_stage,
    add_plain_stage,
)
from envs.simpler.primitives.files import write_urdf
from envs.simpler.primitives.objects import add_object
from envs.simpler.tasks.layouts import Layout
from envs.simpler.tasks.registry import TaskSpec
from experiment.errors import UserError, nearest

_DESCRIPTIONS = "mani_skill2_real2sim/assets/descriptions"
_GOOGLE_ROBOT = "googlerobot_description/google_robot_meta_sim_fix_wheel_fix_fingertip"
_WIDOWX = "widowx_description/wx250s.urdf"
_STAGES = "data/hab2_bench_assets/stages"
_VISUALS = ("textured.obj", "textured.dae", "textured.glb")
_DAMPING = (0.1, 0.1)
_WHITE = (1.0, 1.0, 1.0)


class SimplerPack:
    """The official meshes, textures and photographs.

    A missing stage or drawn mesh is replaced by a plain one, which is reported; all else must be
    there.
    """

    name = "simpler"
    spacing = 30.0  # its stages are whole flats

    def __init__(self, root: Path) -> None:
        """Raises: `UserError` naming the first missing file."""
        self.root = root
        if not root.is_dir():
            raise UserError(
                f"asset folder {root} does not exist; point asset_root= (or {FOLDER_VARIABLE}) "
                "at a clone of ManiSkill2_real2sim, or run `python -m envs.simpler.assets install`."
            )
        self._models: dict[str, Any] = {}
        for name in CATALOGUES:
            table = self._file(f"data/custom/info_{name}.json")
            try:
                self._models |= json.loads(table.read_text())
            except ValueError as error:
                raise UserError(f"{table} is not valid JSON ({error}); fetch it again.") from error

    def _file(self, relative: str) -> Path:
        path = self.root / relative
        if not path.is_file():
            raise UserError(
                f"asset folder {self.root} is incomplete: {relative} is missing; run "
                "`python -m envs.simpler.assets install` or name another asset_root=."
            )
        check_file(self.root, relative)
        return path

    def robot_urdf(self, robot: str, coloring: str, drawn: bool) -> Path:
        if robot.startswith("widowx"):
            path = self._file(f"{_DESCRIPTIONS}/{_WIDOWX}")
        else:
            suffix = f"_{coloring}" if coloring else ""
            path = self._file(f"{_DESCRIPTIONS}/{_GOOGLE_ROBOT}{suffix}.urdf")
        return path if drawn else _undrawn(path)

    def cabinet_urdf(self, drawn: bool, station: str, separate_panels: bool = False) -> Path:
        if separate_panels:
            raise UserError(
                "assets=simpler has the drawers' panels in one body each, which a GPU simulation "
                "cannot tell apart; use assets=primitives there."
            )
        path = self._file(f"data/custom/{station}.urdf")
        return path if drawn else _undrawn(path)

    def _info(self, model: str) -> dict[str, Any]:
        if model not in self._models:
            raise UserError(f"unknown object {model!r}.{nearest(model, self._models)}")
        return self._models[model]

    def add_object(
        self, builder: Any, model: str, material: Any, drawn: bool, density: float | None = None
    ) -> str | None:
        own_density = self.object_density(model)
        folder = f"data/custom/models/{model}"
        builder.add_multiple_convex_collisions_from_file(
            str(separated(self._file(f"{folder}/collision.obj"))),
            material=material,
            density=density or own_density,
        )
        visual = next((k for k in _VISUALS if (self.root / folder / k).is_file()), None)
        if visual is None:
            if drawn:
                add_object(_LooksOnly(builder), model, material)
            return f"looks of {model}"
        if drawn:
            builder.add_visual_from_file(str(self._file(f"{folder}/{visual}")))
        return None

    def object_density(self, model: str) -> float:
        """Density (kg/m3) of an object in the official tables."""
        return float(self._info(model).get("density", 1000.0))

    def object_size(self, model: str) -> np.ndarray:
        box = self._info(model)["bbox"]
        return np.asarray(box["max"], dtype=np.float64) - np.asarray(box["min"], dtype=np.float64)

    def object_damping(self, model: str) -> tuple[float, float]:  # noqa: ARG002
        return _DAMPING

    def rests(self, task: TaskSpec, layout: Layout, stage: str) -> list[Rest] | None:
        if self._stage(stage).is_file() and not stage.startswith(NOT_SOLID):
            return None  # measured on the plain stand-in
        return rests(task, layout)

    def overlay(self, photograph: str) -> np.ndarray | None:
        path = self._file(f"data/real_inpainting/{photograph}.png")
        try:
            with Image.open(path) as picture:
                return np.asarray(picture.convert("RGB"))
        except OSError as error:
            raise UserError(f"{path} does not decode as a picture; fetch it again.") from error

    def add_stage(self, builder: Any, stage: str, robot: str, drawn: bool) -> Surroundings:
        if not stage:
            return add_floor(builder, _WHITE, drawn)
        path = self._stage(stage)
        if not path.is_file():
            return add_plain_stage(builder, stage, drawn)
        check_file(self.root, f"{_STAGES}/{stage}.glb")
        return add_official_stage(builder, path, robot, drawn)

    def _stage(self, stage: str) -> Path:
        return self.root / _STAGES / f"{stage}.glb"


class _LooksOnly:
    """An actor builder that takes visual shapes and passes over collision shapes."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def __getattr__(self, name: str) -> Any:
        if "collision" in name:
            return lambda *_, **__: self
        return getattr(self._builder, name)


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
    return write_urdf(ElementTree.tostring(robot, encoding="unicode"), path.stem)
