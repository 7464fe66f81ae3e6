"""Robot trajectories in memory, whatever data set they come from."""

from dataclasses import dataclass

import numpy as np
import torch

from experiment.errors import UserError
from worldmodel.data.windows import WindowBatch, WindowConfig


@dataclass(frozen=True)
class Trajectories:
    """Episodes end to end: frame t is what was seen before action t.

    `frames` uint8 `(n, h, w, 3)`, `state` float32 `(n, s)`, `action` float32 `(n, 7)`,
    `instruction` int64 `(n,)` numbers into `instructions`, `starts` int64 `(episodes + 1,)` the
    first frame of each episode and the end, `fps` control steps a second, `source` its name.
    """

    frames: np.ndarray
    state: np.ndarray
    action: np.ndarray
    instruction: np.ndarray
    instructions: tuple[str, ...]
    starts: np.ndarray
    fps: float
    source: str

    @property
    def episodes(self) -> int:
        """Return the number of episodes."""
        return len(self.starts) - 1

    def ends(self, indices: np.ndarray) -> np.ndarray:
        """Return for each frame the end (exclusive) of its episode."""
        return self.starts[np.searchsorted(self.starts, indices, side="right")]

    def frames_of(self, episodes: np.ndarray, reach: int = 0) -> np.ndarray:
        """Return the frames of `episodes` that have `reach` more frames after them."""
        spans = [np.arange(self.starts[e], self.starts[e + 1] - reach) for e in episodes]
        return np.concatenate(spans) if spans else np.zeros(0, dtype=np.int64)

    def split(self, held_out: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the episodes to learn from and of those held out.

        The held-out share is spread evenly over the data set and is at least one episode.
        """
        count = max(1, round(held_out * self.episodes))
        if self.episodes < 2:
            raise UserError(f"{self.source} needs at least 2 episodes, it has {self.episodes}.")
        return spread_out(self.episodes, count)


def spread_out(episodes: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of all episodes but `count`, and of those, evenly spread over all."""
    chosen = np.unique(np.linspace(0, episodes - 1, count + 2)[1:-1].astype(np.int64))
    return np.setdiff1d(np.arange(episodes), chosen), chosen


def cut(trajectories: Trajectories, indices: np.ndarray, config: WindowConfig) -> WindowBatch:
    """Return the windows that begin at the frames `indices` `(b,)`.

    After the end of an episode the future repeats the last frame and is marked as not valid.
    """
    ends = trajectories.ends(indices)[:, None]
    seen = indices[:, None] + np.asarray(config.future)
    done = indices[:, None] + np.arange(config.chunk)
    action = trajectories.action[np.minimum(done, ends - 1)]
    action = np.where((done < ends)[..., None], action, np.float32(0))
    return WindowBatch(
        frame=torch.from_numpy(trajectories.frames[indices]),
        future=torch.from_numpy(trajectories.frames[np.minimum(seen, ends - 1)]),
        future_valid=torch.from_numpy(seen < ends),
        action=torch.from_numpy(action),
        action_valid=torch.from_numpy(done < ends),
        state=torch.from_numpy(trajectories.state[indices]),
        instructions=[trajectories.instructions[i] for i in trajectories.instruction[indices]],
    )
