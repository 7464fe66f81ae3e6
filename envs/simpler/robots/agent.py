"""What SIMPLER's robots share as ManiSkill agents: a fixed base and one camera."""

from typing import Any

import sapien
from mani_skill.agents.base_agent import BaseAgent
from mani_skill.sensors.camera import CameraConfig

from envs.simpler.robots.camera import RobotCamera


class SimplerRobot(BaseAgent):
    """A robot whose geometry comes from an asset pack; subclasses say how it moves and sees."""

    fix_root_link = True
    camera: RobotCamera

    def __init__(
        self,
        scene: Any,
        control_frequency: int,
        urdf_path: str,
        camera_size: tuple[int, int] | None,
        initial_pose: sapien.Pose,
    ) -> None:
        """Args: `camera_size` is width and height of the picture, None for no camera."""
        self.urdf_path = urdf_path
        self.camera_size = camera_size
        super().__init__(scene, control_frequency, initial_pose=initial_pose)

    @property
    def _sensor_configs(self) -> list[CameraConfig]:
        return self.camera.configs(self.robot, self.camera_size)
