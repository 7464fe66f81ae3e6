"""Rotations of many steps at once: what data sets write, as rotation vectors and back.

Roll, pitch and yaw are turns about the fixed x, y and z axes in this order (extrinsic), as Bridge
and most of Open X-Embodiment mean them.
"""

from typing import Literal, get_args

import numpy as np

from experiment.errors import UserError, nearest

RotationKind = Literal["axis_angle", "rpy", "quaternion_xyzw", "none"]
SIZES: dict[RotationKind, int] = {"axis_angle": 3, "rpy": 3, "quaternion_xyzw": 4, "none": 0}
_SMALL = 1e-8


def checked_rotation(kind: str) -> RotationKind:
    """Return `kind`; raises `UserError` with the nearest known one."""
    if kind not in get_args(RotationKind):
        raise UserError(
            f"unknown kind of rotation {kind!r}.{nearest(kind, get_args(RotationKind))}"
        )
    return kind  # type: ignore[return-value]


def to_rotation_vector(values: np.ndarray, kind: RotationKind) -> np.ndarray:
    """Return rotation vectors `(t, 3)`, rad, of `values` `(t, n)` written as `kind`."""
    values = np.asarray(values, dtype=np.float64)
    if kind == "none":
        return np.zeros((len(values), 3))
    if kind == "axis_angle":
        return values
    return _quaternion_to_vector(_rpy_to_quaternion(values) if kind == "rpy" else values)


def from_rotation_vector(vectors: np.ndarray, kind: RotationKind) -> np.ndarray:
    """Return rotation vectors `(t, 3)` written as `kind` `(t, n)`; the inverse of the above."""
    vectors = np.asarray(vectors, dtype=np.float64)
    if kind == "none":
        return np.zeros((len(vectors), 0))
    if kind == "axis_angle":
        return vectors
    quaternion = _vector_to_quaternion(vectors)
    return _quaternion_to_rpy(quaternion) if kind == "rpy" else quaternion


def _rpy_to_quaternion(rpy: np.ndarray) -> np.ndarray:
    """Return quaternions `(t, 4)`, x y z w."""
    (sr, sp, sy), (cr, cp, cy) = np.sin(rpy / 2).T, np.cos(rpy / 2).T
    return np.stack(
        [
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        ],
        -1,
    )


def _quaternion_to_rpy(quaternion: np.ndarray) -> np.ndarray:
    x, y, z, w = quaternion.T
    return np.stack(
        [
            np.arctan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)),
            np.arcsin(np.clip(2 * (w * y - z * x), -1.0, 1.0)),
            np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
        ],
        -1,
    )


def _quaternion_to_vector(quaternion: np.ndarray) -> np.ndarray:
    quaternion = quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)
    quaternion = np.where(quaternion[:, 3:] < 0, -quaternion, quaternion)  # the shorter way
    sine = np.linalg.norm(quaternion[:, :3], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternion[:, 3:])
    scale = np.where(sine < _SMALL, 2.0, angle / np.maximum(sine, _SMALL))
    return quaternion[:, :3] * scale


def _vector_to_quaternion(vectors: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scale = np.where(angle < _SMALL, 0.5, np.sin(angle / 2) / np.maximum(angle, _SMALL))
    return np.concatenate([vectors * scale, np.cos(angle / 2)], -1)
