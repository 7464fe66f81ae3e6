"""A data set through its adapter: windows of pictures, actions, state and instruction."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from experiment.errors import UserError
from worldmodel.data.adapter import Adapter
from worldmodel.data.formats.episode import DamagedRecord, Episode, Episodes
from worldmodel.data.grip import last_grips
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.order import WindowIndex
from worldmodel.data.pictures import KeptPictures, Memory, PictureFile, Size, fitted
from worldmodel.data.windows import AfterDeparture, AfterEnd, Window, WindowConfig

_KEPT_EPISODES = 64
SUCCESS = "next.success"
"""LeRobot's column of whether the task is done after a step."""


class ActionTransform(Protocol):
    """What is learned of canonical actions; may change the gripper's column alone."""

    def __call__(self, actions: np.ndarray) -> np.ndarray:
        """Return what is learned `(t, 7)` of the actions `(t, 7)` of a whole episode."""

    def resting(self, last: np.ndarray) -> np.ndarray:
        """Return what is learned `(7,)` of a robot that rests after the learned action `last`."""


@dataclass(frozen=True)
class EpisodeArrays:
    """What an episode holds beside its pictures: `(t, a)`, `(t, s)`, t instructions.

    Where the robot rests after the end, `action` has one more row, the resting action. `departs`
    `(t,)`: at which steps the robot did something else, `grip` `(t, 1)`; None where they change
    nothing.
    """

    episode: Episode
    action: np.ndarray
    state: np.ndarray
    instructions: list[str]
    departs: np.ndarray | None = None
    grip: np.ndarray | None = None


class DataSet:
    """One data set in canonical terms; caches the last episodes.

    `stride` control steps lie between two frames: the rate of the set over the frame rate that is
    asked for. Actions stay at the control rate. With an `action_transform` windows hold what it
    makes of each episode's actions, with a `normalisation` actions and states in its units.
    """

    def __init__(
        self,
        episodes: Episodes,
        adapter: Adapter,
        windows: WindowConfig,
        size: Size,
        *,
        after_end: AfterEnd = "drop",
        after_departure: AfterDeparture = "keep",
        frame_rate: float | None = None,
        crop: bool = False,
        video_only: bool = False,
    ) -> None:
        """Args: pictures come at `size`, cut to its shape with `crop`, else squeezed; without
        actions and states where `video_only`.

        Raises `UserError` for a set that lacks a column, or a rate that does not divide."""
        adapter.check(episodes.columns, episodes.source, video_only)
        fps = episodes.fps
        if None not in (fps, adapter.rate) and abs(fps - adapter.rate) > 0.01 * adapter.rate:  # type: ignore[operator]
            raise UserError(
                f"{episodes.source} has {fps:g} frames a second, adapter {adapter.name} "
                f"{adapter.rate:g}: take another adapter, or set data.adapter.rate={fps:g}."
            )
        self.episodes, self.adapter, self.config, self.size = episodes, adapter, windows, size
        self.name, self.source = adapter.name, episodes.source
        self.rate = adapter.rate or fps
        self.video_only, self.with_state = video_only, not video_only
        self.state_width = self.state_size
        self.stride = self._stride(frame_rate)
        self.lengths = adapter.lengths(np.asarray(episodes.lengths, dtype=np.int64))
        if not self.lengths.sum():
            raise UserError(f"{episodes.source} holds no step: it is empty, fetch it again.")
        self.after_end, self.after_departure = after_end, after_departure
        self.action_transform: ActionTransform | None = None
        self.normalisation: Normalisation | None = None
        self.picture_file: PictureFile | None = None
        self._crop = crop
        self._frames = self.stride * np.asarray((0, *windows.future))
        self._past = np.asarray(windows.past, dtype=np.int64)
        self._actions = np.arange(windows.chunk)
        self.keep(_KEPT_EPISODES, Memory(0))

    def learn(self, transform: ActionTransform | None, normalisation: Normalisation | None) -> None:
        """Return actions and states as they are learned from now on."""
        self.action_transform, self.normalisation = transform, normalisation
        self._arrays.clear()

    def keep(self, episodes: int, memory: Memory) -> None:
        """Cache the last `episodes`, and their pictures while `memory` lasts."""
        self._kept, self._memory = episodes, memory
        self._arrays: OrderedDict[int, EpisodeArrays] = OrderedDict()
        self._pictures: dict[int, KeptPictures] = {}

    def decode_once(self, cache: Path, skip_damaged: bool) -> None:
        """Take pictures from a file in the folder `cache`, which is made if need be.

        Raises `DamagedRecord` unless `skip_damaged`."""
        adapter, (height, width) = self.adapter, self.size
        facts = (adapter.image, adapter.channels, adapter.skip_first, self._crop)
        path = cache / f"pictures-{height}x{width}-{self._digest(facts)}.npy"
        file = PictureFile(path, self.lengths)
        file.make(self.size, lambda n, steps: self._decoded(self.episodes[n], steps), skip_damaged)
        self.picture_file = file

    @property
    def fingerprint(self) -> str:
        """12 hex digits that change with the data set's source, files, index and adapter."""
        return self._digest((self.adapter, self.video_only, self.with_state))

    def _digest(self, facts: tuple[object, ...]) -> str:
        digest = hashlib.sha256(repr((self.source, *facts)).encode())
        digest.update(np.asarray(self.episodes.lengths, dtype=np.int64).tobytes())
        folder = Path(self.source)
        if "://" not in self.source and folder.is_dir():
            for path in sorted(folder.rglob("*")):
                stat = path.stat()
                if path.is_file():
                    digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:12]

    @property
    def has_actions(self) -> bool:
        return self.adapter.action is not None and not self.video_only

    @property
    def state_size(self) -> int:
        slices = self.adapter.slices if self.with_state else ()
        return sum(each.size(self.episodes.columns[each.column]) for each in slices)

    @property
    def counts(self) -> np.ndarray:
        """The windows of each episode: those that lie inside it, or all that begin there."""
        reach = max(self.config.future) * self.stride if self.after_end == "drop" else 0
        return np.maximum(self.lengths - reach, 0)

    @property
    def decoded_bytes(self) -> int:
        return int(self.lengths.sum()) * self.size[0] * self.size[1] * 3

    def canonical(self, number: int) -> EpisodeArrays:
        """Return an episode with canonical actions; raises `DamagedRecord`."""
        episode = self.episodes[number]
        if len(episode) == 0:
            raise DamagedRecord(f"{episode.name} is empty.")
        instructions, length = self.adapter.instructions(episode), int(self.lengths[number])
        action = state = np.zeros((length, 0), dtype=np.float32)
        if not self.video_only:
            action = self.adapter.actions(episode)
            state = self.adapter.states(episode) if self.with_state else state
        sizes = {len(action), len(state), len(instructions)}
        if sizes != {length}:
            raise DamagedRecord(
                f"{episode.name}: its columns have {sorted(sizes)} steps where its index lists "
                f"{length}."
            )
        return EpisodeArrays(episode, action, state, instructions)

    def arrays(self, number: int) -> EpisodeArrays:
        """Return an episode as it is learned; raises `DamagedRecord`."""
        if number in self._arrays:
            self._arrays.move_to_end(number)
            return self._arrays[number]
        arrays = self._learned(self.canonical(number))
        self._arrays[number] = arrays
        while len(self._arrays) > self._kept:
            oldest, _ = self._arrays.popitem(last=False)
            if oldest in self._pictures:
                self._pictures.pop(oldest).release()
        return arrays

    def window(self, index: WindowIndex) -> Window:
        """Return the window that begins at `index`; raises `DamagedRecord`.

        After the end of the episode the last frame is repeated and marked as not valid; actions are
        zero and not valid, or those of a robot that rests.
        """
        arrays = self.arrays(index.episode)
        length, rows = len(arrays.instructions), len(arrays.action)
        frames, actions = index.step + self._frames, index.step + self._actions
        steps = np.minimum(frames, length - 1).tolist()
        first = [0] if self.config.start else []
        past = np.maximum(index.step - self._past, 0).tolist()
        pictures = self._at(index.episode, arrays.episode, [*first, *past, *steps])
        action, valid = arrays.action[np.minimum(actions, rows - 1)], actions < length
        if rows > length:
            valid = np.ones_like(valid)
        elif not valid.all():
            action = np.where(valid[:, None], action, np.float32(0))
        if arrays.departs is not None:
            left = arrays.departs[np.minimum(actions, length - 1)]
            valid = valid & (np.cumsum(left) - left == 0)
        return Window(
            pictures=[pictures[step] for step in steps],
            future_valid=(frames < length)[1:],
            action=action,
            action_valid=valid,
            state=arrays.state[index.step],
            instruction=arrays.instructions[index.step],
            start=pictures[0] if self.config.start else None,
            grip=None if arrays.grip is None else arrays.grip[index.step],
            past=[pictures[step] for step in past],
        )

    def _learned(self, arrays: EpisodeArrays) -> EpisodeArrays:
        action, state = arrays.action, arrays.state
        grip = last_grips(state[:, -1]) if self.config.grip and state.shape[1] else None
        if action.shape[1] and self.action_transform is not None:
            action = self.action_transform(action)
        if action.shape[1] and self.after_end == "hold" and not self._cut_off(arrays.episode):
            rest = np.zeros_like(action[-1])
            rest[6] = action[-1, 6]
            if self.action_transform is not None:
                rest = self.action_transform.resting(action[-1])
            action = np.concatenate([action, rest[None]])
        if self.normalisation is not None:
            action, state = self.normalisation.action(action), self.normalisation.state(state)
            grip = None if grip is None else self.normalisation.grip(grip)
        state = np.pad(state, ((0, 0), (0, max(0, self.state_width - state.shape[1]))))
        departs = None
        if self.after_departure == "mask" and self.has_actions:
            departs = self.adapter.departures(arrays.episode, arrays.action, self.episodes.columns)
        return EpisodeArrays(arrays.episode, action, state, arrays.instructions, departs, grip)

    def _cut_off(self, episode: Episode) -> bool:
        """Whether an episode is known to have ended before its task was done."""
        if SUCCESS not in self.episodes.columns:
            return False
        return not np.asarray(episode.array(SUCCESS)).reshape(-1)[-1]

    def _at(self, number: int, episode: Episode, steps: list[int]) -> dict[int, np.ndarray]:
        if self.picture_file is not None:
            return self.picture_file.read(number, steps)
        kept = self._pictures.setdefault(number, KeptPictures(self._memory))
        by_step = kept.get(steps)
        missing = [step for step in dict.fromkeys(steps) if step not in by_step]
        return by_step | kept.put(missing, self._decoded(episode, missing)) if missing else by_step

    def _decoded(self, episode: Episode, steps: Sequence[int]) -> np.ndarray:
        return fitted(self.adapter.images(episode, steps), self.size, self._crop)

    def _stride(self, frame_rate: float | None) -> int:
        if frame_rate is None:
            return 1
        if self.rate is None:
            raise UserError(
                f"data.source.frame_rate={frame_rate}: the rate of {self.source} is not known; "
                "name an adapter, which says it, or leave frame_rate out."
            )
        stride = round(self.rate / frame_rate) if frame_rate > 0 else 0
        if stride < 1 or abs(self.rate / stride - frame_rate) > 0.05 * frame_rate:
            near = self.rate / max(stride, 1)
            raise UserError(
                f"data.source.frame_rate={frame_rate} does not divide the {self.rate:g} Hz of "
                f"{self.name}; the nearest that does is {near:g}."
            )
        return stride

    def __getstate__(self) -> dict[str, object]:
        """Another process reads for itself."""
        return vars(self) | {"_arrays": OrderedDict(), "_pictures": {}}
