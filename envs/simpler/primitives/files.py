"""URDF files of the primitive robots and the cabinet, generated into a cache folder."""

import hashlib
import os
import tempfile
from pathlib import Path

from envs.simpler.primitives import cabinet, google_robot, widowx
from experiment.errors import UserError, nearest


def robot_urdf(coloring: str = "", drawn: bool = True, folder: Path | None = None) -> Path:
    """File with the robot in one of SIMPLER's colourings.

    Raises: `UserError` for an unknown colouring.
    """
    if coloring not in google_robot.PALETTES:
        raise UserError(f"unknown coloring {coloring!r}.{nearest(coloring, google_robot.PALETTES)}")
    return write_urdf(google_robot.urdf(coloring, drawn), "google_robot", folder)


def widowx_urdf(drawn: bool = True, folder: Path | None = None) -> Path:
    return write_urdf(widowx.urdf(drawn), "widowx", folder)


def cabinet_urdf(
    separate_panels: bool = False,
    drawn: bool = True,
    folder: Path | None = None,
    station: str = "mk_station_recolor",
) -> Path:
    """File with the cabinet; see `cabinet.links` for `separate_panels`.

    Raises: `UserError` for an unknown station.
    """
    if station not in cabinet.STATIONS:
        raise UserError(f"unknown station {station!r}.{nearest(station, cabinet.STATIONS)}")
    return write_urdf(cabinet.urdf(separate_panels, drawn, station), "cabinet", folder)


def write_urdf(text: str, name: str, folder: Path | None = None) -> Path:
    """Write URDF text to `folder` (default: the user's cache) under a name that holds its hash.

    Safe for many processes at once: an existing file of that name has that content, and a new one
    appears whole.
    """
    folder = folder or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.urdf"
    if not path.is_file():
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}-")
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(temporary).replace(path)
    return path


def cache_folder() -> Path:
    """Folder for generated files: $XDG_CACHE_HOME, or ~/.cache, or the temporary folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    candidate = Path(base) if base else Path.home() / ".cache"
    if not os.access(candidate if candidate.exists() else candidate.parent, os.W_OK):
        candidate = Path(tempfile.gettempdir())
    return candidate / "self-flow-robotics"
