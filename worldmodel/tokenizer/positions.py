"""Positions of tokens: time in control steps, row and column in patches."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from einops import rearrange, reduce
from torch import Tensor

from experiment.errors import UserError
from worldmodel.tokenizer import Tokenizer

_START = -64.0


def frame_position(tokenizer: Tokenizer, device: torch.device) -> Tensor:
    """Return `(1, n, 3)`, the positions of the tokens of the condition frame."""
    return _positions((0.0,), 1, tokenizer.grid, device)


def start_position(tokenizer: Tokenizer, device: torch.device) -> Tensor:
    """Return `(1, n, 3)`, the positions of the tokens of an episode's first picture.

    Its time is the same however long ago it was: where things were, not when. Rows and columns are
    those of the condition frame's patches.
    """
    return coarse_position(tokenizer, (_START,), device)


def coarse_position(tokenizer: Tokenizer, times: Sequence[float], device: torch.device) -> Tensor:
    """Return `(1, n, 3)`: positions of pictures at `times`, of patches as coarse as the start's."""
    here, there = tokenizer.grid, tokenizer.start.grid
    scale = torch.tensor([1.0, here[0] / there[0], here[1] / there[1]])
    position = _positions(tuple(times), 1, there, torch.device("cpu"))
    moved = (position + 0.5) * scale - 0.5
    moved[..., 0] = position[..., 0]
    return moved.to(device)


def video_position(tokenizer: Tokenizer, times: Sequence[float], device: torch.device) -> Tensor:
    """Return `(1, m, 3)` of a clip whose future frames are at `times`, in control steps.

    A token is in the middle of its frames. Raises `UserError` for times that do not fill tokens.
    """
    if len(times) % tokenizer.depth:
        raise UserError(
            f"{len(times)} future frames do not fill tokens of {tokenizer.depth} frames: "
            "change data.windows.future or the tokenizer."
        )
    return _positions(tuple(times), tokenizer.depth, tokenizer.grid, device)


def video_valid(tokenizer: Tokenizer, valid: Tensor) -> Tensor:
    """Return bool `(b, m)`: a token counts if all its frames do, `valid` bool `(b, t)`."""
    whole = reduce(valid, "b (t d) -> b t", "min", d=tokenizer.depth)
    rows, columns = tokenizer.grid
    return whole.repeat_interleave(rows * columns, dim=1)


# A batch has the positions of the one before: made once, they need no copy to the device.
@lru_cache(maxsize=64)
def _positions(
    times: tuple[float, ...], depth: int, grid: tuple[int, int], device: torch.device
) -> Tensor:
    steps = reduce(torch.tensor(times, dtype=torch.float32), "(t d) -> t", "mean", d=depth)
    axes = (steps, *(torch.arange(count, dtype=torch.float32) for count in grid))
    mesh = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    return rearrange(mesh, "t h w a -> 1 (t h w) a").to(device)
