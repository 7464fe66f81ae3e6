"""The WidowX's Bridge tasks: put one object onto another.

The originals are `PutSpoonOnTableClothInScene-v0`, `PutCarrotOnPlateInScene-v0`,
`StackGreenCubeOnYellowCubeBakedTexInScene-v0` and `PutEggplantInBasketScene-v0`.
"""

import sapien
from mani_skill.utils.structs import Actor

from envs.simpler.rules.put import PutState
from envs.simpler.scenes.contact_queries import ContactQueries
from envs.simpler.scenes.near import SourceAndTarget

SINK = "sink"
SINK_POSE = sapien.Pose([-0.16, 0.13, 0.88])
_INSTRUCTIONS = {
    "spoon_on_towel": "put the spoon on the towel",
    "carrot_on_plate": "put carrot on plate",
    "stack_cube": "stack the green block on the yellow block",
    "eggplant_in_basket": "put eggplant into yellow basket",
}


class PutOnScene(SourceAndTarget):
    """Put the source onto the target; the basket's task has a sink around it."""

    @property
    def _has_sink(self) -> bool:
        return self.task.robot == "widowx_sink"

    def _load_furniture(self) -> None:
        self.sink: Actor | None = None
        if self._has_sink:
            self.sink = self.loader.object(SINK, self._density(SINK), len(self.objects))

    def _place_furniture(self) -> None:
        if self.sink is not None and not self.on_gpu:
            body = self.sink._bodies[0]
            body.entity_pose = SINK_POSE
            body.set_locked_motion_axes([True] * 6)

    def _shown_objects(self) -> list[Actor]:
        # The photograph shows the sink and the basket themselves.
        return self.objects[:1] if self._has_sink else self.objects

    def rule_state(self, contacts: ContactQueries) -> PutState:
        source, target = self.objects
        return PutState(
            frames=self.frames(),
            centres=self.centres(),
            settled=self.settled,
            half=self.half_sizes,
            grasped=self.grasped(source, contacts),
            touched=contacts.touched_by_others(source, [*self.links, target]),
            released=~contacts.touched(source, self.links),
            speed=source.linear_velocity.norm(dim=-1),
        )

    def instruction(self, number: int) -> str:  # noqa: ARG002
        return _INSTRUCTIONS[self.task.name]
