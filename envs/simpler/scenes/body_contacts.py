"""Questions about contacts for many environments at once: known per pair of bodies, not shapes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from envs.simpler.rules.base import CONTACT_IMPULSE
from envs.simpler.scenes.contact_queries import Body

# What other bodies exert is a difference of float32 sums; below this (N s) it is rounding.
OTHERS_IMPULSE = 1e-5


class BodyContacts:
    """Contacts by ManiSkill's queries; they work on a GPU and, for one environment, on the CPU.

    A query is made once for each pair of bodies and kept by ManiSkill. Answers are `(b, ...)`.
    """

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._pairs: dict[tuple[int, int], Tensor] = {}

    def between(self, body: Body, other: Body, shape: int | None = None) -> Tensor:
        """Summed impulse `(b, 3)` (N s) on `body` from `other`.

        Raises: `ValueError` when asked for one shape: a GPU knows contacts per body only.
        """
        if shape is not None:
            raise ValueError("a GPU knows contacts per body, not per shape")
        key = (id(body), id(other))
        if key not in self._pairs:
            self._pairs[key] = self._scene.get_pairwise_contact_impulses(body, other)
        return self._pairs[key]

    def touched(self, body: Body, by: Sequence[Body]) -> Tensor:
        sizes = [self.between(body, other).norm(dim=-1) for other in by]
        return (torch.stack(sizes) > CONTACT_IMPULSE).any(0)

    def touched_by_others(self, body: Body, than: Sequence[Body]) -> Tensor:
        from_bodies = torch.stack([self.between(body, other) for other in than]).sum(0)
        rest = body.get_net_contact_impulses() - from_bodies
        return rest.norm(dim=-1) > OTHERS_IMPULSE
