"""The camera that shows what a robot sees, with the original's field of view at any size."""

from dataclasses import dataclass

import numpy as np
import sapien
from mani_skill.sensors.camera import CameraConfig
from mani_skill.utils.structs import Articulation
from numpy.typing import NDArray

CAMERA = "camera"
"""ManiSkill's key of the robot's camera in an observation."""


@dataclass(frozen=True)
class RobotCamera:
    """A pinhole camera fixed to a robot.

    size: width and height (px) of the original's picture; focal: focal length (px) and centre:
    principal point (px) at that size. link: where it is mounted; pose: of the camera in the link's
    frame, looking along x.
    """

    size: tuple[int, int]
    focal: float
    centre: tuple[float, float]
    link: str
    pose: sapien.Pose

    def intrinsics(self, width: int, height: int) -> NDArray[np.float64]:
        """Intrinsic matrix (3, 3) of a `width` x `height` picture of the same scene.

        Each axis is scaled by itself, so another aspect ratio stretches the picture.
        """
        x, y = width / self.size[0], height / self.size[1]
        return np.array(
            [
                [self.focal * x, 0.0, self.centre[0] * x],
                [0.0, self.focal * y, self.centre[1] * y],
                [0.0, 0.0, 1.0],
            ]
        )

    def configs(self, robot: Articulation, size: tuple[int, int] | None) -> list[CameraConfig]:
        """What a ManiSkill agent returns as its sensors; none where `size` is None."""
        if size is None:
            return []
        return [
            CameraConfig(
                uid=CAMERA,
                pose=self.pose,
                width=size[0],
                height=size[1],
                intrinsic=self.intrinsics(*size),
                near=0.01,
                far=10.0,
                mount=robot.links_map[self.link],
                # The default shader draws the baked apple black (its texture is emissive).
                shader_pack="minimal",
            )
        ]
