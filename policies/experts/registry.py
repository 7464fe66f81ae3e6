"""The scripted expert of each task."""

from typing import Any

from envs.simpler.tasks.registry import TASKS, task_spec
from experiment.errors import UserError
from experiment.settings import build
from policies.contract import Policy

EXPERTS = {
    "open_and_place": "policies.experts.open_and_place.OpenAndPlaceExpert",
    "place": "policies.experts.place.PlaceExpert",
    "drawer": "policies.experts.drawer.DrawerExpert",
    "grasp": "policies.experts.grasp.GraspExpert",
    "move_near": "policies.experts.move_near.MoveNearExpert",
    "put_on": "policies.experts.put_on.PutOnExpert",
}
"""Class by task, or by family where all of its tasks have the same."""


def make_expert(task: str, **settings: Any) -> Policy:
    """Return the expert of `task` (our name or SIMPLER's), made with `settings`.

    Raises `UserError` for an unknown task, one without an expert, and settings that the expert does
    not take.
    """
    target = target_of(task_spec(task).name)
    if target is None:
        names = ", ".join(name for name in TASKS if target_of(name) is not None)
        raise UserError(f"task {task} has no scripted expert; these have one: {names}.")
    expert: Policy = build({"_target_": target, **settings})
    return expert


def target_of(task: str) -> str | None:
    """Return the import path of a task's expert, None if it has none."""
    return EXPERTS.get(task, EXPERTS.get(TASKS[task].family))
