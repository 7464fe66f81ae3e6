"""The apple as one sphere with a stem.

The original is a convex hull 7.2 cm high with 8 cm of girth and a mass of 0.2144 kg, whose small
flat faces stop it from rolling; a sphere needs more angular damping for that.
"""

from envs.simpler.primitives.parts import Part, Z

RADIUS = 0.0375
MASS = 0.21444590389728546

RED = (0.36, 0.028, 0.018)
STEM_BROWN = (0.06, 0.03, 0.01)

PARTS = (
    Part((RADIUS,), color=RED),
    Part((0.002, 0.012), (0.0, 0.0, RADIUS + 0.003), STEM_BROWN, Z, solid=False),
)
"""Its frame is the centre of the sphere, z up along the stem."""
