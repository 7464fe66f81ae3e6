"""The five families of SIMPLER's tasks as ManiSkill environments."""

from envs.simpler.scene import SimplerScene
from envs.simpler.tasks.cabinet import MoveDrawerScene, PlaceScene
from envs.simpler.tasks.grasp import GraspScene
from envs.simpler.tasks.near import MoveNearScene
from envs.simpler.tasks.put import PutOnScene

SCENES: dict[str, type[SimplerScene]] = {
    "drawer": MoveDrawerScene,
    "place": PlaceScene,
    "grasp": GraspScene,
    "move_near": MoveNearScene,
    "put_on": PutOnScene,
}

__all__ = [
    "SCENES",
    "GraspScene",
    "MoveDrawerScene",
    "MoveNearScene",
    "PlaceScene",
    "PutOnScene",
]
