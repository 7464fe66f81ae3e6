"""What scenes ask about the contacts of the last simulation step, on the CPU and on a GPU."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import torch
from mani_skill.utils.structs import Actor, Link
from torch import Tensor

from envs.simpler.rules.base import CONTACT_IMPULSE

Body: TypeAlias = Actor | Link


class ContactQueries(Protocol):
    """Contacts after a control step; ask before the simulation moves on."""

    def between(self, body: Body, other: Body, shape: int | None = None) -> Tensor:
        """Summed impulse `(b, 3)` (N s) on `body` from `other`, or from one of its shapes."""

    def touched(self, body: Body, by: Sequence[Body]) -> Tensor:
        """Whether any of `by` presses on `body` `(b,)`."""

    def touched_by_others(self, body: Body, than: Sequence[Body]) -> Tensor:
        """Whether anything but `than` presses on `body` `(b,)`."""


def closes_on(
    contacts: ContactQueries,
    item: Body,
    fingers: Sequence[Sequence[Body]],
    signs: Sequence[float],
    angle: float,
) -> Tensor:
    """Whether all fingers press on `item` from their closing side `(b,)`.

    Args: `fingers` lists the links of each finger, `signs` which way along a link's y it opens;
        `angle` (rad) is the largest angle between that direction and the impulse on the finger.
    """
    closed = []
    for links, sign in zip(fingers, signs, strict=True):
        strong, aligned = [], []
        for link in links:
            push = contacts.between(link, item)
            size = push.norm(dim=-1)
            opening = sign * link.pose.to_transformation_matrix()[:, :3, 1].to(push)
            # A push too small to have a direction counts as perpendicular.
            direction = torch.where(size[:, None] < CONTACT_IMPULSE, 0.0, push / size[:, None])
            aligned.append((direction * opening).sum(-1).clamp(-1, 1).acos() <= angle)
            strong.append(size >= CONTACT_IMPULSE)
        closed.append(torch.stack(strong).any(0) & torch.stack(aligned).any(0))
    return torch.stack(closed).all(0)
