"""Loose bodies as lists of solids, and how they are added to a SAPIEN actor builder.

Lengths in metres, angles in radians, densities in kg/m^3, colours in linear rgb.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin, sqrt
from typing import Any

import sapien

Vector = tuple[float, float, float]

X, Y, Z = "x", "y", "z"
# SAPIEN's cylinders and capsules lie along x: quaternions (w x y z) that turn x to another axis.
_ALONG = {
    X: (1.0, 0.0, 0.0, 0.0),
    Y: (sqrt(0.5), 0.0, 0.0, sqrt(0.5)),
    Z: (sqrt(0.5), 0.0, -sqrt(0.5), 0.0),
}
# PhysX has no cylinders; SAPIEN makes prisms of so many sides, which weigh a little less.
PRISM_SIDES = 32
_PRISM = PRISM_SIDES / (2.0 * pi) * sin(2.0 * pi / PRISM_SIDES)


@dataclass(frozen=True)
class Solid:
    """One solid of a body, in the body's frame.

    size: (x, y, z) edge lengths of a box; (radius, length) of a cylinder or a capsule, whose length
    includes its round ends; (radius,) of a sphere. axis: along which a cylinder or capsule lies.
    tilt: turn of a box about that axis. collides: whether it collides and has mass. drawn: whether
    it is visible.
    """

    size: tuple[float, ...]
    xyz: Vector = (0.0, 0.0, 0.0)
    color: Vector = (0.5, 0.5, 0.5)
    axis: str = X
    round_ends: bool = False
    tilt: float = 0.0
    collides: bool = True
    drawn: bool = True

    @property
    def volume(self) -> float:
        """Volume (m^3) that the simulator gives it."""
        if len(self.size) == 3:
            return self.size[0] * self.size[1] * self.size[2]
        radius = self.size[0]
        if len(self.size) == 1:
            return 4.0 / 3.0 * pi * radius**3
        length = self.size[1]
        if self.round_ends:
            return pi * radius**2 * (length - 2.0 * radius) + 4.0 / 3.0 * pi * radius**3
        return _PRISM * pi * radius**2 * length

    def _pose(self) -> sapien.Pose:
        turn: Sequence[float] = _ALONG[self.axis]
        if len(self.size) == 3:
            about = [sin(self.tilt / 2) if axis == self.axis else 0.0 for axis in (X, Y, Z)]
            turn = (cos(self.tilt / 2), *about)
        return sapien.Pose(list(self.xyz), list(turn))

    def _shape(self) -> tuple[str, dict[str, Any]]:
        """SAPIEN's name of the shape and its measures."""
        size = self.size
        if len(size) == 3:
            return "box", {"half_size": [value / 2 for value in size]}
        if len(size) == 1:
            return "sphere", {"radius": size[0]}
        if self.round_ends:
            return "capsule", {"radius": size[0], "half_length": size[1] / 2 - size[0]}
        return "cylinder", {"radius": size[0], "half_length": size[1] / 2}

    def add(self, builder: Any, material: Any, density: float, drawn: bool) -> None:
        """Add it to an actor builder; `material` is its PhysxMaterial (None = default)."""
        kind, measures = self._shape()
        pose = self._pose()
        if self.collides:
            collide = getattr(builder, f"add_{kind}_collision")
            collide(pose=pose, material=material, density=density, **measures)
        if drawn and self.drawn:
            getattr(builder, f"add_{kind}_visual")(pose=pose, material=self._paint(), **measures)

    def _paint(self) -> Any:
        return sapien.render.RenderMaterial(base_color=[*self.color, 1.0], roughness=0.6)


def volume(solids: Sequence[Solid]) -> float:
    """Volume (m^3) of all that collide; where they overlap counted as often, as PhysX does."""
    return sum(solid.volume for solid in solids if solid.collides)
