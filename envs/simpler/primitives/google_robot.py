"""The Google robot with a static base in boxes, cylinders and spheres.

Joints and inertias: SIMPLER's `google_robot_meta_sim_fix_wheel_fix_fingertip` (ManiSkill2_real2sim,
commit ef7a4d4). Shapes follow the extents of its collision hulls, each a little inside its hull so
that no pair of links touches that did not. Two places are not free: a finger of one box jams on a
drawer's board (the original's tip is a wedge, here three boxes), and a head wider than 0.15 m hits
the elbow.
"""

from math import pi

from envs.simpler.primitives.urdf import Color, Inertial, Joint, Link, Shape, render

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

_FINGER_INERTIAL = Inertial(
    0.033324467357629,
    (3.15535341569906e-08, 3.50529611204361e-04, 3.71802506226547e-02),
    (
        9.32117719701092e-06,
        1.22669879721999e-11,
        -7.58255431912799e-12,
        6.08487398831113e-06,
        1.57826570013177e-06,
        3.23630320887583e-06,
    ),
)
_FINGER_SHAPES = (
    Shape((0.048, 0.0305, 0.026), (0.0, -0.0010, 0.0330), "finger"),
    Shape((0.042, 0.0225, 0.0226), (0.0, -0.0055, 0.0573), "finger"),
)
_TIP_INERTIAL = Inertial(
    1.61861871252174e-02,
    (7.32211158115053e-08, 4.1273472371548e-04, 2.15605732703755e-02),
    (1.066e-05, 0.0, 0.0, 1.147e-05, 0.0, 1.78e-06),
)
_TIP_SHAPES = (
    Shape((0.040, 0.0202, 0.0170), (0.0, 0.0034, 0.0058), "finger"),
    Shape((0.034, 0.0151, 0.0150), (0.0, 0.00095, 0.0218), "finger"),
    Shape((0.025, 0.0095, 0.0150), (0.0, -0.00155, 0.0368), "finger"),
)
# The nail has neither mass nor inertia in the original; these are what SAPIEN makes of its hull.
_NAIL_INERTIAL = Inertial(
    3.689126970130019e-05, (-0.00071, -0.00105, -0.00023), (1e-6, 0.0, 0.0, 1e-6, 0.0, 1e-6)
)
_NAIL_SHAPES = (Shape((0.015, 0.0024, 0.0030), (0.0, -0.0013, 0.0), "finger"),)
_REAR_WHEEL_INERTIAL = Inertial(
    0.09968095272779465,
    (0.0, 0.0, 0.0),
    (3.9686038e-05, 0.0, 0.0, 7.1168062e-05, 0.0, 3.9686049e-05),
)

_BODIES = (
    Link(
        "link_base",
        Inertial(
            52.9101052160097,
            (-0.142542994624505, 2.33339305547787e-03, 0.130110970092973),
            (
                2.78321475990223,
                1.02013636219535e-03,
                -0.544719331016329,
                3.24941132525702,
                7.51942241521894e-03,
                1.33602142044359,
            ),
        ),
        (
            Shape((0.50, 0.32, 0.235), (-0.142, 0.0, 0.085), "shell"),
            Shape((0.10, 0.05), (-0.01, 0.0, 0.2240), "shell"),
            Shape((0.088, 0.3397), (0.0, 0.0, 0.4188), "shell"),
            Shape((0.070, 0.2653), (0.0, 0.0, 0.9336), "shell"),
            Shape((0.058, 0.1045), (0.0, 0.0, 1.1184), "joint"),
            Shape((0.070, 0.050, 0.090), (0.068, 0.0, 1.0532), "joint"),
        ),
    ),
    Link("link_base_inertial"),
    Link(
        "link_wheel_left",
        Inertial(
            0.227550092516064,
            (0.0, 0.0, 0.0),
            (
                2.25894737564536e-04,
                -1.73680020768121e-07,
                -7.41129856416082e-07,
                4.34263997688239e-04,
                -1.74562742842436e-07,
                2.25894737558779e-04,
            ),
        ),
        (Shape((0.0645, 0.026), color="dark", rpy=ALONG_Y),),
    ),
    Link(
        "link_wheel_right",
        Inertial(
            0.227550092516064,
            (0.0, 0.0, 0.0),
            (
                2.25894737564536e-04,
                -1.73680020768121e-07,
                7.41129856416082e-07,
                4.34263997688239e-04,
                1.74562742842436e-07,
                2.25894737558779e-04,
            ),
        ),
        (Shape((0.0645, 0.026), color="dark", rpy=ALONG_Y),),
    ),
    Link(
        "link_rear_wheel_left",
        _REAR_WHEEL_INERTIAL,
        (Shape((0.0381, 0.0222), color="dark", rpy=ALONG_Y),),
    ),
    Link(
        "link_rear_wheel_right",
        _REAR_WHEEL_INERTIAL,
        (Shape((0.0381, 0.0222), color="dark", rpy=ALONG_Y),),
    ),
    Link(
        "link_torso",
        Inertial(
            1.8957478141399,
            (-3.49440775620019e-03, -6.07148425485309e-02, 0.111756043503709),
            (
                1.33075265762797e-02,
                1.89697020107391e-04,
                2.61969764388555e-05,
                6.70473236899565e-03,
                1.74650164172695e-04,
                0.01146044402243,
            ),
        ),
        (
            Shape((0.073, 0.212), (0.0, 0.0, 0.1065), "shell"),
            Shape((0.057, 0.165), (0.0, -0.0825, 0.113), "shell", rpy=ALONG_Y),
        ),
    ),
    Link(
        "link_shoulder",
        Inertial(
            1.84719381890442,
            (1.08073648299081e-03, 4.80943923806668e-03, 0.104943810827839),
            (
                1.39748177932869e-02,
                -4.34243299680672e-05,
                -1.63555207176536e-05,
                1.42491663186364e-02,
                4.46239649689696e-04,
                2.94679102626988e-03,
            ),
        ),
        (
            Shape((0.064, 0.111), (0.0, 0.0255, 0.0), "joint", rpy=ALONG_Y),
            Shape((0.055, 0.217), (0.0, 0.003, 0.1085), "shell"),
        ),
    ),
    Link(
        "link_bicep",
        Inertial(
            1.24742039827471,
            (4.09029241155202e-04, -2.11440998419464e-02, 0.135242657168686),
            (
                7.04679718538362e-03,
                1.36969628307193e-10,
                3.84597629359556e-05,
                6.88742202474402e-03,
                9.28918679930493e-04,
                1.85445900824595e-03,
            ),
        ),
        (
            Shape((0.055, 0.190), (0.0, 0.0, 0.095), "shell"),
            Shape((0.051, 0.105), (0.0, -0.0145, 0.1845), "shell", rpy=ALONG_Y),
            Shape((0.0565, 0.008), (0.0, 0.0, 0.020), "trim", solid=False),
        ),
    ),
    Link(
        "link_elbow",
        Inertial(
            0.646384675806209,
            (1.73027427722836e-03, -7.65653785661243e-02, 3.67058126361657e-02),
            (
                1.78669367379914e-03,
                4.72737764012305e-09,
                1.63948789791547e-05,
                1.18491737676627e-03,
                4.57024538361969e-04,
                1.3174964153246e-03,
            ),
        ),
        (
            Shape((0.050, 0.110), (0.0, -0.055, 0.0), "joint", rpy=ALONG_Y),
            Shape((0.044, 0.100), (0.0, -0.101, 0.0405), "shell"),
        ),
    ),
    Link(
        "link_forearm",
        Inertial(
            0.724366583650768,
            (1.27504320016631e-05, 0.015087509138929, 0.181814236861875),
            (
                7.2105415923413e-03,
                1.04502358823027e-07,
                1.31044797457377e-06,
                7.15752801157893e-03,
                -5.11256783255503e-04,
                5.91583070198947e-04,
            ),
        ),
        (
            Shape((0.042, 0.268), (0.0, 0.0115, 0.136), "shell", rpy=FOREARM_LEAN),
            Shape((0.040, 0.078), (0.0, 0.0235, 0.2735), "shell", rpy=ALONG_Y),
            Shape((0.0432, 0.008), (0.0, 0.0045, 0.050), "trim", solid=False, rpy=FOREARM_LEAN),
        ),
    ),
    Link(
        "link_wrist",
        Inertial(
            0.501929332223751,
            (-2.97206845574571e-04, -7.32716069306932e-03, 5.36615347785701e-02),
            (
                1.14262626699036e-03,
                -2.30402238037496e-06,
                -6.14792965371237e-06,
                1.07002285178686e-03,
                -2.60092608214865e-04,
                4.2713626545483e-04,
            ),
        ),
        (
            Shape((0.038, 0.068), (0.0, -0.0195, 0.0), "joint", rpy=ALONG_Y),
            Shape((0.039, 0.100), (0.0, 0.005, 0.0615), "shell"),
        ),
    ),
    Link(
        "link_gripper",
        Inertial(
            0.40507013,
            (4.2266e-04, 1.1761e-04, 0.03790068),
            (2.9237e-04, 3.59e-06, 2.66e-06, 2.6364e-04, 6.6e-07, 3.1135e-04),
        ),
        (
            Shape((0.0405, 0.048), (0.0, 0.0, 0.0255), "joint"),
            Shape((0.036, 0.094, 0.046), (0.0, 0.0, 0.0250), "joint"),
            Shape((0.028, 0.026), (0.0, 0.0, 0.0625), "dark"),
        ),
    ),
    Link("link_finger_right", _FINGER_INERTIAL, _FINGER_SHAPES),
    Link("link_finger_tip_right", _TIP_INERTIAL, _TIP_SHAPES),
    Link("link_finger_nail_right", _NAIL_INERTIAL, _NAIL_SHAPES),
    Link("link_finger_left", _FINGER_INERTIAL, _FINGER_SHAPES),
    Link("link_finger_tip_left", _TIP_INERTIAL, _TIP_SHAPES),
    Link("link_finger_nail_left", _NAIL_INERTIAL, _NAIL_SHAPES),
    Link(
        "link_head_pan",
        Inertial(
            0.96335794,
            (1.64010030935057e-02, -5.7398337011911e-04, 8.68775033608304e-02),
            (1.99658e-03, -2.2593e-04, 5.3396e-04, 2.82709e-03, -1.2776e-04, 2.40811e-03),
        ),
        (
            Shape((0.057, 0.110), (0.0, 0.0, 0.0595), "shell"),
            Shape((0.050, 0.100, 0.040), (0.0600, 0.0, 0.1180), "shell"),
        ),
    ),
    Link(
        "link_head_tilt",
        Inertial(
            0.879240552641472,
            (7.28448960084497e-02, -3.00449029242004e-03, 1.32833990979786e-03),
            (
                3.36483410344631e-03,
                -6.95997852501698e-05,
                -3.20907144882021e-06,
                1.55398903526845e-03,
                -6.72868939256485e-06,
                4.10079899218125e-03,
            ),
        ),
        (
            # Behind the camera, which sits at x = 0.105 and must not look into its own housing.
            Shape((0.120, 0.150, 0.080), (0.028, 0.0, 0.0), "shell"),
            Shape((0.044, 0.006), (0.089, 0.0, 0.0), "dark", solid=False, rpy=ALONG_X),
        ),
    ),
)

# Frames without a body: parent, joint, child, position, rotation.
_FRAMES = (
    ("link_gripper", "gripper_tcp_joint", "link_gripper_tcp",
     (4.3374896e-03, 1.8852949e-03, 1.6353297e-01),
     (-0.001328879239766479, -0.00443973089771006, -0.0008686511567993004)),
    ("link_head_tilt", "joint_camera_mount", "link_camera",
     (0.10488, 0.0, 0.0), (-1.57079632679, 0.0, -1.57079632679)),
    ("link_base", "joint_base_imu_mount", "link_base_imu_mount",
     (0.09005, 0.0622, 0.0650), (0.0, 0.0, 0.0)),
    ("link_base_imu_mount", "joint_imu.base", "imu.base", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ("link_base", "joint_neck_imu_mount", "link_neck_imu_mount",
     (0.89029, 0.00965, 0.03835), (0.0, 0.0, 0.0)),
    ("link_neck_imu_mount", "joint_imu.neck", "imu.neck", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ("link_base", "time_of_flight.right_1_mount", "time_of_flight.right_1",
     (-0.3227, -0.1755, 0.0930), (0.0, 0.0, 4.4279)),
    ("link_base", "time_of_flight.right_2_mount", "time_of_flight.right_2",
     (-0.3639, -0.1338, 0.0930), (0.0, 0.0, 4.0596)),
    ("link_base", "time_of_flight.right_back_1_mount", "time_of_flight.right_back_1",
     (-0.3779, -0.0812, 0.0930), (0.0, 0.0, 3.6931)),
    ("link_base", "time_of_flight.right_back_2_mount", "time_of_flight.right_back_2",
     (-0.3848, -0.0277, 0.0930), (0.0, 0.0, 3.3249)),
    ("link_base", "time_of_flight.left_1_mount", "time_of_flight.left_1",
     (-0.3227, 0.1755, 0.0930), (0.0, 0.0, 1.8553)),
    ("link_base", "time_of_flight.left_2_mount", "time_of_flight.left_2",
     (-0.3639, 0.1338, 0.0930), (0.0, 0.0, 2.2235)),
    ("link_base", "time_of_flight.left_back_1_mount", "time_of_flight.left_back_1",
     (-0.3779, 0.0812, 0.0930), (0.0, 0.0, 2.5901)),
    ("link_base", "time_of_flight.left_back_2_mount", "time_of_flight.left_back_2",
     (-0.3848, 0.0277, 0.0930), (0.0, 0.0, 2.9583)),
    ("link_base", "cliff.rear_right_mount", "cliff.rear_right",
     (-0.3597, -0.1522, -0.0139), (0.0, 1.570795, 0.0)),
    ("link_base", "cliff.rear_left_mount", "cliff.rear_left",
     (-0.3597, 0.1522, -0.0139), (0.0, 1.570795, 0.0)),
)  # fmt: skip

_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
_TIP_ON_FINGER = ((0.0, -1.03567252152576e-02, 6.41556076619853e-02), (0.45, 0.0, 0.0))
_NAIL_ON_TIP = (0.0, 0.0, 0.0463)

_JOINTS = (
    Joint("link_base_inertial_joint", "link_base", "link_base_inertial",
          (-0.142542994624505, 2.33339305547787e-03, 0.130110970092973)),
    Joint("joint_wheel_left", "link_base", "link_wheel_left", (0.0, 0.18333, 0.0)),
    Joint("joint_wheel_right", "link_base", "link_wheel_right",
          (-1.38753859997836e-04, -0.18333, 0.0)),
    Joint("joint_rear_wheel_left", "link_base", "link_rear_wheel_left",
          (-0.338371, 0.094989, -0.029296)),
    Joint("joint_rear_wheel_right", "link_base", "link_rear_wheel_right",
          (-0.338371, -0.094989, -0.029296)),
    Joint("joint_torso", "link_base", "link_torso", (0.0, 0.0, 0.5945), axis=_Z,
          limits=(-4.49, 1.35)),
    Joint("joint_shoulder", "link_torso", "link_shoulder", (0.0, -0.16728852885, 0.113), axis=_Y,
          limits=(-2.66, 3.18)),
    Joint("joint_bicep", "link_shoulder", "link_bicep", (0.0, 2.289e-03, 0.21502852885), axis=_Z,
          limits=(-2.13, 3.71)),
    Joint("joint_elbow", "link_bicep", "link_elbow", (0.0, -0.064, 0.1849715), axis=_Y,
          limits=(-2.05, 3.79)),
    Joint("joint_forearm", "link_elbow", "link_forearm", (0.0, -0.101, 9.15e-02), axis=_Z,
          limits=(-2.92, 2.92)),
    Joint("joint_wrist", "link_forearm", "link_wrist", (0.0, -6.04e-03, 0.2735), axis=_Y,
          limits=(-1.79, 1.79)),
    Joint("joint_gripper", "link_wrist", "link_gripper", (0.0, 6.0384e-03, 0.10911), axis=_Z,
          limits=(-4.49, 1.35)),
    Joint("joint_finger_right", "link_gripper", "link_finger_right", (0.0, -0.025, 5.861e-02),
          (-1.15, 0.0, 3.14159265359), axis=_X, limits=(-0.0001, 1.3)),
    Joint("joint_finger_tip_right", "link_finger_right", "link_finger_tip_right", *_TIP_ON_FINGER),
    Joint("joint_finger_nail_right", "link_finger_tip_right", "link_finger_nail_right",
          _NAIL_ON_TIP),
    Joint("joint_finger_left", "link_gripper", "link_finger_left", (0.0, 0.025, 5.861e-02),
          (-1.15, 0.0, 0.0), axis=_X, limits=(-0.0001, 1.3)),
    Joint("joint_finger_tip_left", "link_finger_left", "link_finger_tip_left", *_TIP_ON_FINGER),
    Joint("joint_finger_nail_left", "link_finger_tip_left", "link_finger_nail_left", _NAIL_ON_TIP),
    Joint("joint_head_pan", "link_base", "link_head_pan", (0.0, 0.0, 1.16902), axis=_Z,
          limits=(-3.79, 2.22)),
    Joint("joint_head_tilt", "link_head_pan", "link_head_tilt", (7.181e-02, 0.0, 0.11848), axis=_Y,
          limits=(-1.17, 1.17)),
)  # fmt: skip

LINKS = (*_BODIES, *(Link(child) for _, _, child, _, _ in _FRAMES))
JOINTS = (
    *_JOINTS,
    *(Joint(name, parent, child, xyz, rpy) for parent, name, child, xyz, rpy in _FRAMES),
)


def urdf(coloring: str = "", drawn: bool = True) -> str:
    """URDF text of the robot in one of SIMPLER's colourings (a key of `PALETTES`)."""
    return render("google_robot", LINKS, JOINTS, PALETTES[coloring] if drawn else None)
