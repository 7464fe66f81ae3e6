"""Rule of moving one object near another."""

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.simpler.rules.base import REST_SPEED, Report, Rule

MOVED = 0.03
NEAR = 0.10
CLOSEST_SLACK = 0.01
FALLEN, OFF_TABLE = -0.02, -0.15


@dataclass
class NearState:
    """What one control step ends with; `o` objects, the source first, then the target.

    frames: their frames' positions `(b, o, 3)`. centres: centres of mass of source and target
    `(b, 2, 3)`. settled: positions after settling `(b, o, 3)`. half: half of source's and target's
    horizontal diagonal `(b, 2)`, all m. released `(b,)`: the robot does not touch the source;
    speed `(b,)`: of the source (m/s).
    """

    frames: Tensor
    centres: Tensor
    settled: Tensor
    half: Tensor
    released: Tensor
    speed: Tensor


def moved(frames: Tensor, settled: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the first object was the one that was moved, and whether another was `(b,)`.

    Args: positions now and after settling `(b, o, 3)`, m.
    """
    distance = (frames - settled)[..., :2].norm(dim=-1)
    source, others = distance[:, :1], distance[:, 1:]
    right = (source[:, 0] > MOVED) & (others < source).all(-1)
    wrong = (others > MOVED).any(-1) & (others > source).any(-1)
    return right, wrong


class MoveNear(Rule):
    """Move the source near the target, nothing knocked over.

    Strict: success with the source let go and at rest.
    """

    def __init__(self, batch: int = 1, device: torch.device | str = "cpu") -> None:
        super().__init__(batch, device)
        self._last = {name: self._no() for name in _NAMES}

    def update(self, state: NearState) -> Tensor:
        # The original judges source and target by their centres of mass but takes the height they
        # settled at from their frames.
        rise = state.centres[..., 2] - state.settled[:, :2, 2]
        others = (state.frames - state.settled)[:, 2:, 2]
        keep_height = (others > FALLEN).all(-1) & (rise > OFF_TABLE).all(-1)
        right, wrong = moved(state.frames, state.settled)
        source, target = state.centres[:, 0, :2], state.centres[:, 1, :2]
        distance = (source - target).norm(dim=-1)
        near = distance < state.half.sum(-1) + NEAR
        to_others = (source[:, None] - state.frames[:, 1:, :2]).norm(dim=-1)
        closest = (distance[:, None] < to_others + CLOSEST_SLACK).all(-1)
        values = (keep_height, right, wrong, near, closest)
        self._last = dict(zip(_NAMES, values, strict=True))
        success = keep_height & right & near & closest
        strict = success & state.released & (state.speed < REST_SPEED)
        return self._judge(success, strict, **self._last)

    @property
    def statistics(self) -> Report:
        return self._last


_NAMES = (
    "all_obj_keep_height",
    "moved_correct_obj",
    "moved_wrong_obj",
    "near_tgt_obj",
    "is_closest_to_tgt",
)
