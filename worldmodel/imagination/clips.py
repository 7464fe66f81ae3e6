"""What really happened: clips of demonstrations, and of the branches that leave them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from experiment.errors import UserError
from worldmodel.data.dataset import DataSet
from worldmodel.data.formats.lerobot import LeRobotEpisodes
from worldmodel.data.gripper import LearnedGripper, codec_of
from worldmodel.data.order import WindowIndex
from worldmodel.data.reader import DataConfig
from worldmodel.data.source import DataSource
from worldmodel.data.windows import WindowBatch, stack
from worldmodel.imagination.dream import Dreamer

DEMONSTRATION = "demonstration"


@dataclass(frozen=True)
class Facts:
    """Of an episode: the demonstration `of` which it is a branch, at which step, with what."""

    of: int
    actions: str
    step: int


@dataclass(frozen=True)
class Family:
    """Clips that begin in the same state and go on with other actions, the kinds by name."""

    clips: WindowBatch
    actions: tuple[str, ...]
    episode: int
    step: int


class Clips:
    """A data set as clips of `horizon` steps, in robot units, the gripper as the model learned it.

    `frames` are the steps after the first at which pictures are read.
    """

    def __init__(
        self, source: DataSource, dreamer: Dreamer, frames: Sequence[int], actions: int
    ) -> None:
        """Open the only data set of `source`; raises `UserError` where it does not fit the model.

        Args: `actions` are read in each clip, 0 for none.
        """
        if len(source.chosen()) != 1:
            raise UserError("dreams are compared with one data set: set data.source.only to it.")
        read = dreamer.assembler.windows
        windows = replace(read, future=tuple(frames), chunk=max(actions, max(frames)))
        use = DataConfig(windows=windows, augmentation=None)
        size = dreamer.assembler.tokenizer.picture
        (self.data,) = source.open(use, size, video_only=not actions)
        if actions:
            self._check_actions(dreamer)
        lacking = dreamer.with_state and self.data.state_size != _state_size(dreamer)
        self.data.with_state = actions > 0 and dreamer.with_state and not lacking
        self.needed = max(max(frames), actions)
        self.facts = facts_of(self.data)

    def _check_actions(self, dreamer: Dreamer) -> None:
        data = self.data
        if not data.has_actions:
            raise UserError(
                f"{data.source}: no adapter says what its actions mean, so dreams cannot be given "
                "them: name one with adapter=NAME (see configs/adapter), or set actions=false."
            )
        assert dreamer.gripper is not None
        robot, name = dreamer.gripper
        if data.adapter.robot != robot:
            raise UserError(
                f"{data.source} is of robot {data.adapter.robot}, the checkpoint of {robot}: give "
                "data of the same robot, or set actions=false."
            )
        data.learn(LearnedGripper(codec_of(robot, name)), None)

    def demonstrations(self) -> list[int]:
        return [n for n, facts in enumerate(self.facts) if facts.actions == DEMONSTRATION]

    def spread(self, count: int) -> tuple[WindowBatch, np.ndarray]:
        """Return up to `count` clips of demonstrations, evenly spread, and each one's episode.

        Raises `UserError` where no demonstration is long enough.
        """
        chosen = self._spread([(number, 0) for number in self.demonstrations()], count)
        if chosen is None:
            longest = int(self.data.lengths.max())
            raise UserError(
                f"{self.data.source}: its longest episode has {longest} steps, fewer than the "
                f"{self.needed + 1} of a dream: lower horizon."
            )
        return chosen

    def others(self, count: int) -> tuple[WindowBatch, np.ndarray] | None:
        """Return up to `count` clips of branches after they left their demonstration.

        With each comes the number of that demonstration; None where there is no branch.
        """
        known = enumerate(self.facts)
        return self._spread([(n, f.step) for n, f in known if f.actions != DEMONSTRATION], count)

    def _spread(
        self, episodes: Sequence[tuple[int, int]], count: int
    ) -> tuple[WindowBatch, np.ndarray] | None:
        """Return clips of the numbered episodes from a step of each on."""
        places = [
            WindowIndex(number, step)
            for number, first in episodes
            for step in range(first, int(self.data.lengths[number]) - self.needed)
        ]
        if not places:
            return None
        chosen = np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int)
        places = [places[place] for place in dict.fromkeys(chosen.tolist())]
        clips = stack([self.data.window(place) for place in places])
        return clips, np.array([self.facts[place.episode].of for place in places])

    def families(self) -> list[Family]:
        """Return each state from which several kinds of actions were tried, for long enough."""
        by_start: dict[tuple[int, int], list[int]] = {}
        for number, facts in enumerate(self.facts):
            if facts.actions != DEMONSTRATION:
                by_start.setdefault((facts.of, facts.step), []).append(number)
        whole = {self.facts[n].of: n for n in self.demonstrations()}
        families = []
        for (of, step), branches in sorted(by_start.items()):
            members = [whole[of], *branches] if of in whole else branches
            members = [n for n in members if self.data.lengths[n] > step + self.needed]
            if len(members) > 1:
                clips = stack([self.data.window(WindowIndex(n, step)) for n in members])
                kinds = tuple(self.facts[n].actions for n in members)
                families.append(Family(clips, kinds, of, step))
        return families


def facts_of(data: DataSet) -> list[Facts]:
    """Return what `envs.branch` recorded of each episode; else all are demonstrations."""
    number = len(data.lengths)
    columns: dict[str, list[Any]] | None = None
    if isinstance(data.episodes, LeRobotEpisodes):
        names = [f"source/branch_{name}" for name in ("of", "actions", "step")]
        columns = data.episodes.facts(names)
    if columns is None:
        return [Facts(n, DEMONSTRATION, 0) for n in range(number)]
    return [Facts(int(of), str(a), int(s)) for of, a, s in zip(*columns.values(), strict=True)]


def with_actions(clips: WindowBatch, order: Sequence[int]) -> WindowBatch:
    """Return the clips with the actions of others: clip i gets those of clip `order[i]`."""
    chosen = list(order)
    return replace(clips, action=clips.action[chosen], action_valid=clips.action_valid[chosen])


def _state_size(dreamer: Dreamer) -> int:
    state = dreamer.model.modalities.get("state")
    return 0 if state is None else state.channels - dreamer.assembler.windows.grip
