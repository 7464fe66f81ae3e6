"""The Google robot of SIMPLER: joints, gains, finger friction, head camera (static base).

Numbers: SIMPLER's `google_robot_static` configuration (ManiSkill2_real2sim, commit ef7a4d4).
The geometry comes from an asset pack; everything that moves the robot is here.
"""

from typing import Any

import sapien

from envs.simpler.robots.agent import SimplerRobot
from envs.simpler.robots.camera import RobotCamera
from envs.simpler.robots.controller import CartesianDeltaConfig, GripperTargetConfig

ARM_JOINTS = (
    "joint_torso",
    "joint_shoulder",
    "joint_bicep",
    "joint_elbow",
    "joint_forearm",
    "joint_wrist",
    "joint_gripper",
    "joint_head_pan",
    "joint_head_tilt",
)
FINGER_JOINTS = ("joint_finger_right", "joint_finger_left")
GRIPPER_LINK = "link_gripper_tcp"

# Newton metres per radian, newton metre seconds per radian, newton metres.
ARM_STIFFNESS = (
    1700.0,
    1737.0471680861954,
    979.975871856535,
    930.0,
    1212.154500274304,
    432.96500923932535,
    468.0013365498738,
    2000.0,
    2000.0,
)
ARM_DAMPING = (
    1059.9791902443303,
    1010.4720585373592,
    767.2803161582076,
    680.0,
    674.9946964336588,
    274.613381336198,
    340.532560578637,
    900.0,
    900.0,
)
ARM_FORCE_LIMIT = (300.0, 300.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0)

# Pose at the start of every task (rad); joints not named start at 0.
START_QPOS = {
    "joint_torso": -0.2639457174606611,
    "joint_shoulder": 0.0831913360274175,
    "joint_bicep": 0.5017611504652179,
    "joint_elbow": 1.156859026208673,
    "joint_forearm": 0.028583671314766423,
    "joint_wrist": 1.592598203487462,
    "joint_gripper": -1.080652960128774,
    "joint_finger_right": 0.0,
    "joint_finger_left": 0.0,
    "joint_head_pan": -0.00285961,
    "joint_head_tilt": 0.7851361,
}
# Height of the base frame above the floor plane: base height plus the thickness of the floor.
BASE_HEIGHT = 0.06205 + 0.017

HEAD_CAMERA = RobotCamera(
    size=(640, 512),
    focal=425.0,
    centre=(320.0, 256.0),
    link="link_camera",
    # The camera link's axes are OpenCV's; SAPIEN's cameras look along +x.
    pose=sapien.Pose(q=[0.5, 0.5, -0.5, 0.5]),
)


def _friction(value: float, dynamic: float | None = None) -> dict[str, float]:
    return {
        "static_friction": value,
        "dynamic_friction": value if dynamic is None else dynamic,
        "restitution": 0.0,
    }


def _contact(material: str, radius: float) -> dict[str, Any]:
    return {"material": material, "patch_radius": radius, "min_patch_radius": radius}


URDF_CONFIG: dict[str, Any] = {
    "_materials": {
        "finger": _friction(2.0),
        "nail": _friction(0.1),
        "base": _friction(0.1, dynamic=0.0),
        "wheel": _friction(1.0, dynamic=0.0),
    },
    "link": {
        "link_base": _contact("base", 0.1),
        "link_wheel_left": _contact("wheel", 0.1),
        "link_wheel_right": _contact("wheel", 0.1),
        "link_finger_left": _contact("finger", 0.1),
        "link_finger_right": _contact("finger", 0.1),
        "link_finger_tip_left": _contact("finger", 0.1),
        "link_finger_tip_right": _contact("finger", 0.1),
        "link_finger_nail_left": _contact("nail", 0.01),
        "link_finger_nail_right": _contact("nail", 0.01),
    },
}


class GoogleRobot(SimplerRobot):
    uid = "simpler_google_robot"
    load_multiple_collisions = True
    urdf_config = URDF_CONFIG
    camera = HEAD_CAMERA

    @property
    def _controller_configs(self) -> dict[str, Any]:
        return {
            "cartesian_delta": {
                "arm": CartesianDeltaConfig(
                    joint_names=list(ARM_JOINTS),
                    stiffness=ARM_STIFFNESS,
                    damping=ARM_DAMPING,
                    force_limit=ARM_FORCE_LIMIT,
                    velocity_limit=1.5,
                    acceleration_limit=2.0,
                    jerk_limit=50.0,
                    end_effector=GRIPPER_LINK,
                ),
                "gripper": GripperTargetConfig(
                    joint_names=list(FINGER_JOINTS),
                    stiffness=(200.0, 200.0),
                    damping=(8.0, 8.0),
                    force_limit=(60.0, 60.0),
                    velocity_limit=1.0,
                    acceleration_limit=7.0,
                    jerk_limit=50.0,
                    radians_per_unit=1.31,
                    target_limits=(-0.01, 1.31),
                ),
            }
        }
