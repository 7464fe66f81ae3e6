"""SIMPLER's tasks on ManiSkill 3 / SAPIEN 3: `make` a task by name, or `gymnasium.make` its id."""

from pathlib import Path

from envs.errors import UserError
from envs.simpler import open_and_place  # registers with ManiSkill and gymnasium
from envs.simpler.environment import SimplerEnv
from envs.simpler.registry import TASKS, TaskSpec, task_spec

__all__ = ["TASKS", "SimplerEnv", "TaskSpec", "make", "task_spec"]


def make(
    task: str,
    assets: str = "primitives",
    asset_root: str | Path | None = None,
    resolution: tuple[int, int] | None = (160, 128),
    simulation_frequency: int = 513,
) -> SimplerEnv:
    """Make the task called `task` (our name or SIMPLER's) as a gymnasium environment.

    Args: `assets` is primitives or simpler (then `asset_root` names a clone of
        ManiSkill2_real2sim); `resolution` is (width, height) of the head camera with the original's
        field of view, None for no renderer at all.
    Raises: `UserError` for an unknown task or pack, missing assets, an impossible resolution, no
        device that can draw.
    """
    spec = task_spec(task)
    if resolution is not None:
        size = tuple(int(n) for n in resolution)
        if len(size) != 2 or min(size) < 1:
            raise UserError(f"resolution must be two positive numbers; got {resolution}.")
        resolution = (size[0], size[1])
    scenes = {"open_and_place": open_and_place.OpenAndPlace}
    scene = scenes[spec.name](
        assets=assets,
        asset_root=None if asset_root is None else str(asset_root),
        resolution=resolution,
        simulation_frequency=simulation_frequency,
    )
    return SimplerEnv(scene)
