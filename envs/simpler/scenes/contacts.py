"""Contacts of one environment on the CPU, which SAPIEN lists shape by shape."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from mani_skill.utils.structs import Actor
from numpy.typing import NDArray
from torch import Tensor

from envs.simpler.rules.base import CONTACT_IMPULSE
from envs.simpler.scenes.contact_queries import Body


def impulse(contact: Any) -> NDArray[np.float64]:
    """Sum over a contact's points `(3,)`, N s, as it acts on the contact's first body."""
    return np.sum([point.impulse for point in contact.points], axis=0, initial=0.0)


def component(body: Body) -> Any:
    """SAPIEN's own rigid body behind ManiSkill's actor or link."""
    return body._bodies[0] if isinstance(body, Actor) else body._objs[0]


class Contacts:
    """`ContactQueries` of one environment on the CPU: answers have a batch dimension of one."""

    def __init__(self, contacts: Iterable[Any]) -> None:
        """Args: `contacts` as SAPIEN's physics system gives them."""
        self._contacts = [(*contact.bodies, contact) for contact in contacts]

    def between(self, body: Body, other: Body, shape: int | None = None) -> Tensor:
        first, second = component(body), component(other)
        only_shape = None if shape is None else second.collision_shapes[shape]
        total = np.zeros(3)
        for one, two, contact in self._contacts:
            if (one, two) not in ((first, second), (second, first)):
                continue
            if only_shape is None or only_shape in contact.shapes:
                total += impulse(contact) * (1.0 if one == first else -1.0)
        return torch.from_numpy(total)[None].float()

    def touched(self, body: Body, by: Sequence[Body]) -> Tensor:
        return self._pressed(body, {component(other) for other in by}, by_these=True)

    def touched_by_others(self, body: Body, than: Sequence[Body]) -> Tensor:
        return self._pressed(body, {component(other) for other in than}, by_these=False)

    def _pressed(self, body: Body, components: set[Any], by_these: bool) -> Tensor:
        this = component(body)
        pressed = any(
            ((two if one == this else one) in components) == by_these
            and np.linalg.norm(impulse(contact)) > CONTACT_IMPULSE
            for one, two, contact in self._contacts
            if this in (one, two)
        )
        return torch.tensor([pressed])

    def among(self, bodies: Sequence[Body]) -> bool:
        """Whether two of `bodies` press on each other."""
        components = {component(body) for body in bodies}
        return any(
            one in components
            and two in components
            and np.linalg.norm(impulse(contact)) > CONTACT_IMPULSE
            for one, two, contact in self._contacts
        )
