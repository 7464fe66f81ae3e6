"""Entry point: compare evaluations of the same episodes.

    python -m policies.compare runs/eval/A runs/eval/B [runs/eval/C ...] [out=FOLDER]

Prints each run's success and its paired difference to the first one, and writes `compare.html`
with the episodes in which they differ side by side.
"""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from experiment.command import command
from experiment.run_folder import open_run
from policies.evaluation.comparison import Row, Run, opened, rows, write_comparison

PAGE = "compare.html"


def _runs_first(settings: Sequence[str]) -> list[str]:
    """Take arguments without `=` as the runs."""
    folders = [each for each in settings if "=" not in each and not each.startswith("-")]
    given = [each for each in settings if each not in folders]
    return [f"runs=[{','.join(folders)}]", *given] if folders else given


@command("compare", __doc__, completed=_runs_first)
def main(config: DictConfig) -> list[Row]:
    runs = opened([str(folder) for folder in config.runs])
    found = rows(runs)
    out: Path = open_run("compare", config, results=(PAGE,))
    write_comparison(out / PAGE, runs)
    Console().print(_table(runs, found))
    Console().print(f"{out / PAGE}", highlight=False)
    return found


run = main.run


def _table(runs: Sequence[Run], found: Sequence[Row]) -> Table:
    table = Table("per cent", "n", runs[0].name)
    for each in runs[1:]:
        table.add_column(each.name)
        table.add_column("difference")
        table.add_column("agreement")
    for row in found:
        cells = [row.label, str(row.episodes), str(row.rates[0])]
        for rate, paired in zip(row.rates[1:], row.differences, strict=True):
            cells += [str(rate), str(paired), f"{100 * paired.agreement:.0f} %"]
        table.add_row(*cells)
    return table


if __name__ == "__main__":
    main()
