"""The cabinet with three drawers (SIMPLER's `mk_station` files), all of it boxes.

The original has no inertial data: masses follow from the boxes at 1000 kg/m^3 (a drawer 11.4 kg).
Drawer handles are drawn but do not collide, as in the original.
"""

from envs.simpler.primitives.urdf import Color, Joint, Link, Shape, render
from envs.simpler.tasks.registry import DRAWERS

# Linear rgb. The original paints everything but the handles in one brown; the slight differences
# between front, inside and top keep the drawer readable without the photograph around it.
PALETTE: dict[str, Color] = {
    "board": (0.325, 0.187, 0.1166),
    "front": (0.345, 0.200, 0.125),
    "inside": (0.270, 0.155, 0.097),
    "top": (0.335, 0.193, 0.120),
    "handle": (0.01266, 0.00226, 0.0005),
}

# The cabinets of variant aggregation: the original's colours, its fronts a shade lighter.
_GREY: dict[str, Color] = {
    "board": (0.388, 0.322, 0.275),
    "front": (0.400, 0.332, 0.283),
    "inside": (0.388, 0.322, 0.275),
    "top": (0.635, 0.529, 0.412),
    "handle": (0.1, 0.1, 0.1),
}
STATIONS: dict[str, dict[str, Color]] = {
    "mk_station_recolor": PALETTE,
    "mk_station": _GREY | {"inside": (1.0, 1.0, 1.0)},
    "mk_station2": _GREY,
    # Its top carries a picture of light stone in the original; this is the picture's mean.
    "mk_station3": _GREY | {"top": (0.487, 0.448, 0.413)},
}
"""Looks of SIMPLER's cabinets by name; they differ in nothing else."""

# Height of each drawer's frame above the cabinet's foot.
DRAWER_HEIGHT = {"top": 0.668, "middle": 0.423, "bottom": 0.178}
TRAVEL = (0.0, 0.5)
# Suffix of the link that holds a drawer's bottom panel where it is a separate body.
PANEL_SUFFIX = "_drawer_bottom_panel"

BODY = (
    Shape((0.02, 0.615, 0.845), (-0.305, 0.0, 0.4225), "board"),
    Shape((0.59, 0.02, 0.845), (0.0, -0.2975, 0.4225), "board"),
    Shape((0.59, 0.02, 0.845), (0.0, 0.2975, 0.4225), "board"),
    Shape((0.63, 0.615, 0.02), (0.0, 0.0, 0.855), "top"),
)
HANDLE = (
    Shape((0.005, 0.1, 0.005), (0.3425, 0.0, 0.02), "handle", solid=False),
    Shape((0.02, 0.005, 0.005), (0.3325, -0.05, 0.02), "handle", solid=False),
    Shape((0.02, 0.005, 0.005), (0.3325, 0.05, 0.02), "handle", solid=False),
)
FRONT = Shape((0.015, 0.615, 0.14), (0.305, 0.0, 0.0), "front")
BACK = Shape((0.02, 0.515, 0.1), (-0.285, 0.0, -0.02), "inside")
BOTTOM_PANEL = Shape((0.55, 0.515, 0.02), (0.0, 0.0, -0.06), "inside")
SIDES = (
    Shape((0.02, 0.515, 0.1), (0.285, 0.0, -0.02), "inside"),
    Shape((0.59, 0.02, 0.1), (0.0, -0.2675, -0.02), "inside"),
    Shape((0.59, 0.02, 0.1), (0.0, 0.2675, -0.02), "inside"),
)


def links(separate_panels: bool = False) -> tuple[Link, ...]:
    """The body and the drawers.

    separate_panels: give each bottom panel a separate link, fixed to its drawer. Contacts on a
    GPU are known per body, so only then can the panel be told from the rest of the drawer. The
    panel is the third collision shape of the drawer's link otherwise, as in the original.
    """
    made = [Link("body", shapes=BODY)]
    for drawer in DRAWERS:
        panel = () if separate_panels else (BOTTOM_PANEL,)
        made.append(Link(f"{drawer}_drawer", shapes=(*HANDLE, FRONT, BACK, *panel, *SIDES)))
        if separate_panels:
            made.append(Link(f"{drawer}{PANEL_SUFFIX}", shapes=(BOTTOM_PANEL,)))
    return tuple(made)


def joints(separate_panels: bool = False) -> tuple[Joint, ...]:
    """One prismatic joint a drawer, and the fixed ones of separate bottom panels."""
    made = []
    for drawer in DRAWERS:
        made.append(
            Joint(
                name=f"{drawer}_drawer_joint",
                parent="body",
                child=f"{drawer}_drawer",
                xyz=(0.0, 0.0, DRAWER_HEIGHT[drawer]),
                axis=(1.0, 0.0, 0.0),
                limits=TRAVEL,
                kind="prismatic",
            )
        )
        if separate_panels:
            panel = f"{drawer}{PANEL_SUFFIX}"
            made.append(Joint(f"{panel}_joint", f"{drawer}_drawer", panel))
    return tuple(made)


def urdf(
    separate_panels: bool = False, drawn: bool = True, station: str = "mk_station_recolor"
) -> str:
    """URDF text of the cabinet; nothing to see in it unless `drawn`."""
    palette = STATIONS[station] if drawn else None
    return render("mk_station", links(separate_panels), joints(separate_panels), palette)
