"""Data sets as a policy learns from them: the robot's gripper code, the units of each set."""

from collections.abc import Sequence

from experiment.errors import UserError, nearest
from policies.contract import STATE_SIZE
from worldmodel.data.dataset import DataSet
from worldmodel.data.formats.lerobot.episodes import LeRobotEpisodes
from worldmodel.data.gripper import GripperCodec, codec_of
from worldmodel.data.statistics import alike


def codecs_of(sets: Sequence[DataSet], name: str | None) -> list[GripperCodec]:
    """Return the gripper codec of each set's robot: `name`, or the robot's default for None.

    Raises `UserError` for a set without actions that a policy could learn, and for a robot without
    a codec.
    """
    for data in sets:
        if not data.has_actions:
            raise UserError(
                f"{data.source}: no adapter says what its actions mean, so no policy can learn "
                "them: name one that fits with adapter=NAME (see configs/adapter)."
            )
    codecs = []
    for data in sets:
        try:
            codecs.append(codec_of(str(data.adapter.robot), name))
        except UserError as error:
            fix = " Leave the set out with data.source.only=[...]." if len(sets) > 1 else ""
            raise UserError(f"{data.source}: {error}{fix}") from error
    return codecs


def acting_sets(sets: Sequence[DataSet], name: str | None) -> list[int]:
    """Return the numbers of the sets in whose units the policy acts: those of the name `name`.

    None stands for the only ones there are: sets with one adapter have their units in common.
    Raises `UserError` where it is not clear.
    """
    groups = alike(sets)
    names = [sets[group[0]].name for group in groups]
    if name is None and len(groups) == 1:
        return groups[0]
    if name is None:
        raise UserError(
            "a policy acts in the units of one set: set data.statistics_of to that of the robot "
            f"that will be evaluated, one of {', '.join(names)}."
        )
    if name not in names:
        raise UserError(f"data.statistics_of: unknown set {name!r}.{nearest(name, names)}")
    return groups[names.index(name)]


_DIFFERENT = 0.7  # with a smaller share of different starts somebody may have overlooked it


def starts_told(sets: Sequence[DataSet]) -> str | None:
    """Say from how many different starts the episodes begin, as `envs.collect` recorded them.

    None where a set does not say. Sets that were collected with the same seed have them in common.
    """
    found: set[tuple[str, int]] = set()
    count = 0
    for data in sets:
        facts = None
        if isinstance(data.episodes, LeRobotEpisodes):
            facts = data.episodes.facts(["source/task", "source/seed"])
        if facts is None:
            return None
        found |= set(zip(*facts.values(), strict=True))
        count += len(facts["source/seed"])
    fewer = len(found) < _DIFFERENT * count
    advice = ": collect some with another seed= of envs.collect." if fewer else "."
    return f"{count} episodes begin from {len(found)} different starts{advice}"


def state_fits(sets: Sequence[DataSet]) -> bool:
    """Return whether all sets record the state that SIMPLER observes."""
    return all(data.state_size == STATE_SIZE for data in sets)
