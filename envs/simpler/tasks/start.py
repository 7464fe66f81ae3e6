"""Where things start: the random draws of a reset, as the original makes them.

Source: SimplerEnv's prepackaged environments. An episode's seed feeds `numpy.random.RandomState`
once for what the scene is made of and once more, afresh, for where free objects lie.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transforms3d.euler import euler2quat
from transforms3d.quaternions import qmult

from envs.simpler.tasks import layouts
from envs.simpler.tasks.layouts import Layout
from envs.simpler.tasks.registry import COLORINGS, DRAWERS, ORIENTATIONS, TaskSpec
from envs.simpler.tasks.variants import Variant
from experiment.errors import UserError, nearest

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
# The same for the tasks in which the robot has one place only.
FIXED_POSES: dict[str, tuple[float, float, float]] = {
    "grasp": (0.35, 0.20, 0.0),
    "move_near": (0.35, 0.21, -0.09),
    "widowx": (0.147, 0.028, 0.0),
    "widowx_sink": (0.127, 0.06, 0.0),
}
# The variant aggregation's grid of robot positions before the cabinet.
GRID_X, GRID_Y = (0.65, 0.75, 0.85), (-0.2, 0.0, 0.2)
# Lower and upper corner (x, y) of where a free object is dropped.
PLACE_RANGE = ((-0.10, 0.0), (-0.05, 0.10))
GRASP_RANGE = ((-0.35, -0.02), (-0.12, 0.42))
ORIENTATION_QUATERNIONS = {
    "upright": euler2quat(np.pi / 2, 0, 0),
    "laid_vertically": euler2quat(0, 0, np.pi / 2),
    "lr_switch": euler2quat(0, 0, np.pi),
}
FAR_FROM_OBJECT = 0.25
COKE_CAN = "opened_coke_can"
START_OPEN = 0.2
"""Where a drawer starts that is to be closed (m)."""
HALF_TURN = np.array([0.0, 0.0, 0.0, 1.0])
"""Quaternion (w x y z) by which a robot with yaw 0 is turned about z."""
NAMED_OPTIONS = (
    "robot_pose",
    "robot_xy",
    "robot_yaw",
    "coloring",
    "object_xy",
    "target_xy",
    "distractor_xy",
    "orientation",
    "layout",
    "drawer",
    "object",
)
_OPTIONS = {
    "drawer": ("robot_pose", "robot_xy", "robot_yaw", "coloring", "drawer"),
    "place": ("robot_pose", "robot_xy", "robot_yaw", "coloring", "drawer", "object", "object_xy"),
    "grasp": ("robot_xy", "robot_yaw", "coloring", "orientation", "object", "object_xy"),
    "move_near": (
        "robot_xy",
        "robot_yaw",
        "coloring",
        "layout",
        "object_xy",
        "target_xy",
        "distractor_xy",
    ),
    "put_on": ("robot_xy", "robot_yaw", "layout", "object_xy", "target_xy"),
}


@dataclass(frozen=True)
class Start:
    """One episode's start.

    robot_pose: name, "-" where there is none. robot: x, y (m) and rotation about z (rad).
    photograph: name of the picture behind. drawer: the one the task is about. layout: names the
    objects, where they are dropped and which is source and target (empty without objects); the
    first of a grasp scene is the target, the others are distractors.
    """

    robot_pose: str
    robot: tuple[float, float, float]
    coloring: str
    photograph: str
    drawer: str | None
    layout: Layout
    orientation: str | None = None

    def base_pose(self, height: float) -> tuple[list[float], NDArray[np.float64]]:
        """Position (m) and quaternion (w x y z) of the robot's base at `height`."""
        x, y, angle = self.robot
        return [x, y, height], qmult(euler2quat(0, 0, angle), HALF_TURN)


def draw_start(
    seed: int,
    spec: TaskSpec,
    variant: Variant,
    options: Mapping[str, Any],
    catalogue: Sequence[str] = (),
) -> Start:
    """Draw a start from `seed`; what `options` gives by name is fixed and changes no other draw.

    Args: `catalogue` names the objects to choose from where the task names none.
    Raises: `UserError` for an option that is unknown, does not fit the task or has a wrong value.
    """
    given = checked_options(options, spec)
    models = variant.models or spec.models or tuple(sorted(catalogue))
    orientation, model = None, None
    if spec.family == "grasp":
        drawn = np.random.RandomState(seed).choice(list(ORIENTATIONS))
        orientation = given.get("orientation", spec.orientation or str(drawn))
    number = int(np.random.RandomState(seed).randint(spec.layouts)) if spec.layouts else 0
    first = np.random.RandomState(seed)
    if spec.family in ("grasp", "place"):
        model = given.get("object", _one_of(models, first))
        # Placing restarts its draws once the object is chosen.
        first = np.random.RandomState(seed) if spec.family == "place" else first
    drawer = str(first.choice(list(spec.drawers))) if spec.drawers else None
    pose, where = _robot(spec, variant, given, first)
    coloring = _coloring(spec, variant, given, first)
    layout = _layout(seed, spec, variant, given, orientation, model, number)
    return Start(
        robot_pose=pose,
        robot=where,
        coloring=coloring,
        photograph=_photograph(spec, variant, pose),
        drawer=given.get("drawer", drawer),
        layout=layout,
        orientation=orientation,
    )


def keeping(spec: TaskSpec, start: Start, before: Start) -> dict[str, Any]:
    """Options that make a new start `start` use the same objects and colouring as one `before`.

    A fixed layout is replaced by one that has those objects, chosen by the new one's number.
    """
    kept: dict[str, Any] = {}
    if spec.robot == "google_robot":
        kept["coloring"] = before.coloring
    if spec.family in ("grasp", "place"):
        kept["object"] = before.layout.models[0]
    if spec.family == "move_near" and start.layout.models != before.layout.models:
        assert start.layout.number is not None
        assert before.layout.number is not None
        same = layouts.ROLES_AND_TRIANGLES
        kept["layout"] = before.layout.number // same * same + start.layout.number % same
    return kept


def checked_options(options: Mapping[str, Any], spec: TaskSpec) -> dict[str, Any]:
    """The options that are not None, if the task has them and their values can be.

    Raises: `UserError` naming the option.
    """
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in NAMED_OPTIONS:
            raise UserError(f"unknown reset option {key!r}.{nearest(key, _OPTIONS[spec.family])}")
        if key not in _OPTIONS[spec.family]:
            allowed = ", ".join(_OPTIONS[spec.family])
            raise UserError(f"task {spec.name} has no reset option {key!r}; it has {allowed}.")
    names: dict[str, Sequence[str]] = {
        "robot_pose": tuple(ROBOT_POSES),
        "coloring": COLORINGS,
        "orientation": ORIENTATIONS,
        "drawer": DRAWERS,
    }
    for key, allowed_names in names.items():
        if key in given and given[key] not in allowed_names:
            raise UserError(
                f"unknown {key} {given[key]!r}.{nearest(str(given[key]), allowed_names)}"
            )
    if "layout" in given and not 0 <= int(given["layout"]) < spec.layouts:
        raise UserError(f"layout must be 0 to {spec.layouts - 1}; got {given['layout']}.")
    if "target_xy" in given and spec.robot == "widowx_sink":
        raise UserError(f"task {spec.name} has no reset option 'target_xy': its basket is fixed.")
    for key in ("robot_xy", "object_xy", "target_xy", "distractor_xy"):
        if key in given and (np.shape(given[key]) != (2,) or not np.isfinite(given[key]).all()):
            raise UserError(f"{key} must be two finite numbers (m); got {given[key]}.")
    return given


def _one_of(names: Sequence[str], generator: np.random.RandomState) -> str:
    return names[0] if len(names) == 1 else names[generator.randint(len(names))]


def _robot(
    spec: TaskSpec, variant: Variant, given: Mapping[str, Any], generator: np.random.RandomState
) -> tuple[str, tuple[float, float, float]]:
    if not spec.robot_poses:
        fixed = FIXED_POSES[spec.family if spec.robot == "google_robot" else spec.robot]
        return "-", _moved(fixed, given)
    names = spec.robot_poses
    drawn = names[generator.choice(len(names))]
    if "robot_xy" in given:
        return "-", _moved((0.0, 0.0, 0.0), given)
    if variant.photograph or "robot_pose" in given:
        pose = given.get("robot_pose", drawn)
        return pose, _moved(ROBOT_POSES[pose], given)
    column, row = "abc".index(drawn[0]), int(drawn[1])
    return "-", _moved((GRID_X[row], GRID_Y[column], 0.0), given)


def _moved(
    pose: tuple[float, float, float], given: Mapping[str, Any]
) -> tuple[float, float, float]:
    x, y = given.get("robot_xy", pose[:2])
    return float(x), float(y), float(given.get("robot_yaw", pose[2]))


def _coloring(
    spec: TaskSpec, variant: Variant, given: Mapping[str, Any], generator: np.random.RandomState
) -> str:
    if spec.robot != "google_robot":
        return ""
    drawn = COLORINGS[generator.choice(len(COLORINGS))]
    return str(given.get("coloring", drawn if variant.photograph else ""))


def _photograph(spec: TaskSpec, variant: Variant, pose: str) -> str:
    if not variant.photograph:
        return ""
    if spec.robot_poses:
        return "" if pose == "-" else f"open_drawer_{pose}"
    return {
        "grasp": "google_coke_can_real_eval_1",
        "move_near": "google_move_near_real_eval_1",
        "put_on": "bridge_sink" if spec.robot == "widowx_sink" else "bridge_real_eval_1",
    }[spec.family]


def _layout(
    seed: int,
    spec: TaskSpec,
    variant: Variant,
    given: Mapping[str, Any],
    orientation: str | None,
    model: str | None,
    number: int,
) -> Layout:
    number = int(given.get("layout", number))
    if spec.family == "move_near":
        catalogue, without = variant.catalogue or spec.catalogue, variant.without_distractor
        return layouts.placed(layouts.move_near(number, catalogue, without), given)
    if spec.family == "put_on":
        return layouts.placed(layouts.put_on(number, spec.name, spec.models), given)
    if model is None:
        return Layout()
    low, high = GRASP_RANGE if spec.family == "grasp" else PLACE_RANGE
    generator = np.random.RandomState(seed)
    if "object_xy" in given:
        x, y = given["object_xy"]
    else:
        x, y = generator.uniform(low, high)
    quaternion = ORIENTATION_QUATERNIONS[orientation] if orientation else (1.0, 0.0, 0.0, 0.0)
    spots = [np.array([x, y])]
    for _ in variant.distractors:
        spots.append(_distractor(spots[0], generator))
    # The lists of distractors were made for picking a can that is in none of them.
    names = (model, *(COKE_CAN if other == model else other for other in variant.distractors))
    return Layout(
        models=names,
        positions=tuple((float(p[0]), float(p[1])) for p in spots),
        quaternions=(tuple(map(float, quaternion)),) * len(names),
        source=0,
    )


def _distractor(item: NDArray[np.float64], generator: np.random.RandomState) -> NDArray[np.float64]:
    while True:
        at = np.clip(item + generator.uniform(-0.3, 0.3, 2), [-0.50, 0.05], [-0.1, 0.35])
        if np.linalg.norm(at - item) > FAR_FROM_OBJECT:
            return at
