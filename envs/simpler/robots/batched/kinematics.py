"""Forward and inverse kinematics of a robot's arm for many environments at once.

Inverse kinematics is the closed loop of SAPIEN's Pinocchio model step by step (damped least
squares, a tenth of what is missing at a time), so that both end at the same joints: a redundant arm
has many that reach a pose, and a solver with other steps ends at others.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

TOLERANCE = 1e-4
"""Length of the screw (m and rad) that may be missing at the end."""
GAIN = 0.1
LOOPS = 100
DAMPING = 1e-6
# Asking whether all are done makes the computer wait for its GPU: not after every loop.
LOOPS_AT_ONCE = 10


class Chain:
    """The turning joints between an articulation's base and one of its links.

    columns: `(m,)` which of the articulation's active joints they are. All tensors float64.
    """

    def __init__(self, articulation: Any, link: Any, device: torch.device | str) -> None:
        """Args: SAPIEN's own articulation (of one environment) and link.

        Raises: `ValueError` for a joint on the way that slides.
        """
        active = [joint.child_link.index for joint in articulation.active_joints]
        offsets, columns, offset = [], [], np.eye(4)
        joint = link.joint
        while joint.parent_link is not None:
            offset = joint.pose_in_child.inv().to_transformation_matrix() @ offset
            if joint.dof:
                if not joint.type.startswith("revolute"):
                    raise ValueError(f"joint {joint.name} slides; only turning joints are known")
                offsets.append(offset)
                columns.append(active.index(joint.child_link.index))
                offset = np.eye(4)
            offset = joint.pose_in_parent.to_transformation_matrix() @ offset
            joint = joint.parent_link.joint
        offsets.append(offset)
        transforms = torch.as_tensor(np.array(offsets[::-1]), dtype=torch.float64, device=device)
        self._tip, self._from_tip = transforms[-1], torch.linalg.inv(transforms[-1])
        self.columns = torch.tensor(columns[::-1], device=device)
        # A joint turns about its x axis, so its transform is fixed + cos * even + sin * odd.
        before, zero = transforms[:-1], torch.zeros_like(transforms[:-1, :, 0])
        _, y, z, _ = before.unbind(-1)
        self._fixed = before * torch.tensor([1.0, 0.0, 0.0, 1.0]).to(before)
        self._even = torch.stack([zero, y, z, zero], -1)
        self._odd = torch.stack([zero, z, -y, zero], -1)

    def frames(self, angles: Tensor) -> Tensor:
        """Frames of the joints in the base frame `(b, m, 4, 4)`; a joint turns about its x."""
        angles = angles.to(torch.float64)[..., None, None]
        local = self._fixed + torch.cos(angles) * self._even + torch.sin(angles) * self._odd
        frames = [local[:, 0]]
        for each in local.unbind(1)[1:]:
            frames.append(frames[-1] @ each)
        return torch.stack(frames, 1)

    def pose(self, angles: Tensor) -> Tensor:
        """Pose of the link in the base frame `(b, 4, 4)` at joint angles `(b, m)`, rad."""
        return self.frames(angles)[:, -1] @ self._tip

    def inverse(self, target: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
        """Joint angles that bring the link to a pose, in small steps from the given ones.

        Args: pose in the base frame `(b, 4, 4)`; angles to start at `(b, m)`, rad.
        Returns: angles `(b, m)` and whether the pose was reached `(b,)`; limits of the joints are
            not looked at. Where it was not reached the angles mean nothing.
        """
        angles = angles.to(torch.float64)
        aim = target.to(torch.float64) @ self._from_tip
        done = torch.zeros(len(angles), dtype=torch.bool, device=angles.device)
        for loop in range(LOOPS):
            frames = self.frames(angles)
            missing = _screw(frames[:, -1], aim)
            done = done | (missing.norm(dim=-1) < TOLERANCE)
            if loop % LOOPS_AT_ONCE == 0 and bool(done.all()):
                break
            step = _least_motion(frames, GAIN * missing)
            angles = torch.where(done[:, None], angles, angles + step)
        return angles, done


def _least_motion(frames: Tensor, motion: Tensor) -> Tensor:
    """Smallest changes of the angles `(b, m)` that move the last frame by `motion` `(b, 6)`."""
    axes, origins = frames[..., :3, 0], frames[..., :3, 3]
    arms = torch.linalg.cross(axes, origins[:, -1:] - origins)
    jacobian = torch.cat([arms, axes], -1)  # (b, m, 6)
    square = jacobian.mT @ jacobian
    square.diagonal(dim1=-2, dim2=-1).add_(DAMPING)
    # Without its check the solver need not wait for a GPU; damped, the matrix is never singular.
    weights, _ = torch.linalg.solve_ex(square, motion[..., None], check_errors=False)
    return (jacobian @ weights).squeeze(-1)


def _screw(frame: Tensor, aim: Tensor) -> Tensor:
    """The screw `(b, 6)`, linear part first, in base axes, that moves `frame` to `aim`."""
    here, there = frame[:, :3, :3], aim[:, :3, :3]
    twice_sine = torch.linalg.cross(here, there, dim=-2).sum(-1)
    cosine = ((here * there).sum((-2, -1)) - 1) / 2
    angle = torch.atan2(twice_sine.norm(dim=-1) / 2, cosine)[:, None]
    turn = twice_sine / 2 / torch.sinc(angle / math.pi)
    # (1 - x / 2 cot(x / 2)) / x^2, which tends to 1 / 12.
    factor = torch.where(
        angle < 1e-3,
        1 / 12 + angle**2 / 720,
        (1 - torch.cos(angle / 2) / torch.sinc(angle / (2 * math.pi))) / angle**2,
    )
    way = aim[:, :3, 3] - frame[:, :3, 3]
    across = torch.linalg.cross(turn, way)
    return torch.cat([way - across / 2 + factor * torch.linalg.cross(turn, across), turn], -1)


def rotation_matrix(vector: Tensor) -> Tensor:
    """Rotation vectors `(..., 3)` (rad) to matrices `(..., 3, 3)`."""
    angle = vector.norm(dim=-1)[..., None, None]
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = ((zero, -z, y), (z, zero, -x), (-y, x, zero))
    cross = torch.stack([torch.stack(row, -1) for row in rows], -2)
    # sin(x) / x and (1 - cos(x)) / x^2 by sinc, which is smooth at 0.
    sine = torch.sinc(angle / math.pi)
    versine = torch.sinc(angle / (2 * math.pi)) ** 2 / 2
    return (
        torch.eye(3, dtype=vector.dtype, device=vector.device)
        + sine * cross
        + versine * cross @ cross
    )
