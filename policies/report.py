"""Records of episodes to what people read: a table with intervals, a summary, a contact sheet."""

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from envs.durable import drop_torn_line, write_bytes
from envs.errors import UserError
from envs.rollout import EpisodeRecord

_Z95 = 1.959963984540054

MEASURES: dict[str, Callable[[EpisodeRecord], bool]] = {
    "success_at_end": lambda record: record.success_at_end,
    "success_ever": lambda record: record.success_ever,
    "success_strict": lambda record: record.success_strict,
}


@dataclass(frozen=True)
class Reference:
    """A published figure to stand beside ours, and what is different about it."""

    rate: float
    episodes: int
    source: str
    conditions: str


def wilson_interval(successes: int, total: int, z: float = _Z95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion (Wilson 1927); `(0, 1)` of no trials."""
    if not 0 <= successes <= total:
        raise ValueError(f"{successes} successes of {total} trials")
    if total == 0:
        return 0.0, 1.0
    share, slack = successes / total, z * z / total
    centre = (share + slack / 2) / (1 + slack)
    spread = math.sqrt(share * (1 - share) * slack + slack * slack / 4) / (1 + slack)
    # At the ends the bound is exactly 0 or 1, which rounding would miss.
    low = 0.0 if successes == 0 else centre - spread
    high = 1.0 if successes == total else centre + spread
    return low, high


def rate(successes: int, total: int) -> dict[str, float]:
    """Return a success rate with its Wilson 95 % interval, ready for JSON."""
    low, high = wilson_interval(successes, total)
    return {
        "successes": successes,
        "total": total,
        "rate": successes / total,
        "low": round(low, 4),
        "high": round(high, 4),
    }


def read_records(path: Path) -> list[EpisodeRecord]:
    """Return the records of `episodes.jsonl` by index, each episode once.

    A last line that a kill cut short is dropped from the file.
    Raises `UserError` naming the line that is no record.
    """
    if not path.exists():
        return []
    drop_torn_line(path)
    records: dict[tuple[str, int], EpisodeRecord] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            record = EpisodeRecord.from_json(line)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}, line {number} is no episode record ({error!r}): remove that line."
            ) from error
        records.setdefault((record.task, record.index), record)
    return sorted(records.values(), key=lambda record: (record.task, record.index))


def summary(records: Sequence[EpisodeRecord], reference: Reference | None) -> dict[str, Any]:
    """Return what `summary.json` holds: rates by task and robot pose, times, versions."""
    calls = sum(record.calls for record in records)
    return {
        "episodes": len(records),
        "policy": sorted({record.policy for record in records}),
        "rates": {
            task: {
                "all": _rates(group),
                "robot_pose": {p: _rates(g) for p, g in _by(group, "robot_pose").items()},
            }
            for task, group in _by(records, "task").items()
        },
        "interval": "Wilson, 95 %",
        "reference": None if reference is None else asdict(reference),
        "mean_steps": statistics.fmean(record.steps for record in records),
        "seconds_per_episode": statistics.fmean(record.seconds for record in records),
        "policy_ms_per_call": 1e3 * sum(record.policy_seconds for record in records) / calls,
        "versions": [dict(v) for v in {tuple(sorted(r.versions.items())) for r in records}],
    }


def table(records: Sequence[EpisodeRecord], reference: Reference | None) -> Table:
    """Return the rates per task and robot pose as a table to print, the reference below."""
    notes = [
        "at end: SIMPLER's rule at the last step; ever: at any step;",
        "strict: drawer opened, object released and at rest inside; [Wilson 95 % interval]",
    ]
    grid = Table("", "n", "at end", "ever", "strict", caption_justify="left")
    for task, group in _by(records, "task").items():
        rows = {task: group}
        rows |= {f"  {pose}": members for pose, members in _by(group, "robot_pose").items()}
        for name, members in rows.items():
            rates = [_interval(rate) for rate in _rates(members).values()]
            grid.add_row(name, str(len(members)), *rates)
    if reference is not None:
        grid.add_section()
        grid.add_row("paper", str(reference.episodes), f"{reference.rate:.0%}")
        notes.append(f"paper: {reference.source}; {reference.conditions}")
    grid.caption = "\n".join(notes)
    return grid


def write_summary(
    path: Path, records: Sequence[EpisodeRecord], reference: Reference | None
) -> None:
    """Write `summary(...)` as JSON in one stroke."""
    write_bytes(path, (json.dumps(summary(records, reference), indent=2) + "\n").encode())


def _by(records: Sequence[EpisodeRecord], field: str) -> dict[str, list[EpisodeRecord]]:
    groups: dict[str, list[EpisodeRecord]] = {}
    for record in sorted(records, key=lambda record: str(getattr(record, field))):
        groups.setdefault(str(getattr(record, field)), []).append(record)
    return groups


def _rates(records: Sequence[EpisodeRecord]) -> dict[str, dict[str, float]]:
    return {
        name: rate(sum(map(measure, records)), len(records)) for name, measure in MEASURES.items()
    }


def _interval(rate: Mapping[str, float]) -> str:
    return f"{rate['rate']:.0%} [{rate['low']:.0%}, {rate['high']:.0%}]"
