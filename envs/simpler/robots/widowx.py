"""The WidowX 250 S of SIMPLER's Bridge tasks: joints, gains, finger friction, the two cameras.

Numbers: SIMPLER's `widowx` and `widowx_sink_camera_setup` (ManiSkill2_real2sim, commit ef7a4d4).
"""

from dataclasses import replace
from typing import Any

import numpy as np
import sapien
from transforms3d.quaternions import mat2quat

from envs.simpler.robots.agent import SimplerRobot
from envs.simpler.robots.camera import RobotCamera
from envs.simpler.robots.widowx_controller import MimicPositionConfig, TargetDeltaConfig

ARM_JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
FINGER_JOINTS = ("left_finger", "right_finger")
GRIPPER_LINK = "ee_gripper_link"

# Newton metres per radian, newton metre seconds per radian, newton metres.
ARM_STIFFNESS = (
    1169.7891719504198,
    730.0,
    808.4601346394447,
    1229.1299089624076,
    1272.2760456418862,
    1056.3326605132252,
)
ARM_DAMPING = (
    330.0,
    180.0,
    152.12036565582588,
    309.6215302722146,
    201.04998711007383,
    269.51458932695414,
)
ARM_FORCE_LIMIT = (200.0, 200.0, 100.0, 100.0, 100.0, 100.0)

OPEN, SHUT = 0.038, 0.014
"""Finger targets (m) of the gripper commands +1 and -1; 1 mm beyond the joints' limits."""


def _start(*arm: float) -> dict[str, float]:
    return dict(zip((*ARM_JOINTS, *FINGER_JOINTS), (*arm, 0.037, 0.037), strict=True))


START_QPOS = _start(-0.01840777, 0.0398835, 0.22242722, -0.00460194, 1.36524296, 0.00153398)
SINK_START_QPOS = _start(-0.2600599, -0.12875618, 0.04461369, -0.00652761, 1.7033415, -0.26983038)


def _looking(along: tuple[float, float, float]) -> np.ndarray:
    """Quaternion (w x y z) of a camera that looks along a direction, its y level."""
    forward = np.array(along) / np.linalg.norm(along)
    left = np.cross([0.0, 0.0, 1.0], forward)
    left = left / np.linalg.norm(left)
    return mat2quat(np.stack([forward, left, np.cross(forward, left)], axis=1))


CAMERA = RobotCamera(
    size=(640, 480),
    focal=623.588,
    centre=(319.501, 239.545),
    link="base_link",
    pose=sapien.Pose([0.0, -0.16, 0.36], _looking((1.0, 0.553, -1.085))),
)
SINK_CAMERA = replace(
    CAMERA, pose=sapien.Pose([-0.003, -0.21, 0.39], [-0.907313, 0.0782, -0.36434, -0.194741])
)

_PAD = {"material": "pad", "patch_radius": 0.01, "min_patch_radius": 0.01}


class WidowX(SimplerRobot):
    """The robot at the table."""

    uid = "simpler_widowx"
    urdf_config: dict[str, Any] = {  # noqa: RUF012 - ManiSkill's own way to say it
        "_materials": {
            "pad": {"static_friction": 2.0, "dynamic_friction": 2.0, "restitution": 0.0}
        },
        "link": {"left_finger_link": _PAD, "right_finger_link": _PAD},
    }
    camera = CAMERA

    def _after_loading_articulation(self) -> None:
        # The bar between the fingers must not push on them: one bit of the third word in common.
        for name, bits in (
            ("gripper_bar_link", 0b11),
            ("left_finger_link", 0b01),
            ("right_finger_link", 0b10),
        ):
            for body in self.robot.links_map[name]._objs:
                for shape in body.collision_shapes:
                    shape.set_collision_groups([1, 1, bits, 0])

    @property
    def _controller_configs(self) -> dict[str, Any]:
        return {
            "target_delta": {
                "arm": TargetDeltaConfig(
                    joint_names=list(ARM_JOINTS),
                    stiffness=ARM_STIFFNESS,
                    damping=ARM_DAMPING,
                    force_limit=ARM_FORCE_LIMIT,
                    end_effector=GRIPPER_LINK,
                ),
                "gripper": MimicPositionConfig(
                    joint_names=list(FINGER_JOINTS),
                    stiffness=(1000.0, 1000.0),
                    damping=(200.0, 200.0),
                    force_limit=(60.0, 60.0),
                    lower=SHUT,
                    upper=OPEN,
                ),
            }
        }


class WidowXSink(WidowX):
    """The robot at the sink: another camera."""

    uid = "simpler_widowx_sink"
    camera = SINK_CAMERA
