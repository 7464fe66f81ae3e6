"""Picking tasks: a can in one of three orientations, or one of several objects.

The originals are `GraspSingle…InScene-v0`.
"""

from itertools import combinations
from math import dist

import sapien

from envs.simpler.assets.rests import Rest
from envs.simpler.rules.grasp import GraspState
from envs.simpler.scenes.contact_queries import ContactQueries
from envs.simpler.scenes.names import object_name
from envs.simpler.scenes.scene import SimplerScene
from envs.simpler.scenes.settling import Fall, place

CROWDED = 0.16
"""Objects dropped nearer to each other than this (m) may touch, so that the fall decides."""


class GraspScene(SimplerScene):
    """Pick the first object; the others, if any, distract."""

    def _crowded(self, number: int) -> set[int]:
        """Objects of environment `number` that may touch another one as they fall."""
        positions = enumerate(self.starts[number].layout.positions)
        pairs = combinations(positions, 2)
        return {i for a, b in pairs if dist(a[1], b[1]) < CROWDED for i in (a[0], b[0])}

    def _rests(self, number: int) -> list[Rest] | None:
        # A GPU simulation cannot let them fall; there they overlap and are pushed apart.
        if self._crowded(number) and not self.on_gpu:
            return None
        return super()._rests(number)

    def _drop_objects(self, fall: Fall) -> None:
        rests = super()._rests(0)
        layout = self.start.layout
        bodies = [item._bodies[0] for item in self.objects]
        falling = list(range(len(bodies)))
        if rests is not None:
            falling = sorted(self._crowded(0))
            for i in set(range(len(bodies))) - set(falling):
                place(bodies[i], sapien.Pose(rests[i][:3], rests[i][3:]))
        if 0 in falling:
            fall.drop(bodies[:1], layout.positions[:1], layout.quaternions[:1])
        distractors = [i for i in falling if i > 0]
        if distractors:
            fall.drop_in_turn(
                [bodies[i] for i in distractors],
                [layout.positions[i] for i in distractors],
                [layout.quaternions[i] for i in distractors],
            )

    def rule_state(self, contacts: ContactQueries) -> GraspState:
        item = self.objects[0]
        return GraspState(
            grasped=self.grasped(item, contacts),
            touched=contacts.touched_by_others(item, self.links),
            rise=item.pose.p[:, 2] - self.settled[:, 0, 2],
        )

    def instruction(self, number: int) -> str:
        return f"pick {object_name(self.starts[number].layout.models[0])}"
