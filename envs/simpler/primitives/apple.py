"""The apple as one sphere with a stem.

The original is a convex hull 7.2 cm high with 8 cm of girth and a mass of 0.2144 kg, whose small
flat faces stop it from rolling; a sphere needs more angular damping for that.
"""

from typing import Any

import sapien

RADIUS = 0.0375
MASS = 0.21444590389728546
DENSITY = MASS / (4.0 / 3.0 * 3.141592653589793 * RADIUS**3)
LINEAR_DAMPING = 0.1
ANGULAR_DAMPING = 2.0

RED = (0.36, 0.028, 0.018)
STEM_BROWN = (0.06, 0.03, 0.01)
STEM_SIZE = (0.002, 0.006)


def add_shapes(builder: Any, material: Any, drawn: bool = True) -> None:
    """Add the apple to a SAPIEN actor builder; `material` is its PhysxMaterial (None = default).

    Its frame is the centre of the sphere, z up along the stem.
    """
    builder.add_sphere_collision(radius=RADIUS, material=material, density=DENSITY)
    if not drawn:
        return
    builder.add_sphere_visual(radius=RADIUS, material=_paint(RED), name="apple")
    radius, half_length = STEM_SIZE
    # SAPIEN's cylinders lie along x.
    upright = sapien.Pose([0.0, 0.0, RADIUS + half_length / 2], [0.7071068, 0.0, 0.7071068, 0.0])
    builder.add_cylinder_visual(
        upright, radius=radius, half_length=half_length, material=_paint(STEM_BROWN), name="stem"
    )


def _paint(color: tuple[float, float, float]) -> Any:
    material = sapien.render.RenderMaterial()
    material.base_color = [*color, 1.0]
    return material
