"""Where things start: robot poses and the random draws of a reset, as the original makes them.

Source: SimplerEnv's prepackaged (visual matching) configuration of the drawer tasks; an episode's
seed feeds `numpy.random.RandomState` twice, once for the scene and once for the object.
"""

from dataclasses import dataclass

import numpy as np
from transforms3d.euler import euler2quat
from transforms3d.quaternions import qmult

from envs.errors import UserError, nearest
from envs.simpler.assets import COLORINGS
from envs.simpler.google_robot import BASE_HEIGHT

# x, y (m), rotation about z (rad) of the base; the robot then faces the cabinet (a half turn).
ROBOT_POSES: dict[str, tuple[float, float, float]] = {
    "a0": (0.644, -0.179, -0.03),
    "a1": (0.765, -0.182, -0.02),
    "a2": (0.889, -0.203, -0.06),
    "b0": (0.652, 0.009, 0.0),
    "b1": (0.752, 0.009, 0.0),
    "b2": (0.851, 0.035, 0.0),
    "c0": (0.665, 0.224, 0.0),
    "c1": (0.765, 0.222, -0.025),
    "c2": (0.865, 0.222, -0.025),
}
APPLE_RANGE = ((-0.10, 0.0), (-0.05, 0.10))


@dataclass(frozen=True)
class Placement:
    """One episode's start: robot pose name, colouring, object position (x, y) on the table in m."""

    robot_pose: str
    coloring: str
    object_xy: tuple[float, float]

    def base_pose(self) -> tuple[list[float], np.ndarray]:
        """Position (m) and quaternion (w x y z) of the robot's base."""
        x, y, angle = ROBOT_POSES[self.robot_pose]
        half_turn = np.array([0.0, 0.0, 0.0, 1.0])
        return [x, y, BASE_HEIGHT], qmult(euler2quat(0, 0, angle), half_turn)


def draw_placement(
    seed: int,
    robot_poses: tuple[str, ...],
    robot_pose: str | None = None,
    coloring: str | None = None,
    object_xy: tuple[float, float] | None = None,
) -> Placement:
    """Draw a start from `seed`; what is given by name is fixed and changes no other draw.

    Raises: `UserError` for an unknown robot pose or colouring.
    """
    scene = np.random.RandomState(seed)
    drawn_pose = robot_poses[scene.choice(len(robot_poses))]
    drawn_coloring = COLORINGS[scene.choice(len(COLORINGS))]
    low, high = APPLE_RANGE
    drawn_xy = np.random.RandomState(seed).uniform(low, high)
    if robot_pose is not None and robot_pose not in ROBOT_POSES:
        raise UserError(f"unknown robot_pose {robot_pose!r}.{nearest(robot_pose, ROBOT_POSES)}")
    if coloring is not None and coloring not in COLORINGS:
        raise UserError(f"unknown coloring {coloring!r}.{nearest(coloring, COLORINGS)}")
    x, y = drawn_xy if object_xy is None else object_xy
    return Placement(
        robot_pose=drawn_pose if robot_pose is None else robot_pose,
        coloring=drawn_coloring if coloring is None else coloring,
        object_xy=(float(x), float(y)),
    )
