"""Masses and joints of the Google robot: SIMPLER's own numbers.

Source: `google_robot_meta_sim_fix_wheel_fix_fingertip` (ManiSkill2_real2sim, commit ef7a4d4).
"""

from envs.simpler.primitives.urdf import Inertial, Joint

# The nails have neither mass nor inertia in the original; these are what SAPIEN makes of the hull.
INERTIALS: dict[str, Inertial] = {
    "link_base": Inertial(52.9101052160097,
        (-0.142542994624505, 0.00233339305547787, 0.130110970092973),
        (2.78321475990223, 0.00102013636219535, -0.544719331016329,
         3.24941132525702, 0.00751942241521894, 1.33602142044359)),
    "link_wheel_left": Inertial(0.227550092516064, (0.0, 0.0, 0.0),
        (0.000225894737564536, -1.73680020768121e-07, -7.41129856416082e-07,
         0.000434263997688239, -1.74562742842436e-07, 0.000225894737558779)),
    "link_wheel_right": Inertial(0.227550092516064, (0.0, 0.0, 0.0),
        (0.000225894737564536, -1.73680020768121e-07, 7.41129856416082e-07,
         0.000434263997688239, 1.74562742842436e-07, 0.000225894737558779)),
    "link_rear_wheel_right": Inertial(0.09968095272779465, (0.0, 0.0, 0.0),
        (3.9686038e-05, 0.0, 0.0, 7.1168062e-05, 0.0, 3.9686049e-05)),
    "link_torso": Inertial(1.8957478141399,
        (-0.00349440775620019, -0.0607148425485309, 0.111756043503709),
        (0.0133075265762797, 0.000189697020107391, 2.61969764388555e-05,
         0.00670473236899565, 0.000174650164172695, 0.01146044402243)),
    "link_shoulder": Inertial(1.84719381890442,
        (0.00108073648299081, 0.00480943923806668, 0.104943810827839),
        (0.0139748177932869, -4.34243299680672e-05, -1.63555207176536e-05,
         0.0142491663186364, 0.000446239649689696, 0.00294679102626988)),
    "link_bicep": Inertial(1.24742039827471,
        (0.000409029241155202, -0.0211440998419464, 0.135242657168686),
        (0.00704679718538362, 1.36969628307193e-10, 3.84597629359556e-05,
         0.00688742202474402, 0.000928918679930493, 0.00185445900824595)),
    "link_elbow": Inertial(0.646384675806209,
        (0.00173027427722836, -0.0765653785661243, 0.0367058126361657),
        (0.00178669367379914, 4.72737764012305e-09, 1.63948789791547e-05,
         0.00118491737676627, 0.000457024538361969, 0.0013174964153246)),
    "link_forearm": Inertial(0.724366583650768,
        (1.27504320016631e-05, 0.015087509138929, 0.181814236861875),
        (0.0072105415923413, 1.04502358823027e-07, 1.31044797457377e-06,
         0.00715752801157893, -0.000511256783255503, 0.000591583070198947)),
    "link_wrist": Inertial(0.501929332223751,
        (-0.000297206845574571, -0.00732716069306932, 0.0536615347785701),
        (0.00114262626699036, -2.30402238037496e-06, -6.14792965371237e-06,
         0.00107002285178686, -0.000260092608214865, 0.00042713626545483)),
    "link_gripper": Inertial(0.40507013, (0.00042266, 0.00011761, 0.03790068),
        (0.00029237, 3.59e-06, 2.66e-06, 0.00026364, 6.6e-07, 0.00031135)),
    "link_finger_right": Inertial(0.033324467357629,
        (3.15535341569906e-08, 0.000350529611204361, 0.0371802506226547),
        (9.32117719701092e-06, 1.22669879721999e-11, -7.58255431912799e-12,
         6.08487398831113e-06, 1.57826570013177e-06, 3.23630320887583e-06)),
    "link_finger_tip_right": Inertial(0.0161861871252174,
        (7.32211158115053e-08, 0.00041273472371548, 0.0215605732703755),
        (1.066e-05, 0.0, 0.0, 1.147e-05, 0.0, 1.78e-06)),
    "link_finger_nail_right": Inertial(3.689126970130019e-05, (-0.00071, -0.00105, -0.00023),
        (1e-06, 0.0, 0.0, 1e-06, 0.0, 1e-06)),
    "link_head_pan": Inertial(0.96335794,
        (0.0164010030935057, -0.00057398337011911, 0.0868775033608304),
        (0.00199658, -0.00022593, 0.00053396, 0.00282709, -0.00012776, 0.00240811)),
    "link_head_tilt": Inertial(0.879240552641472,
        (0.0728448960084497, -0.00300449029242004, 0.00132833990979786),
        (0.00336483410344631, -6.95997852501698e-05, -3.20907144882021e-06,
         0.00155398903526845, -6.72868939256485e-06, 0.00410079899218125)),
}  # fmt: skip

INERTIALS |= {
    name.replace("right", "left"): inertial
    for name, inertial in INERTIALS.items()
    if "finger" in name or "rear" in name
}

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
)  # fmt: skip  # fmt: skip

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
)  # fmt: skip  # fmt: skip

FRAMES = tuple(child for _, _, child, _, _ in _FRAMES)
JOINTS = (
    *_JOINTS,
    *(Joint(name, parent, child, xyz, rpy) for parent, name, child, xyz, rpy in _FRAMES),
)
