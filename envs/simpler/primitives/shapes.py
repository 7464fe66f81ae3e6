"""SIMPLER's loose objects in boxes, cylinders, capsules and spheres.

Each is fitted to the original's collision hulls: extents, the height at which it rests, the centre
of mass. Frames are the original's: cans and bottles have their axis along y.
"""

from envs.simpler.primitives.solids import Solid, Vector, X, Y, Z

SILVER = (0.55, 0.55, 0.56)
WHITE = (0.80, 0.80, 0.78)
CUBE = 0.03
APPLE_RADIUS = 0.0375


def can(color: Vector, low: float, high: float, radius: float, x: float, z: float) -> list[Solid]:
    """A can whose axis, along y from `low` to `high`, passes through (x, z)."""
    foot, shoulder = 0.0055, 0.0125
    spans = (
        (radius * 0.76, low, low + foot, SILVER),
        (radius, low + foot, high - shoulder, color),
        (radius * 0.83, high - shoulder, high, SILVER),
    )
    return [Solid((r, b - a), (x, (a + b) / 2, z), tint, Y) for r, a, b, tint in spans]


def bottle(low: float, top: float) -> list[Solid]:
    """A bottle of tea: blue body, narrower shoulder, white cap."""
    blue, x, z = (0.02, 0.08, 0.34), 0.0014, 0.0028
    spans = (
        (0.0316, low, 0.0600, blue),
        (0.0250, 0.0600, 0.0860, blue),
        (0.0165, 0.0860, top, WHITE),
    )
    return [Solid((r, b - a), (x, (a + b) / 2, z), tint, Y) for r, a, b, tint in spans]


def sponge() -> list[Solid]:
    """The original bulges to one side in the middle."""
    green = (0.20, 0.42, 0.10)
    ends = [Solid((0.0255, 0.0645, 0.037), (x, 0.0003, 0.0), green) for x in (-0.0378, 0.0378)]
    return [*ends, Solid((0.0500, 0.0655, 0.037), (0.0, 0.0058, 0.0), green)]


def spoon() -> list[Solid]:
    """Handle along +x, bowl along -x. It rests on the bowl's tip and the handle's middle."""
    green = (0.06, 0.28, 0.08)
    return [
        Solid((0.0430, 0.0200, 0.0240), (0.0425, 0.0, 0.0008), green),
        Solid((0.0240, 0.0150, 0.0180), (0.0090, 0.0, 0.0003), green),
        Solid((0.0230, 0.0110, 0.0110), (-0.0125, 0.0, 0.0010), green),
        Solid((0.0400, 0.0320, 0.0080), (-0.0420, 0.0, -0.0042), green),
        Solid((0.0110, 0.0240, 0.0080), (-0.0675, 0.0, 0.0030), green),
    ]


def carrot() -> list[Solid]:
    """Crossed boxes, so that it has flat sides to lie on and to be held by, as the original's hull.

    It thins out towards -x, where its underside rises, and lies tilted by that; the leaves at +x
    stand a little higher.
    """
    orange, leaf = (0.75, 0.16, 0.01), (0.05, 0.22, 0.03)
    thick = [
        Solid((0.040, *edges), (0.0110, 0.0, -0.0014), orange, Y, tilt=-0.0864)
        for edges in ((0.0316, 0.0170), (0.0170, 0.0316))
    ]
    return [
        *thick,
        Solid((0.0280, 0.0215, 0.0215), (-0.0230, 0.0, -0.0028), orange),
        Solid((0.0280, 0.0120, 0.0120), (-0.0500, 0.0, -0.0042), orange),
        Solid((0.0235, 0.0220, 0.0200), (0.0425, 0.0, 0.0110), leaf),
    ]


def eggplant() -> list[Solid]:
    """A thick round end at +x and a thinner one with the stalk at -x.

    It lies on a prism, whose sides stop it from rolling down the sink's floor.
    """
    purple, green = (0.035, 0.006, 0.035), (0.05, 0.15, 0.03)
    return [
        Solid((0.0185, 0.0240), (0.0065, 0.0, -0.0010), purple, X),
        Solid((0.0160, 0.0440), (0.0113, 0.0, -0.0010), purple, X, round_ends=True),
        Solid((0.0150, 0.0440), (-0.0140, 0.0, 0.0020), purple, X, round_ends=True),
        Solid((0.0060, 0.0240), (-0.0335, 0.0, 0.0060), green, X, round_ends=True),
    ]


def plate() -> list[Solid]:
    """A solid disc on a smaller one; the rim is only drawn."""
    return [
        Solid((0.0337, 0.0030), (0.0, 0.0, 0.0015), WHITE, Z),
        Solid((0.0550, 0.0030), (0.0, 0.0, 0.0045), (0.62, 0.62, 0.63), Z),
        Solid((0.0450, 0.0004), (0.0, 0.0, 0.0061), WHITE, Z, collides=False),
    ]


def cloth() -> list[Solid]:
    return [Solid((0.1010, 0.1001, 0.0084), (0.0002, -0.0010, -0.0007), (0.10, 0.19, 0.42))]


def cube(color: Vector) -> list[Solid]:
    return [Solid((CUBE, CUBE, CUBE), color=color)]


def apple() -> list[Solid]:
    """A sphere with a stem along z.

    The original is a convex hull 7.2 cm high with 8 cm of girth.
    """
    stem = Solid(
        (0.002, 0.012), (0.0, 0.0, APPLE_RADIUS + 0.003), (0.06, 0.03, 0.01), Z, collides=False
    )
    return [Solid((APPLE_RADIUS,), color=(0.36, 0.028, 0.018)), stem]


def orange() -> list[Solid]:
    return [Solid((0.0353,), (0.0, 0.0, -0.0006), (0.78, 0.22, 0.01))]


def sink_target() -> list[Solid]:
    """The invisible board in the basket that the eggplant's place is measured by."""
    return [Solid((0.13, 0.08, 0.002), drawn=False)]
