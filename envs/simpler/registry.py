"""The tasks by name: our name, SIMPLER's name, step limit, phases of the instruction."""

from dataclasses import dataclass

from envs.errors import UserError, nearest


@dataclass(frozen=True)
class TaskSpec:
    """What names a task; the scene and the success rule are in the class behind `gym_id`."""

    name: str
    simpler_name: str
    gym_id: str
    max_steps: int
    drawer: str
    object_model: str
    robot_poses: tuple[str, ...]
    forced_subtask_step: int


TASKS: dict[str, TaskSpec] = {
    spec.name: spec
    for spec in (
        TaskSpec(
            name="open_and_place",
            simpler_name="google_robot_place_apple_in_closed_top_drawer",
            gym_id="simpler/OpenAndPlace-v0",
            max_steps=200,
            drawer="top",
            object_model="baked_apple_v2",
            robot_poses=("a0", "b0", "c0"),
            forced_subtask_step=100,
        ),
    )
}


def task_spec(name: str) -> TaskSpec:
    """Look a task up by our name or by SIMPLER's.

    Raises: `UserError` naming the nearest known tasks.
    """
    for spec in TASKS.values():
        if name in (spec.name, spec.simpler_name):
            return spec
    raise UserError(f"unknown task {name!r}.{nearest(name, TASKS)}")
