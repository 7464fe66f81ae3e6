"""The true state of all environments of a scene as plain numbers, for scripted experts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.simpler.robots.registry import Robot
from envs.simpler.scenes.cabinet import CabinetScene
from envs.simpler.scenes.scene import SimplerScene
from envs.simpler.tasks.layouts import Layout

Numbers = NDArray[np.float64]


def _numbers(value: Any) -> Numbers:
    return value.detach().cpu().numpy().astype(np.float64)


@dataclass(frozen=True)
class Snapshot:
    """Arrays over environments `(b, ...)`: poses are position (m) and quaternion (w x y z).

    objects: their poses `(b, o, 7)`, velocities (linear, angular) `(b, o, 6)` and centres of mass
    `(b, o, 3)`. drawers: position `(b,)` (m) and pose `(b, 7)` of the target drawer, None where
    there is no cabinet.
    """

    qpos: Numbers
    base: Numbers
    gripper_world: Numbers
    gripper_base: Numbers
    gripper_target: Numbers
    objects: Numbers
    velocities: Numbers
    centres: Numbers
    cabinet: Numbers | None = None
    drawer: Numbers | None = None
    drawer_position: Numbers | None = None


def snapshot(scene: SimplerScene) -> Snapshot:
    """Read the simulator once for all environments."""
    robot = scene.agent.robot
    batch = len(scene.starts)
    items = scene.objects
    gripper = scene.agent.controller.controllers["gripper"]
    target = np.asarray(_as_array(gripper.target_positions)).reshape(-1, 2)
    furniture = {}
    if isinstance(scene, CabinetScene):
        links = scene.drawer_links
        furniture = {
            "cabinet": _numbers(scene.cabinet.pose.raw_pose).reshape(-1, 7),
            "drawer": _numbers(scene.by_drawer(lambda name: links[name].pose.raw_pose)),
            "drawer_position": _numbers(scene.drawer_positions()),
        }
    return Snapshot(
        qpos=_numbers(robot.qpos),
        base=_numbers(robot.pose.raw_pose),
        gripper_world=_numbers(scene.gripper.pose.raw_pose),
        gripper_base=_numbers((robot.pose.inv() * scene.gripper.pose).raw_pose),
        gripper_target=target.mean(-1),
        objects=_stacked([_numbers(item.pose.raw_pose) for item in items], batch, 7),
        velocities=_stacked(
            [
                np.concatenate(
                    [_numbers(item.linear_velocity), _numbers(item.angular_velocity)], -1
                )
                for item in items
            ],
            batch,
            6,
        ),
        centres=_stacked(
            [_numbers((item.pose * item.cmass_local_pose).p) for item in items], batch, 3
        ),
        **furniture,
    )


def _as_array(value: Any) -> Any:
    return _numbers(value) if hasattr(value, "detach") else value


def _stacked(rows: list[Numbers], batch: int, width: int) -> Numbers:
    return np.stack(rows, 1) if rows else np.zeros((batch, 0, width))


def privileged(scene: SimplerScene, state: Snapshot, number: int) -> dict[str, Any]:
    """The state of environment `number` for a scripted expert."""
    start = scene.starts[number]
    drawer: dict[str, Any] = {}
    if state.drawer is not None and state.cabinet is not None:
        assert state.drawer_position is not None
        drawer = {
            "drawer": start.drawer,
            "drawer_position": float(state.drawer_position[number]),
            "drawer_pose_world": state.drawer[number],
            "cabinet_pose_world": state.cabinet[number],
        }
    return privileged_state(
        scene.robot_kind,
        start.layout,
        qpos=dict(zip(scene.robot_joint_names, map(float, state.qpos[number]), strict=True)),
        base=state.base[number],
        gripper_base=state.gripper_base[number],
        gripper_world=state.gripper_world[number],
        gripper_target=float(state.gripper_target[number]),
        objects={
            model: {
                "pose": state.objects[number, i],
                "velocity": state.velocities[number, i],
                "center": state.centres[number, i],
                "size": scene.pack.object_size(model),
            }
            for i, model in enumerate(start.layout.models)
        },
        drawer=drawer,
        grasped=scene.source_grasped(number),
    )


def privileged_state(
    robot: Robot,
    layout: Layout,
    *,
    qpos: dict[str, float],
    base: Numbers,
    gripper_base: Numbers,
    gripper_world: Numbers,
    gripper_target: float,
    objects: dict[str, dict[str, Numbers]],
    drawer: dict[str, Any],
    grasped: bool | None = None,
) -> dict[str, Any]:
    """What `info["privileged"]` holds, in both simulators.

    Args: `objects` in the order of the layout, `drawer` empty where there is no cabinet, `grasped`
        None where nothing is to be moved or the simulator does not say.
    """
    names = list(objects)
    source = None if layout.source is None else objects[names[layout.source]]
    moving: dict[str, Any] = {}
    if source is not None:
        moving = {"object_pose_world": source["pose"], "object_velocity": source["velocity"]}
    return {
        "qpos": qpos,
        "base_pose": base,
        "gripper_pose_base": gripper_base,
        "gripper_pose_world": gripper_world,
        "gripper_target": gripper_target,
        "finger_angle": float(np.mean([qpos[name] for name in robot.finger_joints])),
        "objects": objects,
        "source": None if layout.source is None else names[layout.source],
        "target": None if layout.target is None else names[layout.target],
        "grasped": grasped,
        **moving,
        **drawer,
    }
