"""A data set through its adapter: windows of pictures, actions, state and instruction."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from experiment.errors import UserError
from worldmodel.data.adapter import Adapter
from worldmodel.data.formats.episode import DamagedRecord, Episode, Episodes
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.order import Place
from worldmodel.data.picture_memory import Frames, Memory
from worldmodel.data.resize import resized
from worldmodel.data.windows import Window, WindowBatch, WindowConfig, stack
from worldmodel.tokenizer import Tokenizer


@dataclass(frozen=True)
class Track:
    """What an episode holds beside its pictures: `(t, 7)`, `(t, s)`, t instructions."""

    episode: Episode
    action: np.ndarray
    state: np.ndarray
    instructions: list[str]


class AdaptedSet:
    """One data set as the house means it; keeps the last episodes at hand.

    `stride` control steps lie between two frames: the rate of the adapter over the frame rate
    that is asked for. Actions stay at the control rate. With a `normalisation` windows hold actions
    and states in its units.
    """

    def __init__(
        self,
        episodes: Episodes,
        adapter: Adapter,
        frame_rate: float | None = None,
        crop: bool = False,
    ) -> None:
        """Args: `crop` cuts pictures to the tokenizer's shape instead of squeezing them.

        Raises `UserError` for a set that lacks a column, or a rate that does not divide."""
        adapter.check(episodes.columns, episodes.source)
        if episodes.fps is not None and abs(episodes.fps - adapter.rate) > 0.01 * adapter.rate:
            raise UserError(
                f"{episodes.source} says {episodes.fps:g} frames a second, adapter {adapter.name} "
                f"says {adapter.rate:g}: take another adapter, or set data.adapter.rate="
                f"{episodes.fps:g}."
            )
        self.episodes, self.adapter = episodes, adapter
        self.name, self.source = adapter.name, episodes.source
        self.stride = stride_of(adapter, frame_rate)
        self.lengths = adapter.lengths(np.asarray(episodes.lengths, dtype=np.int64))
        if not self.lengths.sum():
            raise UserError(f"{episodes.source} holds no step: it is empty, fetch it again.")
        self._crop = crop
        self._tracks: OrderedDict[int, Track] = OrderedDict()
        self._frames: dict[int, Frames] = {}
        self._keep, self._memory = 64, Memory(0)
        self._size = (0, 0)
        self.normalisation: Normalisation | None = None

    def keep(self, episodes: int, memory: Memory) -> None:
        """Keep the last `episodes` at hand, and their pictures while `memory` lasts."""
        self._keep, self._memory = episodes, memory

    def counts(self, config: WindowConfig, whole: bool) -> np.ndarray:
        """Return the windows of each episode: those that lie inside it, or all that begin there."""
        reach = max(config.future) * self.stride if whole else 0
        return np.maximum(self.lengths - reach, 0)

    def track(self, number: int) -> Track:
        """Return an episode; raises `DamagedRecord`."""
        if number in self._tracks:
            self._tracks.move_to_end(number)
            return self._tracks[number]
        episode = self.episodes[number]
        if len(episode) == 0:
            raise DamagedRecord(f"{episode.name} is empty.")
        track = Track(
            episode,
            self.adapter.actions(episode),
            self.adapter.states(episode),
            self.adapter.instructions(episode),
        )
        sizes = {len(track.action), len(track.state), len(track.instructions)}
        if sizes != {int(self.lengths[number])}:
            raise DamagedRecord(
                f"{episode.name}: its columns have {sorted(sizes)} steps where its index lists "
                f"{int(self.lengths[number])}."
            )
        self._tracks[number] = track
        while len(self._tracks) > self._keep:
            oldest, _ = self._tracks.popitem(last=False)
            if oldest in self._frames:
                self._frames.pop(oldest).release()
        return track

    def piece(self, place: Place, config: WindowConfig, tokenizer: Tokenizer) -> Window:
        """Return the window that begins at `place`; raises `DamagedRecord`.

        After the end of the episode the last frame is repeated and marked as not valid.
        """
        track = self.track(place.episode)
        length = len(track.action)
        seen = place.step + self.stride * np.asarray((0, *config.future))
        done = place.step + np.arange(config.chunk)
        steps = np.minimum(seen, length - 1).tolist()
        pictures = self._pictures(place.episode, sorted(set(steps)), tokenizer)
        action, state = track.action[np.minimum(done, length - 1)], track.state[place.step]
        if self.normalisation is not None:
            action, state = self.normalisation.action(action), self.normalisation.state(state)
        return Window(
            pictures=[pictures[step] for step in steps],
            future_valid=(seen < length)[1:],
            action=np.where((done < length)[:, None], action, np.float32(0)),
            action_valid=done < length,
            state=state,
            instruction=track.instructions[place.step],
        )

    def _pictures(
        self, number: int, steps: list[int], tokenizer: Tokenizer
    ) -> dict[int, np.ndarray]:
        """Return the pictures of `steps` by step, at the tokenizer's size."""
        size = tokenizer.picture
        if size != self._size:
            for each in self._frames.values():
                each.release()
            self._size = size
        frames = self._frames.setdefault(number, Frames(self._memory))
        found = frames.get(steps)
        missing = [step for step in steps if step not in found]
        if missing:
            pictures = self.adapter.images(self.track(number).episode, missing)
            if self._crop:
                pictures = cropped(pictures, size[1] / size[0])
            found |= frames.put(missing, resized(pictures, tokenizer.picture))
        return found


def cropped(pictures: np.ndarray, aspect: float) -> np.ndarray:
    """Return the middle of pictures `(n, h, w, 3)` that is `aspect` times as wide as high."""
    height, width = pictures.shape[1:3]
    rows = min(height, max(1, round(width / aspect)))
    columns = min(width, max(1, round(height * aspect)))
    top, left = (height - rows) // 2, (width - columns) // 2
    return np.ascontiguousarray(pictures[:, top : top + rows, left : left + columns])


def stride_of(adapter: Adapter, frame_rate: float | None) -> int:
    """Return the control steps between two frames; raises `UserError` where that is no number."""
    if frame_rate is None:
        return 1
    stride = round(adapter.rate / frame_rate) if frame_rate > 0 else 0
    if stride < 1 or abs(adapter.rate / stride - frame_rate) > 0.05 * frame_rate:
        near = adapter.rate / max(stride, 1)
        raise UserError(
            f"data.frame_rate={frame_rate} does not divide the {adapter.rate:g} Hz of "
            f"{adapter.name}; the nearest that does is {near:g}."
        )
    return stride


def joined(windows: Sequence[Window]) -> WindowBatch:
    """Return windows as a batch; states of fewer numbers are filled up with zeros."""
    width = max(len(window.state) for window in windows)
    filled = [
        replace(window, state=np.pad(window.state, (0, width - len(window.state))))
        for window in windows
    ]
    return stack(filled)
