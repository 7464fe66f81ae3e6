"""The WidowX's Bridge tasks: put one object onto another.

The originals are `PutSpoonOnTableClothInScene-v0`, `PutCarrotOnPlateInScene-v0`,
`StackGreenCubeOnYellowCubeBakedTexInScene-v0` and `PutEggplantInBasketScene-v0`.
"""

import sapien
from mani_skill.utils.structs import Actor
from torch import Tensor

from envs.simpler.rules import PutOn, PutState, Rule
from envs.simpler.scenes.contact_queries import ContactQueries, closes_on
from envs.simpler.scenes.near import SourceAndTarget
from envs.simpler.tasks.registry import TaskSpec

SINK = "sink"
SINK_POSE = sapien.Pose([-0.16, 0.13, 0.88])
TABLE_SLACK, BASKET_SLACK = 0.02, 0.06
_INSTRUCTIONS = {
    "spoon_on_towel": "put the spoon on the towel",
    "carrot_on_plate": "put carrot on plate",
    "stack_cube": "stack the green block on the yellow block",
    "eggplant_in_basket": "put eggplant into yellow basket",
}
# Tasks in which the object may touch other things than its target.
LENIENT = ("spoon_on_towel", "eggplant_in_basket")


def make_rule(task: TaskSpec, batch: int = 1, device: str = "cpu") -> PutOn:
    """The rule of one of the tasks; in the basket the eggplant may lie higher than on a plate."""
    slack = BASKET_SLACK if task.robot == "widowx_sink" else TABLE_SLACK
    return PutOn(slack, task.name not in LENIENT, batch, device)


class PutOnScene(SourceAndTarget):
    """Put the source onto the target; the basket's task has a sink around it."""

    def _make_rule(self, batch: int, device: str) -> Rule:
        return make_rule(self.task, batch, device)

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

    def _update_rule(self, contacts: ContactQueries) -> Tensor:
        source, target = self.objects
        kind = self.robot_kind
        return self.rule.update(
            PutState(
                frames=self.frames((0, 1)),
                centres=self.centres((0, 1)),
                settled=self.settled,
                half=self.half_sizes,
                grasped=closes_on(contacts, source, self.fingers, kind.opens, kind.grasp_angle),
                touched=contacts.touched_by_others(source, [*self.links, target]),
                released=~contacts.touched(source, self.links),
                speed=source.linear_velocity.norm(dim=-1),
            )
        )

    def instruction(self, number: int) -> str:  # noqa: ARG002
        return _INSTRUCTIONS[self.task.name]
