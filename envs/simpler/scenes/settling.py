"""Letting loose objects fall until they rest, in one environment on the CPU."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import sapien

TABLE_HEIGHT = 0.87
DROP_HEIGHT = 0.5


def place(body: Any, pose: sapien.Pose) -> None:
    """Put a body somewhere, at rest."""
    body.entity_pose = pose
    body.linear_velocity = [0.0, 0.0, 0.0]
    body.angular_velocity = [0.0, 0.0, 0.0]


def hang(body: Any, position: Sequence[float], quaternion: Sequence[float]) -> None:
    """Put a body above the table, at x and y (m)."""
    place(body, sapien.Pose([*position, TABLE_HEIGHT + DROP_HEIGHT], list(quaternion)))


class Fall:
    """Simulates nothing but the fall of bodies (SAPIEN's own)."""

    def __init__(self, px: Any, frequency: int) -> None:
        """Args: `px` is the physics system, which makes `frequency` steps a second."""
        self._px = px
        self._frequency = frequency

    def simulate(self, seconds: float) -> None:
        for _ in range(int(self._frequency * seconds)):
            self._px.step()

    def drop(
        self,
        bodies: Sequence[Any],
        positions: Sequence[Sequence[float]],
        quaternions: Sequence[Sequence[float]],
    ) -> None:
        """Drop bodies together: first without tumbling, then freely until they are still."""
        for body, position, quaternion in zip(bodies, positions, quaternions, strict=True):
            hang(body, position, quaternion)
            body.set_locked_motion_axes([False, False, False, True, True, False])
        self.simulate(0.5)
        self.release(bodies)
        self.simulate(0.5)
        self.simulate_until_still(bodies)

    def drop_in_turn(
        self,
        bodies: Sequence[Any],
        positions: Sequence[Sequence[float]],
        quaternions: Sequence[Sequence[float]],
    ) -> None:
        """Let bodies fall straight down one after the other, then set them free in that order."""
        for body, position, quaternion in zip(bodies, positions, quaternions, strict=True):
            hang(body, position, quaternion)
            body.set_locked_motion_axes([True, True, False, True, True, False])
            self.simulate(0.5)
        for body in bodies:
            self.release([body])
            self.simulate(0.5)
        self.simulate_until_still(bodies)

    def release(self, bodies: Sequence[Any]) -> None:
        for body in bodies:
            body.set_locked_motion_axes([False] * 6)
            place(body, body.entity_pose)  # setting the pose wakes the body up

    def simulate_until_still(self, bodies: Sequence[Any]) -> None:
        """Simulate 1.5 s more if bodies still move."""
        speed = sum(float(np.linalg.norm(body.linear_velocity)) for body in bodies)
        spin = sum(float(np.linalg.norm(body.angular_velocity)) for body in bodies)
        if speed > 1e-3 or spin > 1e-2:
            self.simulate(1.5)
