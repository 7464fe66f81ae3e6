"""What only a simulator knows, as columns of a data set: its true state and what was executed.

The true state is for probes; no policy reads it. What was executed differs from the action in
demonstrations that were disturbed or that a learner drove: it is what a world model has to learn
from, as the pictures show what came of it.

Poses are in the robot's base frame, as actions and proprioception are. The columns are not called
`observation...`: LeRobot's policies take every column of that name as an input.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from transforms3d.quaternions import qconjugate, qmult, rotate_vector

from envs.episode import EXECUTED

PREFIX = "privileged."
POSE_NAMES = ("x", "y", "z", "qw", "qx", "qy", "qz")

NAMES: dict[str, tuple[str, ...]] = {
    "privileged.object_pose": POSE_NAMES,
    "privileged.target_pose": POSE_NAMES,
    "privileged.drawer_position": ("drawer_position",),
    "privileged.grasped": ("grasped",),
    EXECUTED: ("dx", "dy", "dz", "rotation_x", "rotation_y", "rotation_z", "gripper"),
}
"""What a column's numbers are called; the true state in m, unit quaternions (qw >= 0), 0 or 1."""


def true_state(privileged: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the columns of one step that an environment's `info["privileged"]` holds.

    `object_pose` `(7,)` and `target_pose` `(7,)` of what is moved and where to, the target drawer's
    `drawer_position` `(1,)`, and `grasped` bool `(1,)`: the fingers hold the object that is moved.
    """
    columns: dict[str, np.ndarray] = {}
    objects = privileged.get("objects", {})
    for role, column in (("source", "object_pose"), ("target", "target_pose")):
        model = privileged.get(role)
        if model is not None:
            base, pose = privileged["base_pose"], objects[model]["pose"]
            columns[PREFIX + column] = seen_from(np.asarray(base), np.asarray(pose))
    if "drawer_position" in privileged:
        position = [privileged["drawer_position"]]
        columns[PREFIX + "drawer_position"] = np.asarray(position, dtype=np.float32)
    if privileged.get("grasped") is not None:
        columns[PREFIX + "grasped"] = np.asarray([privileged["grasped"]], dtype=bool)
    return columns


def seen_from(base: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Return `pose` `(7,)` in the frame of `base` `(7,)`, float32, its quaternion with qw >= 0."""
    back = qconjugate(base[3:])
    turn = qmult(back, pose[3:])
    turn = turn if turn[0] >= 0 else -turn
    place = rotate_vector(pose[:3] - base[:3], back)
    return np.concatenate([place, turn]).astype(np.float32)
