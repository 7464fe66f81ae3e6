"""The five families of SIMPLER's tasks as ManiSkill environments."""

from envs.simpler.scenes.cabinet import MoveDrawerScene, PlaceScene
from envs.simpler.scenes.grasp import GraspScene
from envs.simpler.scenes.near import MoveNearScene
from envs.simpler.scenes.put import PutOnScene
from envs.simpler.scenes.scene import SimplerScene

SCENES: dict[str, type[SimplerScene]] = {
    "drawer": MoveDrawerScene,
    "place": PlaceScene,
    "grasp": GraspScene,
    "move_near": MoveNearScene,
    "put_on": PutOnScene,
}
