"""The sink with its yellow basket, in boxes.

Fitted to the original's 82 hulls: the heights of floors, ledges and rims where objects can come.
The basin takes y > 0, the basket y < 0; both floors slope a little, as the original's do. The drain
beside the basin is filled up.
"""

from envs.simpler.primitives.solids import Solid, Vector, X, Y

STEEL = (0.42, 0.43, 0.45)
DARK_STEEL = (0.33, 0.34, 0.36)
YELLOW = (0.70, 0.50, 0.05)
FOOT = -0.0013


def _block(
    x: tuple[float, float], y: tuple[float, float], top: float, color: Vector = STEEL
) -> Solid:
    """A block from the sink's foot up to `top`."""
    size = (x[1] - x[0], y[1] - y[0], top - FOOT)
    return Solid(size, ((x[0] + x[1]) / 2, (y[0] + y[1]) / 2, (top + FOOT) / 2), color)


def basin() -> list[Solid]:
    """Floor, ledges and walls of the open half."""
    return [
        _block((-0.0384, 0.1180), (0.0750, 0.1615), 0.0397, DARK_STEEL),
        # From 43.7 mm beside the basket down to the level floor.
        Solid((0.1564, 0.0900, 0.0200), (0.0398, 0.0301, 0.0316), DARK_STEEL, X, tilt=-0.0444),
        _block((-0.0525, -0.0384), (-0.0030, 0.1615), 0.0451, DARK_STEEL),
        _block((-0.1372, -0.0525), (-0.0243, 0.1615), 0.0985),
        _block((0.0985, 0.1381), (-0.0308, 0.1615), 0.0955),
        _block((-0.1372, 0.1381), (0.1615, 0.1946), 0.0950),
        _block((-0.0384, 0.0985), (-0.0308, -0.0148), 0.0520, DARK_STEEL),
    ]


def basket() -> list[Solid]:
    """Floor, ledge and walls of the basket.

    The board that the eggplant's place is measured by falls in here. As in the original it ends up
    leaning on the ledge; the wall at +x slopes so that it slides there.
    """
    return [
        # From 50.7 mm down to 45.8 mm towards +x.
        Solid((0.1069, 0.1027, 0.0200), (0.0385, -0.0987, 0.0382), YELLOW, Y, tilt=0.0460),
        _block((-0.0434, -0.0149), (-0.1500, -0.0470), 0.0456, YELLOW),
        _block((-0.0660, -0.0434), (-0.1500, -0.0470), 0.0621, YELLOW),
        _block((-0.0780, -0.0660), (-0.1500, -0.0470), 0.1040, YELLOW),
        _block((-0.1166, -0.0780), (-0.1715, -0.0243), 0.1160, YELLOW),
        _block((-0.1372, -0.1166), (-0.2000, -0.0243), 0.0980),
        # From the floor's end at x = 76 mm up to the rim at 107 mm.
        Solid((0.0300, 0.1030, 0.0585), (0.1044, -0.0985, 0.0635), YELLOW, Y, tilt=0.5515),
        _block((0.1070, 0.1379), (-0.2020, -0.0243), 0.0963, YELLOW),
        _block((-0.1166, 0.1070), (-0.2036, -0.1500), 0.0980, YELLOW),
        _block((-0.0780, 0.1070), (-0.0470, -0.0308), 0.0972, YELLOW),
    ]


def sink() -> list[Solid]:
    return [*basin(), *basket()]
