"""Statistics of a data set's actions and states: measured once in a stream, then cached.

The file is in the cache folder, under a name that changes with the data set and the adapter.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiment import progress
from experiment.errors import UserError
from experiment.files import write_bytes
from worldmodel.data.dataset import DataSet
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.normalisation import Normalisation

BINS, SENTENCES = 41, 1000


@dataclass(frozen=True)
class Statistics:
    """Counts, normalisation and histograms of a data set.

    `extremes[i]` are the least and the greatest value of action dimension i. `histogram[i]` counts
    it in `BINS` equal bins from `edges[i][0]` to `edges[i][1]`, which differ even for a constant.
    `lengths` are quantiles (0, 25, 50, 75, 100 %) of the steps of an episode; `sentences` are the
    `instructions`, where they are at most `SENTENCES`; `damaged` lists records that could not be
    read.
    """

    episodes: int
    steps: int
    normalisation: Normalisation
    extremes: list[list[float]]
    edges: list[list[float]]
    histogram: list[list[int]]
    lengths: list[float]
    instructions: int
    sentences: list[str]
    damaged: list[str]

    def section(self) -> dict[str, Any]:
        return asdict(self) | {"normalisation": self.normalisation.section()}

    @classmethod
    def from_section(cls, section: dict[str, Any]) -> "Statistics":
        """Read what `section` wrote; raises `TypeError` or `KeyError` for anything else."""
        normalisation = Normalisation.from_section(section["normalisation"])
        return cls(**(section | {"normalisation": normalisation}))


def measure(sets: Sequence[DataSet], skip_damaged: bool) -> Statistics:
    """Go through all episodes of `sets` once, without their pictures; shows progress.

    Raises `DamagedRecord` for the first that cannot be read, unless `skip_damaged`.
    """
    actions, states, damaged = [], [], []
    texts: set[str] = set()
    every = [(data, number) for data in sets for number in range(len(data.lengths))]
    for data, number in progress.each(every, f"measuring {sets[0].name}", "episode"):
        try:
            arrays = data.canonical(number)
        except DamagedRecord as error:
            if not skip_damaged:
                raise
            damaged.append(str(error))
            continue
        actions.append(arrays.action)
        states.append(arrays.state)
        texts.update(arrays.instructions)
    if not actions:
        source = ", ".join(data.source for data in sets)
        raise UserError(f"{source}: not one episode could be read; see {damaged[:1]}.")
    return statistics_of(actions, states, texts, damaged)


def statistics_of(
    actions: Sequence[np.ndarray],
    states: Sequence[np.ndarray],
    instructions: Collection[str],
    damaged: list[str],
) -> Statistics:
    """Return the statistics of episodes, actions `(t, a)` and states `(t, s)` of each."""
    action, state = np.concatenate(actions), np.concatenate(states)
    extremes = [[float(column.min()), float(column.max())] for column in action.T]
    edges = [_edges(*each) for each in extremes]
    pairs = zip(action.T, edges, strict=True)
    return Statistics(
        episodes=len(actions),
        steps=len(action),
        normalisation=Normalisation.of(state, action),
        extremes=extremes,
        edges=edges,
        histogram=[np.histogram(c, BINS, (low, high))[0].tolist() for c, (low, high) in pairs],
        lengths=np.quantile([len(a) for a in actions], [0, 0.25, 0.5, 0.75, 1]).tolist(),
        instructions=len(instructions),
        sentences=sorted(instructions) if len(instructions) <= SENTENCES else [],
        damaged=damaged,
    )


def _edges(low: float, high: float) -> list[float]:
    return [low, high] if high > low else [low - 0.5, high + 0.5]


def statistics(sets: Sequence[DataSet], cache: Path, skip_damaged: bool = False) -> Statistics:
    """Return the statistics of `sets` taken together from `cache`, measured if they are missing."""
    path = cache / f"statistics-{sets[0].name}-{_fingerprint(sets)}.json"
    if path.is_file():
        try:
            return Statistics.from_section(json.loads(path.read_text()))
        except (ValueError, TypeError, KeyError, UserError):
            pass  # half a file of an older version: measure again
    measured = measure(sets, skip_damaged)
    write_bytes(path, json.dumps(measured.section()).encode())
    return measured


def alike(sets: Sequence[DataSet]) -> list[list[int]]:
    """Return the numbers of the sets in groups that have one adapter, and so one unit."""
    groups: list[list[int]] = []
    for number, data in enumerate(sets):
        for group in groups:
            first = sets[group[0]]
            if (first.adapter, first.state_size) == (data.adapter, data.state_size):
                group.append(number)
                break
        else:
            groups.append([number])
    return groups


def _fingerprint(sets: Sequence[DataSet]) -> str:
    if len(sets) == 1:
        return sets[0].fingerprint
    joined = " ".join(data.fingerprint for data in sets)
    return hashlib.sha256(joined.encode()).hexdigest()[:12]
