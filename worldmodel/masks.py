"""Which tokens are masked together: single tokens, tubes through time, or whole frames."""

from typing import Literal, get_args

import torch
from torch import Tensor

Mask = Literal["tokens", "tubes", "frames"]
"""What the mask M of the dual timesteps consists of (Self-Flow, Sec. 3.3: tokens)."""

MASKS: tuple[str, ...] = get_args(Mask)


def leaders(kind: Mask, position: Tensor) -> Tensor | None:
    """Return int64 `(b, n)`: the token whose random number each token takes; None for its own.

    `position` `(b, n, 3)` is time, row and column. Tokens of one `tubes` group share row and
    column, so that all actions, which have no place in the picture, are one tube; tokens of one
    `frames` group share their time, and an action is masked alone unless a frame has its time. Each
    token's number stays uniform, so each token's marginal density of times stays p(t).
    """
    if kind == "tokens":
        return None
    key = position[..., 1:] if kind == "tubes" else position[..., :1]
    same = (key.unsqueeze(2) == key.unsqueeze(1)).all(-1)
    # The first of the equal ones; shapes do not depend on how many groups there are.
    return same.to(torch.uint8).argmax(-1)
