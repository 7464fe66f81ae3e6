"""From records of episodes to a table with intervals and a summary."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from envs.episode import EpisodeRecord
from experiment.errors import UserError
from experiment.files import drop_torn_line, write_bytes
from policies.evaluation.published import CAMERAS, LISTS, Reference
from policies.evaluation.tables import (
    GRASPED,
    MEASURES,
    Line,
    grouped_by,
    measured,
    published_lines,
    task_lines,
)


def read_records(path: Path) -> list[EpisodeRecord]:
    """Return the records of `episodes.jsonl` by index, each episode once.

    A last line that a kill cut short is dropped from the file.
    Raises `UserError` naming a line that is not a record.
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
                f"{path}, line {number} is not an episode record ({error!r}): remove that line."
            ) from error
        records.setdefault((record.task, record.index), record)
    return sorted(records.values(), key=lambda record: (record.task, record.index))


def lines(records: Sequence[EpisodeRecord], protocol: str) -> list[Line]:
    """Return the lines of the table: in the published form for a protocol that is a list."""
    return published_lines(records) if protocol in LISTS else task_lines(records)


def summary(
    records: Sequence[EpisodeRecord], protocol: str, reference: Reference | None
) -> dict[str, Any]:
    """Return the content of `summary.json`: the table, rates by task and variant, versions."""
    calls = sum(record.calls for record in records)
    return {
        "protocol": protocol,
        "episodes": len(records),
        "policy": sorted({record.policy for record in records}),
        "assets": sorted({record.assets for record in records}),
        "wording": _wordings(records),
        "stand_ins": sorted({name for record in records for name in record.stand_ins}),
        "table": [line.plain() for line in lines(records, protocol)],
        "rates": {
            task: {
                "all": _rates(group),
                "robot_pose": {p: _rates(g) for p, g in grouped_by("robot_pose", group).items()},
                "variant": {v: _rates(g) for v, g in grouped_by("variant", group).items()},
            }
            for task, group in grouped_by("task", records).items()
        },
        "interval": "95 %: Wilson; of a mean over unequal numbers of episodes MOVER",
        "reference": None if reference is None else asdict(reference),
        "mean_steps": statistics.fmean(record.steps for record in records),
        "seconds_per_episode": statistics.fmean(record.seconds for record in records),
        "policy_ms_per_call": 1e3 * sum(record.policy_seconds for record in records) / calls,
        "versions": [dict(v) for v in {tuple(sorted(r.versions.items())) for r in records}],
    }


def table(records: Sequence[EpisodeRecord], protocol: str, reference: Reference | None) -> Table:
    """Return the rates as a table to print, published ones in a column of their own."""
    # A name is folded rather than cut where the terminal is narrow.
    grid = Table(Column("per cent", overflow="fold"), "n", "at end", "ever", "strict")
    if reference is not None:
        grid.add_column("paper")
    for line in lines(records, protocol):
        if line.section:
            grid.add_section()
        cells = [str(line.rates.get(measure, "")) for measure in MEASURES]
        if GRASPED in line.rates:
            # Counted at any step, in the published tables too.
            cells[1] = str(line.rates[GRASPED])
        if reference is not None:
            published = reference.rates.get(line.name)
            cells.append("" if published is None else f"{100 * published:.0f}")
        grid.add_row(line.label, str(line.total), *cells)
    return grid


def notes(records: Sequence[EpisodeRecord], reference: Reference | None) -> list[str]:
    """Return what readers of the table must know, a line each."""
    lines = [
        "at end: the task's rule (SIMPLER's for its tasks) at the last step; ever: at any step.",
        "strict, at any step: what is placed is released and rests, a can is 2 cm up in the grasp.",
        "95 % intervals: Wilson; of a mean over unequal numbers of episodes: MOVER.",
        _shapes(records),
    ]
    if wordings := _wordings(records):
        lines.append(f"instructions in other words: {', '.join(wordings)}.")
    if any(record.variant in CAMERAS for record in records):
        lines.append("other cameras: in no average, as in the published figures.")
    if reference is not None:
        lines.append(f"paper: {reference.source}; {reference.conditions}")
    return lines


def write_summary(
    path: Path, records: Sequence[EpisodeRecord], protocol: str, reference: Reference | None
) -> None:
    text = json.dumps(summary(records, protocol, reference), indent=2) + "\n"
    write_bytes(path, text.encode())


def _wordings(records: Sequence[EpisodeRecord]) -> list[str]:
    return sorted({record.wording for record in records if record.wording})


def _shapes(records: Sequence[EpisodeRecord]) -> str:
    packs = ", ".join(sorted({record.assets or "unknown" for record in records}))
    missing = {name for record in records for name in record.stand_ins}
    text = f"assets: {packs}"
    if "primitives" in packs:
        text += " (plain shapes, no photographs: not to be compared with published figures)"
    return text + (f"; {len(missing)} files replaced by plain shapes" if missing else "") + "."


def _rates(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    return {name: rate.plain() for name, rate in measured(records).items()}
