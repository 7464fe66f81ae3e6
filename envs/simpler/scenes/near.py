"""Moving one object near another, a third one beside them.

The originals are `MoveNearGoogle…InScene-v0` and `-v1`.
"""

from collections.abc import Callable

import numpy as np
import torch
from mani_skill.utils.structs import Actor
from torch import Tensor

from envs.simpler.rules.near import NearState
from envs.simpler.scenes.contact_queries import ContactQueries
from envs.simpler.scenes.names import object_name
from envs.simpler.scenes.scene import SimplerScene
from envs.simpler.tasks.layouts import toy_density
from envs.simpler.tasks.start import Start


class SourceAndTarget(SimplerScene):
    """Scenes whose rule is about a source, a target and perhaps others."""

    contact_offset = 0.005

    @staticmethod
    def order_of(start: Start) -> list[int]:
        """Numbers of a start's objects: source, target, then the others."""
        layout = start.layout
        assert layout.source is not None
        assert layout.target is not None
        first = [layout.source, layout.target]
        return first + [i for i in range(len(layout.models)) if i not in first]

    def ordered(self, values: Tensor) -> Tensor:
        """Values of all objects `(b, o, ...)`, source first, then target and the others."""
        order = torch.tensor([self.order_of(s) for s in self.starts], device=values.device)
        return values[torch.arange(len(order), device=values.device)[:, None], order]

    def _set_furniture(self, env_idx: Tensor) -> None:
        """Keep half the bounding boxes `(b, o, 3)` of the objects, turned as they settled."""
        models = [[self.pack.object_size(m) for m in s.layout.models] for s in self.starts]
        size = torch.tensor(np.array(models), dtype=torch.float32, device=self.device)
        turns = [item.pose.to_transformation_matrix()[:, :3, :3] for item in self.objects]
        half = (torch.stack(turns, 1) @ size[..., None])[..., 0] / 2
        if len(env_idx) == len(self.starts):
            self.half_sizes = half
        else:
            self.half_sizes[env_idx] = half[env_idx]

    def centres(self) -> Tensor:
        """Centres of mass of the objects `(b, o, 3)`, m, in the world."""
        return torch.stack([(item.pose * item.cmass_local_pose).p for item in self.objects], 1)

    def frames(self) -> Tensor:
        """Positions of the objects' frames `(b, o, 3)`, m, in the world."""
        return torch.stack([item.pose.p for item in self.objects], 1)

    def of_source(self, value: Callable[[Actor], Tensor]) -> Tensor:
        """`value` of the source of each environment `(b, ...)`."""
        return self.ordered(torch.stack([value(item) for item in self.objects], 1))[:, 0]

    def names(self, number: int) -> tuple[str, str]:
        """Source and target of environment `number` as an instruction names them."""
        start = self.starts[number]
        source, target = (start.layout.models[i] for i in self.order_of(start)[:2])
        return object_name(source), object_name(target)


class MoveNearScene(SourceAndTarget):
    """Move the source near the target."""

    def _density(self, model: str) -> float | None:
        return toy_density(model)

    def rule_state(self, contacts: ContactQueries) -> NearState:
        return NearState(
            frames=self.ordered(self.frames()),
            centres=self.ordered(self.centres())[:, :2],
            settled=self.ordered(self.settled),
            half=self.ordered(self.half_sizes)[:, :2, :2].norm(dim=-1),
            released=~self.of_source(lambda item: contacts.touched(item, self.links)),
            speed=self.of_source(lambda item: item.linear_velocity).norm(dim=-1),
        )

    def instruction(self, number: int) -> str:
        source, target = self.names(number)
        return f"move {source} near {target}"
