"""The Google robot with a static base in boxes, cylinders and spheres.

Shapes follow the extents of the original's collision hulls, each a little inside its hull so that
no pair of links touches that did not. Two places are not free: a finger of one box jams on a
drawer's board (the original's tip is a wedge, here three boxes), and a head wider than 0.15 m hits
the elbow.
"""

from math import pi

from envs.simpler.primitives.google_robot_mechanism import FRAMES, INERTIALS, JOINTS
from envs.simpler.primitives.urdf import Color, Link, Shape, render

# SIMPLER's colourings of the robot for visual matching; linear rgb of what the camera sees of them.
_PAINTS: dict[str, tuple[Color, Color]] = {
    "": ((0.72, 0.72, 0.74), (0.90, 0.62, 0.15)),
    "recolor_tabletop_visual_matching_1": ((0.86, 0.63, 0.48), (0.78, 0.33, 0.09)),
    "recolor_tabletop_visual_matching_2": ((0.86, 0.74, 0.57), (0.90, 0.56, 0.16)),
    "recolor_cabinet_visual_matching_1": ((0.64, 0.45, 0.32), (0.78, 0.33, 0.09)),
}
PALETTES: dict[str, dict[str, Color]] = {
    coloring: {
        "shell": shell,
        "joint": (shell[0] * 0.72, shell[1] * 0.72, shell[2] * 0.72),
        "finger": finger,
        "trim": (finger[0] * 0.8, finger[1] * 0.7, finger[2] * 0.5),
        "dark": (0.03, 0.03, 0.035),
    }
    for coloring, (shell, finger) in _PAINTS.items()
}

# Rotations that lay a cylinder's axis along y or along x.
ALONG_Y = (pi / 2, 0.0, 0.0)
ALONG_X = (0.0, pi / 2, 0.0)
# The forearm's axis leans towards the wrist's offset.
FOREARM_LEAN = (-0.083, 0.0, 0.0)

_FINGER_SHAPES = (
    Shape((0.048, 0.0305, 0.026), (0.0, -0.0010, 0.0330), "finger"),
    Shape((0.042, 0.0225, 0.0226), (0.0, -0.0055, 0.0573), "finger"),
)
_TIP_SHAPES = (
    Shape((0.040, 0.0202, 0.0170), (0.0, 0.0034, 0.0058), "finger"),
    Shape((0.034, 0.0151, 0.0150), (0.0, 0.00095, 0.0218), "finger"),
    Shape((0.025, 0.0095, 0.0150), (0.0, -0.00155, 0.0368), "finger"),
)
_NAIL_SHAPES = (Shape((0.015, 0.0024, 0.0030), (0.0, -0.0013, 0.0), "finger"),)

SHAPES: dict[str, tuple[Shape, ...]] = {
    "link_base": (
        Shape((0.50, 0.32, 0.235), (-0.142, 0.0, 0.085), "shell"),
        Shape((0.10, 0.05), (-0.01, 0.0, 0.2240), "shell"),
        Shape((0.088, 0.3397), (0.0, 0.0, 0.4188), "shell"),
        Shape((0.070, 0.2653), (0.0, 0.0, 0.9336), "shell"),
        Shape((0.058, 0.1045), (0.0, 0.0, 1.1184), "joint"),
        Shape((0.070, 0.050, 0.090), (0.068, 0.0, 1.0532), "joint"),
    ),
    "link_base_inertial": (),
    "link_wheel_left": (Shape((0.0645, 0.026), color="dark", rpy=ALONG_Y),),
    "link_wheel_right": (Shape((0.0645, 0.026), color="dark", rpy=ALONG_Y),),
    "link_rear_wheel_left": (Shape((0.0381, 0.0222), color="dark", rpy=ALONG_Y),),
    "link_rear_wheel_right": (Shape((0.0381, 0.0222), color="dark", rpy=ALONG_Y),),
    "link_torso": (
        Shape((0.073, 0.212), (0.0, 0.0, 0.1065), "shell"),
        Shape((0.057, 0.165), (0.0, -0.0825, 0.113), "shell", rpy=ALONG_Y),
    ),
    "link_shoulder": (
        Shape((0.064, 0.111), (0.0, 0.0255, 0.0), "joint", rpy=ALONG_Y),
        Shape((0.055, 0.217), (0.0, 0.003, 0.1085), "shell"),
    ),
    "link_bicep": (
        Shape((0.055, 0.190), (0.0, 0.0, 0.095), "shell"),
        Shape((0.051, 0.105), (0.0, -0.0145, 0.1845), "shell", rpy=ALONG_Y),
        Shape((0.0565, 0.008), (0.0, 0.0, 0.020), "trim", solid=False),
    ),
    "link_elbow": (
        Shape((0.050, 0.110), (0.0, -0.055, 0.0), "joint", rpy=ALONG_Y),
        Shape((0.044, 0.100), (0.0, -0.101, 0.0405), "shell"),
    ),
    "link_forearm": (
        Shape((0.042, 0.268), (0.0, 0.0115, 0.136), "shell", rpy=FOREARM_LEAN),
        Shape((0.040, 0.078), (0.0, 0.0235, 0.2735), "shell", rpy=ALONG_Y),
        Shape((0.0432, 0.008), (0.0, 0.0045, 0.050), "trim", solid=False, rpy=FOREARM_LEAN),
    ),
    "link_wrist": (
        Shape((0.038, 0.068), (0.0, -0.0195, 0.0), "joint", rpy=ALONG_Y),
        Shape((0.039, 0.100), (0.0, 0.005, 0.0615), "shell"),
    ),
    "link_gripper": (
        Shape((0.0405, 0.048), (0.0, 0.0, 0.0255), "joint"),
        Shape((0.036, 0.094, 0.046), (0.0, 0.0, 0.0250), "joint"),
        Shape((0.028, 0.026), (0.0, 0.0, 0.0625), "dark"),
    ),
    "link_finger_right": _FINGER_SHAPES,
    "link_finger_tip_right": _TIP_SHAPES,
    "link_finger_nail_right": _NAIL_SHAPES,
    "link_finger_left": _FINGER_SHAPES,
    "link_finger_tip_left": _TIP_SHAPES,
    "link_finger_nail_left": _NAIL_SHAPES,
    "link_head_pan": (
        Shape((0.057, 0.110), (0.0, 0.0, 0.0595), "shell"),
        Shape((0.050, 0.100, 0.040), (0.0600, 0.0, 0.1180), "shell"),
    ),
    "link_head_tilt": (
        # Behind the camera, which sits at x = 0.105 and must not look into its own housing.
        Shape((0.120, 0.150, 0.080), (0.028, 0.0, 0.0), "shell"),
        Shape((0.044, 0.006), (0.089, 0.0, 0.0), "dark", solid=False, rpy=ALONG_X),
    ),
}
LINKS = (
    *(Link(name, INERTIALS.get(name), shapes) for name, shapes in SHAPES.items()),
    *(Link(name) for name in FRAMES),
)


def urdf(coloring: str = "", drawn: bool = True) -> str:
    """URDF text of the robot in one of SIMPLER's colourings (a key of `PALETTES`)."""
    return render("google_robot", LINKS, JOINTS, PALETTES[coloring] if drawn else None)
