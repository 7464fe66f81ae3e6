"""SIMPLER's tasks on ManiSkill 3, with rollouts, recorders and data collection.

>>> import envs
>>> env = envs.make("move_near", resolution=(160, 128))
>>> env.observation_space["image"].shape
(128, 160, 3)
>>> len(envs.tasks())
25
"""

# What is heavy is imported when it is first used.
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envs.simpler.environment import SimplerEnv

__all__ = ["make", "tasks"]


def make(task: str, **settings: Any) -> "SimplerEnv":
    """Return a task as a gymnasium environment; `settings` are those of `envs.simpler.make`."""
    import envs.simpler

    return envs.simpler.make(task, **settings)


def tasks() -> tuple[str, ...]:
    """Return the names of SIMPLER's 25 tasks."""
    from envs.simpler.tasks.registry import TASKS

    return tuple(TASKS)
