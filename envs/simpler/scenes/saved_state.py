"""A scene's state as it is between two control steps, to return to or to carry into a twin."""

import copy
from dataclasses import dataclass
from typing import Any

from envs.simpler.robots.controller import PlannedJointController
from envs.simpler.scenes.scene import SimplerScene
from experiment.errors import UserError


@dataclass(frozen=True)
class SavedState:
    """Poses and velocities of all bodies, what the controllers are about to do, and the rule."""

    bodies: dict[str, Any]
    controllers: dict[str, Any]
    rule: dict[str, Any]
    elapsed: Any


def save(scene: SimplerScene) -> SavedState:
    """Return the state of a scene on the CPU; raises `UserError` for one on a GPU."""
    if scene.on_gpu:
        raise UserError("the state of a GPU simulation cannot be saved: use envs.simpler.make.")
    return SavedState(
        bodies=scene.get_state_dict(),
        controllers={name: each.memory() for name, each in _controllers(scene)},
        rule=copy.deepcopy(vars(scene.rule)),
        elapsed=scene.elapsed_steps.clone(),
    )


def restore(scene: SimplerScene, state: SavedState) -> None:
    """Bring `scene` into a state saved of it, or of a twin: same task, seed and options."""
    scene.set_state_dict(state.bodies)
    for name, each in _controllers(scene):
        each.remember(state.controllers[name])
    vars(scene.rule).update(copy.deepcopy(state.rule))
    scene._elapsed_steps = state.elapsed.clone()


def _controllers(scene: SimplerScene) -> list[tuple[str, PlannedJointController]]:
    return list(scene.agent.controller.controllers.items())
