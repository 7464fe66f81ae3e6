"""Feeding the original's recorded states to our success rules, step by step."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transforms3d.quaternions import quat2mat

from envs.original.recordings import Golden
from envs.simpler.rules import make_rule
from envs.simpler.rules.base import CONTACT_IMPULSE
from envs.simpler.rules.drawer import DrawerState, PlaceState
from envs.simpler.rules.grasp import GraspState
from envs.simpler.rules.near import NearState
from envs.simpler.rules.put import PutState
from envs.simpler.scenes.cabinet import BOTTOM_PANEL
from envs.simpler.tasks.registry import TaskSpec

StateAt = Callable[[int], Any]
"""The state that a rule takes, as it was recorded after a control step."""


def agreement(golden: Golden, spec: TaskSpec) -> dict[str, float]:
    """Share of steps where our rule, given the recorded states, agrees with the original.

    Compared are success, subtask, every entry of the evaluation and of the episode statistics.
    What depends on the direction of impulses (whether something is grasped) is taken from the
    recording, which has only their size.
    """
    rule, state_at = make_rule(spec), _STATES[spec.family](golden)
    counts: dict[str, int] = {}
    for index, step in enumerate(golden.steps):
        if index in golden.advances:
            rule.advance()
        rule.before_step()
        rule.update(state_at(index))
        recorded: dict[str, Any] = {
            "success": bool(golden.arrays["success"][index]),
            "subtask": int(golden.arrays["is_final_subtask"][index]) if rule.subtasks > 1 else 0,
        }
        ours: dict[str, Any] = {
            "success": rule.success[0].item(),
            "subtask": rule.subtask[0].item(),
        }
        statistics = step["eval"].get("episode_stats", {})
        for name, value in rule.statistics.items():
            if name in statistics:
                ours[f"stats_{name}"], recorded[f"stats_{name}"] = value[0].item(), statistics[name]
        for name, value in rule.report.items():
            if name in step["eval"] and name not in ("success", "episode_stats"):
                ours[name], recorded[name] = value[0].item(), step["eval"][name]
        for name, value in recorded.items():
            counts[name] = counts.get(name, 0) + _same(ours[name], value)
    return {f"rule_{name}": count / len(golden.steps) for name, count in counts.items()}


def _same(ours: Any, recorded: Any) -> bool:
    if isinstance(recorded, str):  # the original keeps some numbers as text with three decimals
        return f"{ours:.3f}" == recorded
    return bool(np.isclose(float(ours), float(recorded), atol=1e-5))


def _one(value: Any) -> Tensor:
    return torch.as_tensor(np.asarray([value]))


_YES, _NO, _STILL = torch.tensor([True]), torch.tensor([False]), torch.zeros(1)


def _drawer_positions(golden: Golden) -> NDArray[np.float64]:
    drawer = golden.meta["target_drawer"]
    joint = golden.meta["cabinet_joints"].index(f"{drawer}_drawer_joint")
    return golden.arrays["cabinet_qpos"][:, joint]


def _drawer(golden: Golden) -> StateAt:
    positions = _drawer_positions(golden)
    return lambda step: DrawerState(_one(positions[step]))


def _place(golden: Golden) -> StateAt:
    positions = _drawer_positions(golden)
    panel = f"{golden.meta['target_drawer']}_drawer#{BOTTOM_PANEL}"
    item = golden.meta["obj_names"][0]

    def state(step: int) -> PlaceState:
        pressed = sum(size for body, other, size in _contacts(golden, step, item) if panel in other)
        return PlaceState(_one(positions[step]), _one(pressed), _NO, _NO, _STILL)

    return state


def _grasp(golden: Golden) -> StateAt:
    item = golden.meta["obj_names"][0]
    height = golden.arrays["reset_obj_poses"][0, 2]
    robot = set(golden.meta["link_names"])
    return lambda step: GraspState(
        grasped=_one(bool(golden.steps[step]["eval"]["is_grasped"])),
        touched=_one(_touched(golden, step, item, robot)),
        rise=_one(golden.arrays["obj_poses"][step, 0, 2] - height),
    )


def _contacts(golden: Golden, step: int, item: str) -> Iterator[tuple[str, str, float]]:
    """Contacts of `item` in a step: its shape, the other's shape (`body#number`), impulse."""
    for pair, size in golden.steps[step]["contacts"].items():
        first, second = pair.split("|")
        if first.split("#")[0] == item:
            yield first, second, size
        elif second.split("#")[0] == item:
            yield second, first, size


def _touched(golden: Golden, step: int, item: str, allowed: set[str]) -> bool:
    return any(
        other.split("#")[0] not in allowed and size > CONTACT_IMPULSE
        for _, other, size in _contacts(golden, step, item)
    )


class _Bodies:
    """Objects of a recording in the order source, target, others."""

    def __init__(self, golden: Golden) -> None:
        names = list(golden.meta["obj_names"])
        first = [names.index(golden.meta["source"]), names.index(golden.meta["target"])]
        extra = {"sink"}  # no object of the task in the original
        others = [i for i, n in enumerate(names) if i not in first and n not in extra]
        self.order, self.first, self.golden = first + others, first, golden
        start = golden.arrays["reset_obj_poses"]
        self.settled = torch.tensor(start[self.order, :3])[None]
        # Recorded in the object's own frame.
        self.centre_offsets = [golden.arrays["reset_obj_com"][i, :3] for i in first]
        boxes = [golden.meta["source_bbox_world"], golden.meta["target_bbox_world"]]
        self.half = torch.tensor(np.array([boxes])) / 2

    def frames(self, step: int) -> Tensor:
        return torch.tensor(self.golden.arrays["obj_poses"][step, self.order, :3])[None]

    def centres(self, step: int) -> Tensor:
        poses = self.golden.arrays["obj_poses"][step, self.first]
        centres = [
            pose[:3] + quat2mat(pose[3:]) @ offset
            for pose, offset in zip(poses, self.centre_offsets, strict=True)
        ]
        return torch.tensor(np.array([centres]))


def _near(golden: Golden) -> StateAt:
    bodies = _Bodies(golden)
    return lambda step: NearState(
        frames=bodies.frames(step),
        centres=bodies.centres(step),
        settled=bodies.settled,
        half=bodies.half[..., :2].norm(dim=-1),
        released=_YES,
        speed=_STILL,
    )


def _put(golden: Golden) -> StateAt:
    bodies = _Bodies(golden)
    source = golden.meta["source"]
    allowed = {*golden.meta["link_names"], golden.meta["target"]}
    return lambda step: PutState(
        frames=bodies.frames(step),
        centres=bodies.centres(step),
        settled=bodies.settled,
        half=bodies.half,
        grasped=_one(bool(golden.steps[step]["eval"]["is_src_obj_grasped"])),
        touched=_one(_touched(golden, step, source, allowed)),
        released=_YES,
        speed=_STILL,
    )


_STATES: dict[str, Callable[[Golden], StateAt]] = {
    "drawer": _drawer,
    "place": _place,
    "grasp": _grasp,
    "move_near": _near,
    "put_on": _put,
}
