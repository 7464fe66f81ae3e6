"""Write rollouts of the simulator as RLDS with TFDS, as fractal20220817_data or bridge_dataset.

Needs TensorFlow; see `make_rollouts.py` for when to run it. What a real robot's set means by each
column is written out by hand here, so that the adapters can be tested against it.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from tests.data.make_rlds import SETS, builder, save

_VERSIONS = {"fractal20220817_data": "0.1.0", "bridge_dataset": "1.0.0"}
_BLACK = np.zeros((256, 256, 3), np.uint8)


def main() -> None:
    """Write the episodes `*.npz` of a folder and delete them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rollouts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--quality", type=int, default=85, help="of the JPEGs")
    parser.add_argument("--shards", type=int, default=2)
    options = parser.parse_args()
    paths = sorted(options.rollouts.glob("episode_*.npz"))
    with np.load(paths[0], allow_pickle=False) as first:
        size = first["images"].shape[1:3]
    name = "fractal20220817_data" if size == (256, 320) else "bridge_dataset"

    def examples() -> Iterator[tuple[int, Any]]:
        for number, path in enumerate(paths):
            with np.load(path, allow_pickle=False) as file:
                rollout = dict(file)
            make = _fractal if name == "fractal20220817_data" else _bridge
            yield number, make(rollout, number, options.quality)

    save(
        builder(name, SETS[name](*size), examples, _VERSIONS[name]),
        options.out,
        shards=options.shards,
    )
    for path in paths:
        path.unlink()


def _fractal(rollout: dict[str, np.ndarray], _: int, quality: int) -> dict[str, Any]:
    """RT-1: rotation vectors, the gripper says in which direction it is to move, +1 to close."""
    count = len(rollout["action"])
    f32 = np.float32
    steps = []
    for t in range(count):
        action = rollout["action"][t]
        state = rollout["state"][t]
        last = t == count - 1
        observation = {
            "base_pose_tool_reached": np.concatenate([state[:3], _quaternion(state)]).astype(f32),
            "gripper_closed": state[9:10].clip(0, 1),
            "gripper_closedness_commanded": (action[6:] + 1) / 2,
            "height_to_bottom": np.zeros(1, f32),
            "image": _jpeg(rollout["images"][t], quality),
            "natural_language_embedding": np.zeros(512, f32),
            "natural_language_instruction": str(rollout["instructions"][t]),
            "orientation_box": np.zeros((2, 3), f32),
            "orientation_start": np.zeros(4, f32),
            "robot_orientation_positions_box": np.zeros((3, 3), f32),
            "rotation_delta_to_go": np.zeros(3, f32),
            "src_rotation": np.zeros(4, f32),
            "vector_to_go": np.zeros(3, f32),
            "workspace_bounds": np.zeros((3, 3), f32),
        }
        steps.append(
            {
                "action": {
                    "base_displacement_vector": np.zeros(2, f32),
                    "base_displacement_vertical_rotation": np.zeros(1, f32),
                    "gripper_closedness_action": action[6:],
                    "rotation_delta": action[3:6],
                    "terminate_episode": np.asarray([last, not last, 0], np.int32),
                    "world_vector": action[:3],
                },
                "observation": observation,
                **_flags(t, count),
                "reward": f32(rollout["success"][t]),
            }
        )
    return {"steps": steps}


def _bridge(rollout: dict[str, np.ndarray], number: int, quality: int) -> dict[str, Any]:
    """Bridge: an action of zeros first, roll-pitch-yaw, the gripper 1 where it is to be open."""
    count = len(rollout["action"]) + 1
    f32 = np.float32
    steps = []
    for t in range(count):
        at = max(t - 1, 0)
        state = rollout["state"][at]
        written = np.zeros(7, f32)
        if t:
            action = rollout["action"][at]  # SIMPLER's WidowX: +1 opens
            written = np.concatenate([action[:3], _rpy(_matrix(action[3:6])), (action[6:] + 1) / 2])
        pose = np.concatenate([state[:3], _rpy(_columns(state)), state[9:10] / 0.037])
        cameras = {f"image_{i}": _jpeg(_BLACK, quality) for i in (1, 2, 3)}
        steps.append(
            {
                "action": written.astype(f32),
                "discount": f32(1),
                "language_embedding": np.zeros(512, f32),
                "language_instruction": str(rollout["instructions"][at]),
                "observation": {
                    "image_0": _jpeg(rollout["images"][at], quality),
                    **cameras,
                    "state": pose.astype(f32),
                },
                "reward": f32(t == count - 1),
                **_flags(t, count),
            }
        )
    has = {f"has_image_{i}": i == 0 for i in range(4)}
    metadata = {"episode_id": number, "file_path": "", **has, "has_language": True}
    return {"steps": steps, "episode_metadata": metadata}


def _flags(t: int, count: int) -> dict[str, bool]:
    return {"is_first": t == 0, "is_last": t == count - 1, "is_terminal": t == count - 1}


def _jpeg(image: np.ndarray, quality: int) -> io.BytesIO:
    coded = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=quality, colorsubsampling="420"
    )
    return io.BytesIO(coded)


def _columns(state: np.ndarray) -> np.ndarray:
    """Return the rotation matrix whose first two columns a state holds."""
    x, y = state[3:6].astype(np.float64), state[6:9].astype(np.float64)
    return np.stack([x, y, np.cross(x, y)], 1)


def _matrix(vector: np.ndarray) -> np.ndarray:
    """Return the rotation matrix of a rotation vector (Rodrigues)."""
    vector = vector.astype(np.float64)
    angle = np.linalg.norm(vector)
    x, y, z = vector / max(angle, 1e-12)
    cross = np.asarray([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _rpy(m: np.ndarray) -> np.ndarray:
    """Return roll, pitch and yaw of a matrix R_z(yaw) R_y(pitch) R_x(roll)."""
    pitch = np.arctan2(-m[2, 0], np.hypot(m[0, 0], m[1, 0]))
    return np.asarray([np.arctan2(m[2, 1], m[2, 2]), pitch, np.arctan2(m[1, 0], m[0, 0])])


def _quaternion(state: np.ndarray) -> np.ndarray:
    """Return the rotation of a state as a quaternion x y z w."""
    roll, pitch, yaw = _rpy(_columns(state)) / 2
    (sr, sp, sy), (cr, cp, cy) = np.sin((roll, pitch, yaw)), np.cos((roll, pitch, yaw))
    return np.asarray(
        [
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        ]
    )


if __name__ == "__main__":
    main()
