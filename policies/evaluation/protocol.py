"""Which episodes an evaluation runs: lists by name, the same on every machine.

`python -m policies.eval protocol=NAME --list` prints a list.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np

from envs.episode import DEMONSTRATIONS, VISUAL_MATCHING, Episode, episode_seed
from experiment.errors import UserError, nearest
from policies.evaluation.published import GRID_POSITIONS, GROUPS, LISTS, Entry, Reference

V = TypeVar("V")

ALL = "all"
"""The task that stands for all tasks of a list."""

GRID, SCATTERED = "grid", "scattered"


@dataclass  # not frozen: OmegaConf could not fill it inside of another
class Protocol:
    """Episodes by a name: one of `published.LISTS`, or a rule from an index to an episode.

    The rule: robot poses take turns; so do the object positions (m; without any, the protocol grid
    has those of `published.GRID_POSITIONS`) and the layouts (their number), each with every pose
    once before the next one comes. Otherwise an episode's seed draws its own. `variant` is the
    scene's. The protocol scattered puts what has fixed places anywhere between these
    (`envs.simpler.tasks.scattered`). `episodes`: how many are run by default, None for all of a
    list. `reference`: published figures of the same list.
    """

    name: str = "default"
    robot_poses: list[str] = field(default_factory=list)
    object_positions: list[list[float]] = field(default_factory=list)
    layouts: int = 0
    variant: str = VISUAL_MATCHING
    episodes: int | None = None
    reference: Reference | None = None


def episodes(
    protocol: Protocol, task: str, count: int | None = None, seed: int = 0
) -> list[Episode]:
    """Return `count` episodes of a protocol for `task`, a group of tasks, or all of a list.

    The seed of an episode follows from (task, protocol, index) and `seed`, 0 unless another set of
    episodes is wanted; the highest bit of a seed tells demonstrations from evaluations, so the two
    never meet. By a rule, the first `count` are returned; of a list, a fair sample (`sampled`) in
    the list's order. Either way a longer selection holds every shorter one.

    Raises `UserError` for a count that is below one, missing or more than there are, for a task
    that the protocol does not have, and for the name kept for demonstrations.
    """
    if count is not None and count < 1:
        raise UserError(f"episodes={count}: an evaluation needs at least one episode.")
    if protocol.name in LISTS:
        listed = numbered(protocol.name, LISTS[protocol.name](), seed)
        return sampled(restricted(listed, protocol.name, task), protocol.name, count)
    if protocol.name == DEMONSTRATIONS:
        raise UserError(
            f"protocol.name={DEMONSTRATIONS} is kept for demonstrations: choose another name."
        )
    if task == ALL:
        raise UserError(
            f"protocol {protocol.name} is for one task: give task=NAME, or a protocol that lists "
            f"tasks, such as {', '.join(LISTS)}."
        )
    positions = [(float(x), float(y)) for x, y in protocol.object_positions]
    if protocol.name == GRID and not positions:
        positions = [(round(x, 5), round(y, 5)) for x, y in GRID_POSITIONS.get(task, ())]
    if protocol.name == GRID and not (protocol.robot_poses or positions or protocol.layouts):
        raise UserError(
            f"protocol grid and task {task} do not fit: the task has no grid of positions, "
            "poses or layouts; use protocol=default."
        )
    if count is None:
        raise UserError(f"protocol {protocol.name} has no end: give episodes= a number.")
    if protocol.name == SCATTERED:
        return _scattered(protocol, task, count, seed)
    return [
        Episode(
            task=task,
            index=index,
            seed=episode_seed(task, protocol.name, index, seed),
            robot_pose=_turn(protocol.robot_poses, index),
            object_xy=_turn(positions, index // max(1, len(protocol.robot_poses))),
            layout=_turn(range(protocol.layouts), index),
            variant=protocol.variant,
        )
        for index in range(count)
    ]


def _scattered(protocol: Protocol, task: str, count: int, seed: int) -> list[Episode]:
    # Only here: all else about episodes is known without the tasks.
    from envs.simpler.tasks.registry import TASKS
    from envs.simpler.tasks.scattered import scattered

    if task not in TASKS:
        raise UserError(
            f"protocol {SCATTERED} and task {task} do not fit: it knows SIMPLER's tasks only."
            f"{nearest(task, TASKS)}"
        )
    seeds = [episode_seed(task, protocol.name, index, seed) for index in range(count)]
    return [
        Episode(
            task=task,
            index=index,
            seed=drawn,
            variant=protocol.variant,
            **scattered(TASKS[task], np.random.default_rng(drawn)),
        )
        for index, drawn in enumerate(seeds)
    ]


def listing(protocol: str, episodes: Sequence[Episode]) -> Iterator[str]:
    """Yield a line an episode: task, index, seed, variant, options; then the totals."""
    tasks = max([len(episode.task) for episode in episodes] + [len("task")])
    variants = max([len(episode.variant) for episode in episodes] + [len("variant")])
    yield f"{'task':{tasks}}  index        seed  {'variant':{variants}}  options"
    for episode in episodes:
        options = "  ".join(f"{k}={_text(v)}" for k, v in episode.reset_options().items())
        yield (
            f"{episode.task:{tasks}}  {episode.index:5d}  {episode.seed:10d}  "
            f"{episode.variant:{variants}}  {options or 'from the seed'}"
        )
    yield ""
    for task, count in Counter(episode.task for episode in episodes).items():
        yield f"{task:{tasks}}  {count:5d}"
    yield f"{'in all':{tasks}}  {len(episodes):5d} episodes of protocol {protocol}"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_text, value)) + ")"
    if isinstance(value, float):
        # Rounding of the grids' last bits only; 0 without a sign.
        return f"{value:.5g}"
    return str(value) if value != "" else "unchanged"


def numbered(protocol: str, entries: Iterable[Entry], seed: int) -> list[Episode]:
    """Return the episodes of a list; an index counts within its task, so no choice changes it."""
    counts: Counter[str] = Counter()
    episodes = []
    for task, variant, options in entries:
        index, counts[task] = counts[task], counts[task] + 1
        drawn = episode_seed(task, protocol, index, seed)
        episodes.append(Episode(task=task, index=index, seed=drawn, variant=variant, **options))
    return episodes


def restricted(listed: Sequence[Episode], protocol: str, task: str) -> list[Episode]:
    """Return the episodes of a task or of the tasks that a group name stands for.

    Raises `UserError` when there are none.
    """
    if task == ALL:
        return list(listed)
    names = (task, *GROUPS.get(task, ()))
    chosen = [episode for episode in listed if episode.task in names]
    if not chosen:
        known = ", ".join(dict.fromkeys(episode.task for episode in listed))
        raise UserError(
            f"protocol {protocol} has no episodes of task {task}: it has {known}; "
            "leave task= out for all of them."
        )
    return chosen


def sampled(listed: Sequence[Episode], protocol: str, count: int | None) -> list[Episode]:
    """Return `count` of the episodes, in their order; all for None.

    Tasks take turns, within a task its variants do, and within these the episode with the lowest
    seed comes first: seeds are hashes, so the sample is spread evenly over the list.
    Raises `UserError` when there are fewer.
    """
    if count is None:
        return list(listed)
    if count > len(listed):
        raise UserError(
            f"episodes={count}: protocol {protocol} has {len(listed)} here; give no more, or null "
            "for all."
        )
    tasks: dict[str, dict[str, list[Episode]]] = {}
    for episode in listed:
        tasks.setdefault(episode.task, {}).setdefault(episode.variant, []).append(episode)
    by_task = [
        _take_turns([sorted(group, key=attrgetter("seed")) for group in variants.values()])
        for variants in tasks.values()
    ]
    chosen = set(_take_turns(by_task)[:count])
    return [episode for episode in listed if episode in chosen]


def _take_turns(rows: Sequence[Sequence[Episode]]) -> list[Episode]:
    return [one for turn in zip_longest(*rows) for one in turn if one is not None]


def _turn(values: Sequence[V], index: int) -> V | None:
    return values[index % len(values)] if values else None
