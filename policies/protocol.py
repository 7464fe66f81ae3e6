"""Which episodes an evaluation runs: lists by name, the same on every machine.

`python -m policies.protocol task=open_and_place episodes=6` prints the list.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from envs.configuration import from_command_line, plain, typed
from envs.errors import UserError, exit_on_user_error
from envs.rollout import DEMONSTRATIONS, Episode, episode_seed

V = TypeVar("V")

USAGE = """
List the episodes of an evaluation.

    python -m policies.protocol task=open_and_place protocol=default episodes=6
"""


@dataclass(frozen=True)
class Protocol:
    """A rule from an index to an episode.

    Robot poses take turns; so do the object positions (m), each with every pose once before the
    next one comes. Without positions an episode's seed draws its own. The seed of an episode
    follows from (task, protocol, index) and `seed`, 0 unless another set of episodes is wanted;
    the highest bit of a seed tells demonstrations from evaluations, so the two never meet.
    """

    name: str = "default"
    robot_poses: list[str] = field(default_factory=list)
    object_positions: list[list[float]] = field(default_factory=list)


def episodes(protocol: Protocol, task: str, count: int, seed: int = 0) -> list[Episode]:
    """Return the first `count` episodes; a longer list begins with every shorter one.

    Raises `UserError` for a count below one and for the name kept for demonstrations.
    """
    if count < 1:
        raise UserError(f"episodes={count}: an evaluation needs at least one episode.")
    if protocol.name == DEMONSTRATIONS:
        raise UserError(
            f"protocol.name={DEMONSTRATIONS} is kept for demonstrations: choose another name."
        )
    positions = [(float(x), float(y)) for x, y in protocol.object_positions]
    return [
        Episode(
            task=task,
            index=index,
            seed=episode_seed(task, protocol.name, index, seed),
            robot_pose=_turn(protocol.robot_poses, index),
            object_xy=_turn(positions, index // max(1, len(protocol.robot_poses))),
        )
        for index in range(count)
    ]


def listing(chosen: Sequence[Episode]) -> Table:
    """Return the episodes as a table to print."""
    table = Table("index", "seed", "robot pose", "object x, y (m)")
    for episode in chosen:
        xy = episode.object_xy
        table.add_row(
            str(episode.index),
            str(episode.seed),
            episode.robot_pose or "from the seed",
            "from the seed" if xy is None else f"{xy[0]:.3f}, {xy[1]:.3f}",
        )
    return table


def _turn(values: Sequence[V], index: int) -> V | None:
    return values[index % len(values)] if values else None


@exit_on_user_error
def main() -> None:
    """Print the episodes that the same settings would evaluate."""
    config = from_command_line("eval", USAGE)
    protocol = typed(Protocol, plain(config.protocol))
    chosen = episodes(protocol, config.task.name, config.episodes, config.seed)
    Console().print(listing(chosen))


if __name__ == "__main__":
    main()
