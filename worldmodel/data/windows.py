"""Windows: one frame and what follows it, cut from an episode; and batches of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from experiment.errors import UserError

AfterEnd = Literal["drop", "mask", "hold"]
"""Windows that reach beyond the end of their episode: drop leaves them out; mask: steps after the
end do not count; hold: the robot rests there, which is learned (frames do not count), unless the
data set records that the episode had no success when it was cut off."""

AfterDeparture = Literal["keep", "mask"]
"""Actions of a window after a step at which the robot did something other than the recorded action
(it was disturbed, or a learner drove): they answer states that the recorded actions do not lead to.
keep: they count all the same; mask: they do not."""

Empty = Callable[[tuple[int, ...]], Tensor]
"""Returns an uninitialised uint8 tensor of a shape."""


@dataclass(frozen=True)
class WindowConfig:
    """`future`: distances of the future frames, in frames (control steps unless a frame rate is
    asked for); `chunk`: number of actions.

    With `start` the first picture of the episode belongs to a window too: what the arm hides later
    is seen there. With `grip` the state says how far the fingers shut the last time
    (`worldmodel.data.grip`). `past` are distances of earlier pictures in control steps, as coarse
    as the start; before an episode its first picture stands.
    """

    future: tuple[int, ...] = (3, 6)
    chunk: int = 6
    start: bool = False
    grip: bool = False
    past: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.chunk < 1 or not self.future or min(self.future) < 1:
            raise UserError("data.windows: chunk and every entry of future must be at least 1.")
        if self.past and min(self.past) < 1:
            raise UserError(
                f"data.use.windows.past={[*self.past]} must be steps before now, each at least 1."
            )
        object.__setattr__(self, "future", tuple(self.future))
        object.__setattr__(self, "past", tuple(self.past))

    @property
    def pictures(self) -> int:
        """The number of pictures in a window."""
        return 1 + len(self.future) + self.start + len(self.past)


@dataclass(frozen=True)
class Window:
    """One window before it is copied into a batch; fields as in `WindowBatch`, for one sample.

    `pictures` are the frame of now and the future ones, uint8 `(h, w, 3)` each, as are `start` and
    those of `past`; `grip` `(1,)`.
    """

    pictures: Sequence[np.ndarray]
    future_valid: np.ndarray
    action: np.ndarray
    action_valid: np.ndarray
    state: np.ndarray
    instruction: str
    start: np.ndarray | None = None
    grip: np.ndarray | None = None
    past: Sequence[np.ndarray] = ()


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What batches of windows have in common, whether their frames are pictures or tokens.

    `frame`, `state` float32 `(b, s)` and `instructions` are those of the first step; `action`
    float32 `(b, k, a)` starts there; `action_valid` bool `(b, k)`: which actions count. Without
    actions or state a or s is 0.
    """

    frame: Tensor
    action: Tensor
    action_valid: Tensor
    state: Tensor
    instructions: list[str]

    @property
    def samples(self) -> int:
        return len(self.frame)

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on `device`; copies from pinned memory do not wait."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self, *_: Any) -> Self:
        """Return the batch in pinned memory; called by torch's `DataLoader`."""
        return self._each(Tensor.pin_memory)

    def rows(self, chosen: slice) -> Self:
        batch = self._each(lambda tensor: tensor[chosen])
        return replace(batch, instructions=self.instructions[chosen])

    def repeated(self, count: int) -> Self:
        """Return every sample `count` times, one after the other."""
        batch = self._each(lambda tensor: tensor.repeat_interleave(count, 0))
        return replace(batch, instructions=[i for i in self.instructions for _ in range(count)])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        tensors = {n: v for n, v in vars(self).items() if isinstance(v, Tensor)}
        changed: dict[str, Any] = {name: change(tensor) for name, tensor in tensors.items()}
        return replace(self, **changed)


@dataclass(frozen=True, kw_only=True)
class WindowBatch(Samples):
    """Windows with their pictures, contiguous.

    `frame` uint8 `(b, h, w, 3)`, `future` uint8 `(b, t, h, w, 3)`; `future_valid` bool `(b, t)`:
    which future frames count. `start` uint8 `(b, h, w, 3)`: the first pictures of the episodes,
    `grip` float32 `(b, 1)`: how far the fingers shut the last time, `past` uint8 `(b, p, h, w, 3)`:
    earlier pictures; None where windows do without.
    """

    future: Tensor
    future_valid: Tensor
    start: Tensor | None = None
    grip: Tensor | None = None
    past: Tensor | None = None


def last_known(known: Iterable[int], step: int) -> int:
    """Return the last of the `known` steps up to `step`, or the first one where all are later."""
    steps = sorted(known)
    return max((each for each in steps if each <= step), default=steps[0])


def empty_pictures(shape: tuple[int, ...]) -> Tensor:
    """Return an uninitialised uint8 tensor of ordinary memory."""
    return torch.empty(shape, dtype=torch.uint8)


def stack(windows: Sequence[Window], empty: Empty = empty_pictures) -> WindowBatch:
    """Return windows as a batch, the pictures in memory of `empty`."""
    size = windows[0].pictures[0].shape
    frame = empty((len(windows), *size))
    future = empty((len(windows), len(windows[0].pictures) - 1, *size))
    for now, later, window in zip(frame.numpy(), future.numpy(), windows, strict=True):
        now[:] = window.pictures[0]
        for target, picture in zip(later, window.pictures[1:], strict=True):
            target[:] = picture

    starts = [window.start for window in windows if window.start is not None]
    start = empty((len(windows), *size)) if starts else None
    if start is not None:
        for place, picture in zip(start.numpy(), starts, strict=True):
            place[:] = picture
    earlier = len(windows[0].past)
    past = empty((len(windows), earlier, *size)) if earlier else None
    if past is not None:
        for of_window, window in zip(past.numpy(), windows, strict=True):
            of_window[:] = window.past
    grips = [window.grip for window in windows if window.grip is not None]

    def together(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(window, name) for window in windows]))

    return WindowBatch(
        frame=frame,
        future=future,
        future_valid=together("future_valid"),
        action=together("action"),
        action_valid=together("action_valid"),
        state=together("state"),
        instructions=[window.instruction for window in windows],
        start=start,
        grip=torch.from_numpy(np.stack(grips)) if grips else None,
        past=past,
    )
