"""Building a scene's surroundings and loose objects out of an asset pack."""

from collections.abc import Sequence
from typing import Any

import sapien
from mani_skill.utils.structs import Actor

from envs.simpler.assets.pack import AssetPack


class SceneLoader:
    """Adds actors to a ManiSkill scene; `stand_ins` collects what the pack had to replace."""

    def __init__(self, scene: Any, pack: AssetPack, drawn: bool) -> None:
        self._scene = scene
        self._pack = pack
        self._drawn = drawn
        self.stand_ins: list[str] = []

    def surroundings(self, stage: str, robot: str) -> Actor:
        builder = self._scene.create_actor_builder()
        added = self._pack.add_stage(builder, stage, robot, self._drawn)
        self._replaced(added.stand_in)
        builder.initial_pose = sapien.Pose(added.position)
        return builder.build_static(name="arena")

    def objects(self, models: Sequence[str], density: Sequence[float | None], slot: int) -> Actor:
        """Object number `slot` of all environments, each with its model, as one actor."""
        if len(set(models)) == 1:
            return self.object(models[0], density[0], slot)
        actors = [self.object(m, density[i], slot, i) for i, m in enumerate(models)]
        return Actor.merge(actors, name=f"object_{slot}")

    def object(
        self, model: str, density: float | None, slot: int, environment: int | None = None
    ) -> Actor:
        """An object in one environment or (None) in all, out of the way, each at another height."""
        builder = self._scene.create_actor_builder()
        material = sapien.physx.PhysxMaterial(0.5, 0.5, 0.0)
        self._replaced(self._pack.add_object(builder, model, material, self._drawn, density))
        builder.initial_pose = sapien.Pose([0.0, 0.0, 5.0 + slot])
        if environment is not None:
            builder.set_scene_idxs([environment])
        actor = builder.build(name=model if environment is None else f"{model}-{environment}")
        for body in actor._bodies:
            body.linear_damping, body.angular_damping = self._pack.object_damping(model)
        return actor

    def _replaced(self, stand_in: str | None) -> None:
        if stand_in and stand_in not in self.stand_ins:
            self.stand_ins.append(stand_in)
