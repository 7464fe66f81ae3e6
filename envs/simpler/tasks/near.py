"""Moving one object near another, a third one beside them.

The originals are `MoveNearGoogle…InScene-v0` and `-v1`.
"""

from typing import Any

import torch
from torch import Tensor

from envs.simpler.contacts import Contacts
from envs.simpler.layouts import toy_density
from envs.simpler.rules import MoveNear, NearState, Rule
from envs.simpler.scene import SimplerScene
from envs.simpler.tasks.names import spoken


class SourceAndTarget(SimplerScene):
    """Scenes whose rule is about a source, a target and perhaps others."""

    contact_offset = 0.005
    rule: Any

    @property
    def order(self) -> list[int]:
        """Numbers of the objects: source, target, then the others."""
        layout = self.start.layout
        assert layout.source is not None
        assert layout.target is not None
        first = [layout.source, layout.target]
        return first + [i for i in range(len(layout.models)) if i not in first]

    def _note_sizes(self) -> None:
        """Keep half the bounding boxes `(b, 2, 3)` of source and target, turned as they settled."""
        sizes = []
        for i in self.order[:2]:
            extents = self.pack.object_size(self.start.layout.models[i])
            size = torch.tensor(extents, dtype=torch.float32)
            rotation = self.objects[i].pose.to_transformation_matrix()[:, :3, :3]
            sizes.append(rotation @ size)
        self.half_sizes = torch.stack(sizes, 1) / 2

    def _set_furniture(self) -> None:
        self._note_sizes()

    def names(self) -> tuple[str, str]:
        """Source and target as an instruction names them."""
        source, target = (self.start.layout.models[i] for i in self.order[:2])
        return spoken(source), spoken(target)


class MoveNearScene(SourceAndTarget):
    """Move the source near the target."""

    def _make_rule(self) -> Rule:
        return MoveNear()

    def _density(self, model: str) -> float | None:
        return toy_density(model)

    def _update_rule(self, contacts: Contacts) -> Tensor:
        order = self.order
        source = self.objects[order[0]]
        return self.rule.update(
            NearState(
                frames=self.frames(order),
                centres=self.centres(order[:2]),
                settled=self.settled[:, order],
                half=self.half_sizes[..., :2].norm(dim=-1),
                released=~contacts.touched(source, self.links),
                speed=torch.as_tensor(source.linear_velocity).norm(dim=-1),
            )
        )

    def get_language_instruction(self) -> str:
        source, target = self.names()
        return f"move {source} near {target}"
