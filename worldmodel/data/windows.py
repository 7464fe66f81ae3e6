"""Windows: one frame and what follows it, cut from trajectories."""

from dataclasses import dataclass

import numpy as np

from experiment.errors import UserError
from worldmodel.data.trajectories import Trajectories


@dataclass(frozen=True)
class WindowConfig:
    """`future`: distances of the future frames in control steps; `chunk`: number of actions."""

    future: tuple[int, ...] = (3, 6)
    chunk: int = 6

    def __post_init__(self) -> None:
        if self.chunk < 1 or not self.future or min(self.future) < 1:
            raise UserError("data.windows: chunk and every entry of future must be at least 1.")
        object.__setattr__(self, "future", tuple(self.future))


@dataclass(frozen=True)
class Windows:
    """A batch of windows.

    `frame` uint8 `(b, h, w, 3)` and `state` float32 `(b, s)` are of now; `future` uint8
    `(b, t, h, w, 3)`; `action` float32 `(b, k, 7)` begins now, zero after the episode's end;
    `future_valid` bool `(b, t)` and `action_valid` bool `(b, k)` say what lies inside the episode;
    `instructions` are those of now.
    """

    frame: np.ndarray
    future: np.ndarray
    future_valid: np.ndarray
    action: np.ndarray
    action_valid: np.ndarray
    state: np.ndarray
    instructions: list[str]


def cut(trajectories: Trajectories, indices: np.ndarray, config: WindowConfig) -> Windows:
    """Return the windows that begin at the frames `indices` `(b,)`.

    After the end of an episode the future repeats the last frame and is marked as not valid.
    """
    ends = trajectories.ends(indices)[:, None]
    seen = indices[:, None] + np.asarray(config.future)
    done = indices[:, None] + np.arange(config.chunk)
    action = trajectories.action[np.minimum(done, ends - 1)]
    return Windows(
        frame=trajectories.frames[indices],
        future=trajectories.frames[np.minimum(seen, ends - 1)],
        future_valid=seen < ends,
        action=np.where((done < ends)[..., None], action, np.float32(0)),
        action_valid=done < ends,
        state=trajectories.state[indices],
        instructions=[trajectories.instructions[i] for i in trajectories.instruction[indices]],
    )
