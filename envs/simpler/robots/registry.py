"""SIMPLER's robots: agent, gripper, start and what closes on an object."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from envs.simpler.robots import google_robot, widowx
from envs.simpler.robots.google_robot import GoogleRobot
from envs.simpler.robots.widowx import WidowX, WidowXSink


@dataclass(frozen=True)
class Robot:
    """One robot in one set-up.

    qpos: joints at the start by name (rad, m), others at 0. base_height: of the base frame above
    the world's floor (m). fingers: links of each finger; opens: which way along these links' y a
    finger opens; grasp_angle: largest angle (rad) between that direction and the push on a finger
    that still counts as a grasp. camera_size: width and height of the original's picture.
    """

    name: str
    agent: Any
    gripper_link: str
    finger_joints: tuple[str, str]
    fingers: tuple[tuple[str, ...], ...]
    opens: tuple[float, float]
    grasp_angle: float
    base_height: float
    camera_size: tuple[int, int]
    qpos: dict[str, float] = field(default_factory=dict)


ROBOTS: dict[str, Robot] = {
    "google_robot": Robot(
        name="google_robot",
        agent=GoogleRobot,
        gripper_link=google_robot.GRIPPER_LINK,
        finger_joints=google_robot.FINGER_JOINTS,
        fingers=(
            ("link_finger_tip_left", "link_finger_left"),
            ("link_finger_tip_right", "link_finger_right"),
        ),
        opens=(1.0, 1.0),
        grasp_angle=float(np.deg2rad(80.0)),
        base_height=google_robot.BASE_HEIGHT,
        camera_size=google_robot.HEAD_CAMERA.size,
        qpos=google_robot.START_QPOS,
    ),
    **{
        name: Robot(
            name=name,
            agent=agent,
            gripper_link=widowx.GRIPPER_LINK,
            finger_joints=widowx.FINGER_JOINTS,
            fingers=(("left_finger_link",), ("right_finger_link",)),
            opens=(1.0, -1.0),
            grasp_angle=float(np.deg2rad(60.0)),
            base_height=height,
            camera_size=widowx.CAMERA.size,
            qpos=qpos,
        )
        for name, agent, height, qpos in (
            ("widowx", WidowX, 0.870, widowx.START_QPOS),
            ("widowx_sink", WidowXSink, 0.85, widowx.SINK_START_QPOS),
        )
    },
}
