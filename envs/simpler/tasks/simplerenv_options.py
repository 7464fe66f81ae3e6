"""Reset options of SimplerEnv's scripts, translated into ours.

{"robot_init_options": {"init_xy": [0.35, 0.20], "init_rot_quat": [0, 0, 0, 1]},
 "obj_init_options": {"init_xy": [-0.2, 0.1], "orientation": "upright"}}
{"obj_init_options": {"episode_id": 3}}
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transforms3d.quaternions import qinverse, qmult

from envs.simpler.tasks.registry import TaskSpec
from envs.simpler.tasks.start import HALF_TURN, ORIENTATION_QUATERNIONS, ROBOT_POSES, START_OPEN
from experiment.errors import UserError, nearest

_ROBOT, _OBJECT = "robot_init_options", "obj_init_options"
_OBJECT_KEYS = {
    "drawer": ("cabinet_init_qpos",),
    "place": ("cabinet_init_qpos", "init_xy", "init_rot_quat"),
    "grasp": ("init_xy", "init_rot_quat", "orientation"),
    "move_near": ("episode_id",),
    "put_on": ("episode_id",),
}


def translated(options: Mapping[str, Any], spec: TaskSpec) -> dict[str, Any]:
    """Return `options` with SimplerEnv's replaced by ours; all others are left as they are.

    Raises: `UserError` for one that SimplerEnv does not have, or that is fixed here.
    """
    ours = dict(options)
    robot = _section(ours, _ROBOT, ("init_xy", "init_rot_quat"))
    item = _section(ours, _OBJECT, _OBJECT_KEYS[spec.family])
    if "model_id" in ours:
        ours["object"] = ours.pop("model_id")
    if ours.pop("model_scale", None) not in (None, 1, 1.0):
        raise UserError("model_scale: objects have the size that SIMPLER's tasks give them.")
    ours |= _robot_start(robot, spec)
    if "init_xy" in item:
        ours["object_xy"] = _numbers(item["init_xy"], 2, f"{_OBJECT}.init_xy")
    if "orientation" in item:
        ours["orientation"] = item["orientation"]
    if "episode_id" in item:
        number = item["episode_id"]
        if not isinstance(number, int | np.integer) or not 0 <= number < spec.layouts:
            raise UserError(
                f"{_OBJECT}.episode_id must be 0 to {spec.layouts - 1}; got {number!r}."
            )
        ours["layout"] = int(number)
    if "init_rot_quat" in item:
        ours |= _orientation(item["init_rot_quat"], spec)
    if "cabinet_init_qpos" in item:
        start = START_OPEN if spec.goal == "close" else 0.0
        if not np.allclose(np.max(item["cabinet_init_qpos"]), start):
            raise UserError(
                f"{_OBJECT}.cabinet_init_qpos: in {spec.name} the drawer starts at {start} m."
            )
    return ours


def _section(options: dict[str, Any], name: str, allowed: Sequence[str]) -> dict[str, Any]:
    """Take the options under `name` that are not None out of `options`."""
    given = options.pop(name, None) or {}
    if not isinstance(given, Mapping):
        raise UserError(f"{name} must be a dict such as {{'init_xy': [0.3, 0.2]}}; got {given!r}.")
    for key in given:
        if key not in allowed:
            raise UserError(f"unknown option {key!r} in {name}.{nearest(str(key), allowed)}")
    return {key: value for key, value in given.items() if value is not None}


def _numbers(value: Any, count: int, name: str) -> tuple[float, ...]:
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise UserError(f"{name} must be {count} finite numbers; got {value!r}.")
    return tuple(map(float, numbers))


def _robot_start(given: Mapping[str, Any], spec: TaskSpec) -> dict[str, Any]:
    """`robot_xy` and `robot_yaw`, or the name of the pose that they are."""
    ours: dict[str, Any] = {}
    if "init_xy" in given:
        ours["robot_xy"] = _numbers(given["init_xy"], 2, f"{_ROBOT}.init_xy")
    if "init_rot_quat" in given:
        turn = _unit(given["init_rot_quat"], f"{_ROBOT}.init_rot_quat")
        w, x, y, z = qmult(turn, qinverse(HALF_TURN))
        if max(abs(x), abs(y)) > 1e-3:
            raise UserError(
                f"{_ROBOT}.init_rot_quat must turn the robot about z only; got {turn.tolist()}."
            )
        # The same rotation with the sign that makes w positive: yaw in [-pi, pi].
        ours["robot_yaw"] = float(2 * np.arctan2(z * np.sign(w or 1.0), abs(w)))
    if spec.robot_poses and len(ours) == 2:
        start = (*ours["robot_xy"], ours["robot_yaw"])
        for name, pose in ROBOT_POSES.items():
            if np.allclose(start, pose, atol=1e-5):
                return {"robot_pose": name}
    return ours


def _orientation(quaternion: Any, spec: TaskSpec) -> dict[str, Any]:
    turn = _unit(quaternion, f"{_OBJECT}.init_rot_quat")
    allowed = (
        ORIENTATION_QUATERNIONS if spec.family == "grasp" else {None: np.array([1.0, 0, 0, 0])}
    )
    for name, other in allowed.items():
        if abs(float(np.dot(turn, other))) > 1 - 1e-6:
            return {} if name is None else {"orientation": name}
    raise UserError(
        f"{_OBJECT}.init_rot_quat must be one of the rotations of SIMPLER's tasks, "
        f"{[np.round(other, 4).tolist() for other in allowed.values()]}; got {turn.tolist()}."
    )


def _unit(value: Any, name: str) -> np.ndarray:
    quaternion = np.array(_numbers(value, 4, name))
    size = float(np.linalg.norm(quaternion))
    if size < 1e-6:
        raise UserError(f"{name} must be a quaternion (w x y z); got {quaternion.tolist()}.")
    return quaternion / size
