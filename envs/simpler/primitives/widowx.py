"""The WidowX 250 S in boxes and cylinders.

Joints and inertias: SIMPLER's `wx250s.urdf` (ManiSkill2_real2sim, commit ef7a4d4), the inertias
turned into the links' own axes. Shapes follow the extents of its collision hulls from inside. The
file's note that one finger mimics the other is left out: SAPIEN 2 does not read it, so in the
original each finger has a drive of its own.
"""

from math import pi

from envs.simpler.primitives.urdf import ZERO, Color, Inertial, Joint, Link, Shape, render

PALETTE: dict[str, Color] = {
    "shell": (0.022, 0.022, 0.024),
    "motor": (0.045, 0.045, 0.050),
    "metal": (0.28, 0.28, 0.29),
    "finger": (0.032, 0.032, 0.036),
}

ALONG_X = (0.0, pi / 2, 0.0)

# Links without a body have some inertia in the original, or its simulator would refuse them.
_FRAME = Inertial(0.001, ZERO, (0.001, 0.0, 0.0, 0.001, 0.0, 0.001))
_FINGER = Inertial(
    0.016246, (0.013816, 0.0, 0.0), (1.5506e-06, 4.56e-07, 0.0, 4.731e-06, 0.0, 3.7467e-06)
)


def _finger(side: int) -> tuple[Shape, ...]:
    """A flat pad that faces the other finger, on a thicker base; `side` is 1 for the left one."""
    return (
        Shape((0.0467, 0.0058, 0.0260), (0.01985, -side * 0.0073, 0.0), "finger"),
        Shape((0.0215, 0.0108, 0.0250), (-0.0008, -side * 0.0006, 0.0), "finger"),
        Shape((0.0200, 0.0075, 0.0270), (0.0180, -side * 0.0022, 0.0), "finger"),
    )


LINKS = (
    Link(
        "base_link",
        Inertial(
            0.538736,
            (-0.0380446, 0.000613892, 0.0193354),
            (6.921e-04, 1.635e-05, -4.642e-05, 2.115e-03, 6.998e-07, 2.524e-03),
        ),
        (
            Shape((0.0710, 0.022), (0.0, 0.0, 0.0110), "shell"),
            Shape((0.0540, 0.070), (0.0, 0.0, 0.0355), "shell"),
            Shape((0.1250, 0.105, 0.046), (-0.0625, 0.0, 0.0230), "shell"),
            Shape((0.0330, 0.068, 0.032), (-0.1365, 0.0, 0.0160), "shell"),
        ),
    ),
    Link(
        "shoulder_link",
        Inertial(
            0.480879,
            (2.23482e-05, 4.14609e-05, 6.6287e-03),
            (5.557e-04, -2.2e-09, -1.2245e-06, 3.79e-04, -3.561e-07, 5.889e-04),
        ),
        (
            Shape((0.0495, 0.008), (0.0, 0.0, 0.0015), "metal"),
            Shape((0.0420, 0.084, 0.0420), (0.0, 0.0, 0.0185), "shell"),
            Shape((0.0270, 0.096, 0.0500), (0.0, 0.0, 0.0225), "motor"),
        ),
    ),
    Link(
        "upper_arm_link",
        Inertial(
            0.430811,
            (0.0171605, 2.725e-07, 0.191323),
            (3.587e-03, 1e-10, -4.272e-04, 3.463e-03, -2e-10, 4.566e-04),
        ),
        (
            Shape((0.0280, 0.026, 0.0760), (0.0025, 0.0, 0.0250), "shell"),
            Shape((0.0395, 0.049, 0.0700), (0.0073, 0.0, 0.0900), "shell"),
            Shape((0.0495, 0.071, 0.0700), (0.0133, 0.0, 0.1550), "shell"),
            Shape((0.0595, 0.093, 0.0770), (0.0203, 0.0, 0.2235), "shell"),
            Shape((0.0600, 0.097, 0.0350), (0.0290, 0.0, 0.2430), "motor"),
        ),
    ),
    Link(
        "upper_forearm_link",
        Inertial(
            0.234589,
            (0.107963, 1.15876e-04, 0.0),
            (3.971e-05, 2.3528e-06, 0.0, 8.878e-04, 0.0, 8.88e-04),
        ),
        (
            Shape((0.0152, 0.094), (0.0345, 0.0, 0.0), "shell", rpy=ALONG_X),
            Shape((0.0188, 0.080), (0.1215, 0.0, 0.0), "shell", rpy=ALONG_X),
            Shape((0.0095, 0.013), (0.1680, 0.0, 0.0), "metal", rpy=ALONG_X),
        ),
    ),
    Link(
        "lower_forearm_link",
        Inertial(
            0.220991,
            (0.0374395, 5.22252e-03, 0.0),
            (6.369e-05, 2.292e-05, 0.0, 1.677e-04, 0.0, 1.834e-04),
        ),
        (
            Shape((0.0230, 0.018), (0.0060, 0.0, 0.0), "motor", rpy=ALONG_X),
            Shape((0.0320, 0.058, 0.0410), (0.0230, 0.0055, 0.0), "shell"),
            Shape((0.0450, 0.045, 0.0330), (0.0615, -0.0005, 0.0), "motor"),
        ),
    ),
    Link(
        "wrist_link",
        Inertial(
            0.084957,
            (0.04236, -1.0663e-05, 0.010577),
            (2.822e-05, -1.91e-08, -2.5481e-06, 3.082e-05, 2.3e-09, 3.152e-05),
        ),
        (
            Shape((0.0320, 0.042, 0.0240), (0.0130, 0.0, 0.0005), "shell"),
            Shape((0.0300, 0.042, 0.0500), (0.0440, 0.0, 0.0095), "motor"),
            Shape((0.0190, 0.006), (0.0615, 0.0, 0.0), "metal", rpy=ALONG_X),
        ),
    ),
    Link(
        "gripper_link",
        Inertial(
            0.072885,
            (0.021631, 2.516e-07, 0.01141),
            (1.836e-05, 0.0, -4.34e-07, 2.537e-05, 0.0, 1.674e-05),
        ),
        (
            Shape((0.0190, 0.012), (0.0065, 0.0, 0.0), "metal", rpy=ALONG_X),
            Shape((0.0415, 0.030, 0.0440), (0.0215, 0.0, 0.0120), "motor"),
        ),
    ),
    Link("ee_arm_link", _FRAME),
    Link(
        "gripper_prop_link",
        Inertial(
            0.00434,
            (8.46e-04, -1.6817e-06, 4.2e-05),
            (1.1156e-06, 0.0, 4e-10, 5.923e-07, 3.195e-07, 5.743e-07),
        ),
        # Within the bar, with which it would collide.
        (Shape((0.0045, 0.0130, 0.0340), ZERO, "metal", solid=False),),
    ),
    Link(
        "gripper_bar_link",
        Inertial(
            0.034199,
            (9.687e-03, 8.177e-07, 4.962e-03),
            (2.843e-05, 8e-10, 1.3889e-06, 7.4125e-06, -6e-10, 2.86e-05),
        ),
        (
            Shape((0.0055, 0.029, 0.0463), (0.0030, 0.0, 0.0104), "shell"),
            Shape((0.0120, 0.052, 0.0335), (0.0062, 0.0, 0.0076), "shell"),
            Shape((0.0200, 0.072, 0.0220), (0.0102, 0.0, 0.0033), "shell"),
            Shape((0.0275, 0.096, 0.0095), (0.0142, 0.0, 0.0003), "shell"),
        ),
    ),
    Link("fingers_link", _FRAME),
    Link("left_finger_link", _FINGER, _finger(1)),
    Link("right_finger_link", _FINGER, _finger(-1)),
    Link("ee_gripper_link", _FRAME),
)

_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
_TURN, _ROLL = (-pi, pi), (-3.141582653589793, 3.141582653589793)
_SLIDE = (0.015, 0.037)

JOINTS = (
    Joint("waist", "base_link", "shoulder_link", (0.0, 0.0, 0.072), axis=_Z, limits=_TURN),
    Joint("shoulder", "shoulder_link", "upper_arm_link", (0.0, 0.0, 0.03865), axis=_Y,
          limits=(-1.8849555921538759, 1.9896753472735358)),
    Joint("elbow", "upper_arm_link", "upper_forearm_link", (0.04975, 0.0, 0.25), axis=_Y,
          limits=(-2.1467549799530254, 1.6057029118347832)),
    Joint("forearm_roll", "upper_forearm_link", "lower_forearm_link", (0.175, 0.0, 0.0), axis=_X,
          limits=_ROLL),
    Joint("wrist_angle", "lower_forearm_link", "wrist_link", (0.075, 0.0, 0.0), axis=_Y,
          limits=(-1.7453292519943295, 2.1467549799530254)),
    Joint("wrist_rotate", "wrist_link", "gripper_link", (0.065, 0.0, 0.0), axis=_X, limits=_ROLL),
    Joint("ee_arm", "gripper_link", "ee_arm_link", (0.043, 0.0, 0.0)),
    Joint("gripper", "ee_arm_link", "gripper_prop_link", (0.0055, 0.0, 0.0)),
    Joint("gripper_bar", "ee_arm_link", "gripper_bar_link"),
    Joint("ee_bar", "gripper_bar_link", "fingers_link", (0.023, 0.0, 0.0)),
    Joint("left_finger", "fingers_link", "left_finger_link", axis=_Y, limits=_SLIDE,
          kind="prismatic"),
    Joint("right_finger", "fingers_link", "right_finger_link", axis=(0.0, -1.0, 0.0),
          limits=_SLIDE, kind="prismatic"),
    Joint("ee_gripper", "fingers_link", "ee_gripper_link", (0.027575, 0.0, 0.0)),
)  # fmt: skip


def urdf(drawn: bool = True) -> str:
    """URDF text of the robot; nothing to see in it unless `drawn`."""
    return render("wx250s", LINKS, JOINTS, PALETTE if drawn else None)
