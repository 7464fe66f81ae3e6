"""A data set through its adapter: windows of pictures, actions, state and instruction."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldmodel.data.adapters import Adapter
from worldmodel.data.episodes import DamagedRecord, Episode, Episodes
from worldmodel.data.order import Place
from worldmodel.data.windows import WindowConfig, Windows
from worldmodel.errors import UserError
from worldmodel.tokenizer.pixel import PixelTokenizer


@dataclass(frozen=True)
class Track:
    """What an episode holds beside its pictures: `(t, 7)`, `(t, s)`, t instructions."""

    episode: Episode
    action: np.ndarray
    state: np.ndarray
    instructions: list[str]


class AdaptedSet:
    """One data set as the house means it; keeps the last `keep` episodes at hand.

    `stride` control steps lie between two frames: the rate of the adapter over the frame rate
    that is asked for. Actions stay at the control rate.
    """

    def __init__(
        self, episodes: Episodes, adapter: Adapter, frame_rate: float | None = None, keep: int = 64
    ) -> None:
        """Raises `UserError` for a set that lacks a column, or a rate that does not divide."""
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
        self._keep = keep
        self._tracks: OrderedDict[int, Track] = OrderedDict()

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
            self._tracks.popitem(last=False)
        return track

    def window(self, place: Place, config: WindowConfig, tokenizer: PixelTokenizer) -> Windows:
        """Return the window that begins at `place`, a batch of one; raises `DamagedRecord`.

        After the end of the episode the last frame is repeated and marked as not valid.
        """
        track = self.track(place.episode)
        length = len(track.action)
        seen = place.step + self.stride * np.asarray((0, *config.future))
        done = place.step + np.arange(config.chunk)
        steps, which = np.unique(np.minimum(seen, length - 1), return_inverse=True)
        pictures = tokenizer.resize(self.adapter.images(track.episode, steps))[which]
        action = track.action[np.minimum(done, length - 1)]
        return Windows(
            frame=pictures[None, 0],
            future=pictures[None, 1:],
            future_valid=(seen < length)[None, 1:],
            action=np.where((done < length)[:, None], action, np.float32(0))[None],
            action_valid=(done < length)[None],
            state=track.state[None, place.step],
            instructions=[track.instructions[place.step]],
        )


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


def joined(windows: Sequence[Windows]) -> Windows:
    """Return several batches as one; states of fewer numbers are filled up with zeros."""
    width = max(w.state.shape[-1] for w in windows)
    states = [np.pad(w.state, ((0, 0), (0, width - w.state.shape[-1]))) for w in windows]
    return Windows(
        frame=np.concatenate([w.frame for w in windows]),
        future=np.concatenate([w.future for w in windows]),
        future_valid=np.concatenate([w.future_valid for w in windows]),
        action=np.concatenate([w.action for w in windows]),
        action_valid=np.concatenate([w.action_valid for w in windows]),
        state=np.concatenate(states),
        instructions=[text for w in windows for text in w.instructions],
    )
