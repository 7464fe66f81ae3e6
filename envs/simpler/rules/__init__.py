"""SIMPLER's success rules on plain numbers, for a batch of environments `(b,)`.

They know nothing of the simulator, so recorded states of the original can be fed to them.
"""

from envs.simpler.rules.base import Rule
from envs.simpler.rules.drawer import MoveDrawer, PlaceInDrawer
from envs.simpler.rules.grasp import LiftObject
from envs.simpler.rules.near import MoveNear
from envs.simpler.rules.put import put_on
from envs.simpler.tasks.registry import TaskSpec


def make_rule(task: TaskSpec, batch: int = 1, device: str = "cpu") -> Rule:
    match task.family:
        case "drawer":
            return MoveDrawer(task.goal, batch, device)
        case "place":
            return PlaceInDrawer(task.forced_subtask_step, batch, device)
        case "grasp":
            return LiftObject(batch, device)
        case "move_near":
            return MoveNear(batch, device)
        case _:
            return put_on(task, batch, device)
