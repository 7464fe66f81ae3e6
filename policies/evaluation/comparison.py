"""Runs on the same episodes compared: paired differences, agreement, videos side by side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envs.episode import EpisodeRecord
from experiment.errors import UserError
from experiment.files import write_bytes
from policies.evaluation.page import (
    MOST_VIDEO_BYTES,
    Card,
    Embedded,
    card,
    outcome,
)
from policies.evaluation.rates import Rate, rate_of
from policies.evaluation.report import read_records
from policies.evaluation.run import RECORDS
from policies.evaluation.tables import grouped_by
from policies.pages import environment

_Z = 1.959964
Key = tuple[str, int]


@dataclass(frozen=True)
class Run:
    """An evaluation: what it is called, its folder, and its records by task and index."""

    name: str
    folder: Path
    records: Mapping[Key, EpisodeRecord]


@dataclass(frozen=True)
class Difference:
    """Success at the end of a run less that of another, on the same episodes.

    `value`, `low`, `high`: in [-1, 1], with its 95 % interval. `only_first`, `only_second`:
    episodes in which one of them alone succeeds. `agreement`: share with the same outcome.
    """

    value: float
    low: float
    high: float
    only_first: int
    only_second: int
    agreement: float
    p: float

    def __str__(self) -> str:
        """Points: `+12 [+3, +20]`."""
        return f"{100 * self.value:+.0f} [{100 * self.low:+.0f}, {100 * self.high:+.0f}]"


@dataclass(frozen=True)
class Row:
    """A task, or all: the rate of each run, and its difference to the first one."""

    label: str
    episodes: int
    rates: Sequence[Rate]
    differences: Sequence[Difference]


@dataclass(frozen=True)
class Side:
    """An episode in the words of each run, and the runs' names."""

    title: str
    cards: Sequence[tuple[str, Card]]


def opened(folders: Sequence[str]) -> list[Run]:
    """Read two or more runs of `policies.eval`.

    Raises `UserError` for a folder without records, and for runs that share no episode, or that
    started one with other seeds or settings of the reset.
    """
    if len(folders) < 2:
        raise UserError("policies.compare needs two or more runs of policies.eval: RUN RUN ...")
    paths = [Path(name).expanduser() for name in folders]
    names = _names(paths)
    runs = []
    for name, folder in zip(names, paths, strict=True):
        records = read_records(folder / RECORDS)
        if not records:
            raise UserError(f"{folder} has no {RECORDS}: give the out= of policies.eval.")
        runs.append(Run(name, folder, {(r.task, r.index): r for r in records}))
    shared = shared_episodes(runs)
    if not shared:
        raise UserError(
            f"{' and '.join(names)} have no episode in common: compare runs of one task."
        )
    for key in shared:
        starts = {_start(run.records[key]) for run in runs}
        if len(starts) > 1:
            raise UserError(
                f"episode {key[1]} of {key[0]} is not the same in all runs (seed, variant or "
                "options of the reset): compare runs with the same seed= and protocol=."
            )
    return runs


def shared_episodes(runs: Sequence[Run]) -> list[Key]:
    """Return task and index of the episodes that all runs have."""
    return sorted(set.intersection(*(set(run.records) for run in runs)))


def rows(runs: Sequence[Run]) -> list[Row]:
    """Return a row for each task, and one for all of several."""
    shared = shared_episodes(runs)
    groups = {
        task: [(r.task, r.index) for r in group]
        for task, group in grouped_by("task", [runs[0].records[key] for key in shared]).items()
    }
    if len(groups) > 1:
        groups["all"] = shared
    return [_row(label, keys, runs) for label, keys in groups.items()]


def difference(first: Sequence[bool], second: Sequence[bool]) -> Difference:
    """Compare outcomes of the same episodes: `first` less `second`.

    The interval is Bonett and Price's adjusted one (2012), p McNemar's exact test.
    """
    from scipy.stats import binomtest  # loading it takes seconds

    total = len(first)
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    one, other = (only_first + 1) / (total + 2), (only_second + 1) / (total + 2)
    half = _Z * math.sqrt((one + other - (one - other) ** 2) / (total + 2))
    discordant = only_first + only_second
    return Difference(
        value=(only_first - only_second) / total,
        low=max(-1.0, one - other - half),
        high=min(1.0, one - other + half),
        only_first=only_first,
        only_second=only_second,
        agreement=1 - discordant / total,
        p=float(binomtest(only_first, discordant).pvalue) if discordant else 1.0,
    )


def write_comparison(path: Path, runs: Sequence[Run]) -> None:
    """Write the page: the table, then the episodes in which outcomes differ, side by side."""
    shared = shared_episodes(runs)
    videos = [Embedded(run.folder / "videos", "mp4", MOST_VIDEO_BYTES) for run in runs]

    def side(key: Key) -> Side:
        records = [run.records[key] for run in runs]
        cards = [card(record, video) for record, video in zip(records, videos, strict=True)]
        return Side(f"{key[0]} #{key[1]}", list(zip([r.name for r in runs], cards, strict=True)))

    apart = [key for key in shared if len({outcome(run.records[key]) for run in runs}) > 1]
    alike = [key for key in shared if key not in apart]
    text = (
        environment()
        .get_template("compare.html")
        .render(
            title=" against ".join(run.name for run in runs),
            names=[run.name for run in runs],
            rows=rows(runs),
            apart=[side(key) for key in apart],
            alike=[side(key) for key in alike],
            left_out=" ".join(
                dict.fromkeys(v.left_out_of_page for v in videos if v.left_out_of_page)
            ),
        )
    )
    write_bytes(path, text.encode())


def _names(folders: Sequence[Path]) -> list[str]:
    """Name runs by what their paths do not share: `a/cube`, `b/cube` are `a` and `b`."""
    parts = [folder.absolute().parts for folder in folders]
    if len(set(parts)) < len(parts):  # one run beside itself
        return [folder.name for folder in folders]
    while len({each[-1] for each in parts}) == 1:
        parts = [each[:-1] for each in parts]
    while len({each[0] for each in parts}) == 1 and min(map(len, parts)) > 1:
        parts = [each[1:] for each in parts]
    return ["/".join(each) for each in parts]


def _row(label: str, keys: Sequence[Key], runs: Sequence[Run]) -> Row:
    outcomes = [[run.records[key].success_at_end for key in keys] for run in runs]
    return Row(
        label,
        len(keys),
        [rate_of(each) for each in outcomes],
        [difference(each, outcomes[0]) for each in outcomes[1:]],
    )


def _start(record: EpisodeRecord) -> tuple[object, ...]:
    return (
        record.seed,
        record.variant,
        tuple(sorted((k, str(v)) for k, v in record.options.items())),
    )
