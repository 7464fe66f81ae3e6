"""Records of episodes as a pandas table."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from envs.episode import EpisodeRecord
from experiment.errors import UserError
from experiment.extras import imported
from policies.evaluation.report import read_records
from policies.evaluation.run import RECORDS

if TYPE_CHECKING:
    from pandas import DataFrame

_NESTED = ("statistics", "options", "start", "versions")


def table_of(records: Iterable[EpisodeRecord] | str | Path) -> "DataFrame":
    """See `policies.table`."""
    pandas = imported("pandas", "a table of records")
    if isinstance(records, str | Path):
        folder = Path(records)
        found = read_records(folder / RECORDS)
        if not found:
            raise UserError(f"{folder} has no records of episodes: give the out= of policies.eval.")
        records = found
    rows = []
    for record in records:
        row = asdict(record)
        nested = {
            f"{name}.{key}": value for name in _NESTED for key, value in row.pop(name).items()
        }
        rows.append(row | nested)
    return pandas.DataFrame(rows)
