"""Entry point: evaluate a policy in one task, or in the tasks of a protocol.

    python -m policies.eval task=open_and_place                      the shipped checkpoint
    python -m policies.eval policy=oracle|random|regression|my_module.MyPolicy
    python -m policies.eval checkpoint=runs/finetune/... episodes=60 seed=1 workers=2 out=FOLDER
    python -m policies.eval protocol=visual_matching policy=... [task=open_drawer] [episodes=100]
    python -m policies.eval protocol=variant_aggregation --list      print the episodes, run nothing

Protocols: default, grid, scattered (one task), visual_matching, variant_aggregation,
self_flow_paper (lists).
Started again with the same out=, it resumes.
"""

import time
from dataclasses import asdict

from omegaconf import DictConfig
from rich.console import Console

from envs.episode import EpisodeRecord
from experiment.command import command
from experiment.run_folder import open_run
from experiment.settings import plain
from policies.evaluation import report
from policies.evaluation.protocol import listing
from policies.evaluation.run import BESIDE, RECORDS, evaluate
from policies.evaluation.settings import EvalSettings

# What may differ when a run is resumed: it changes neither an episode nor which ones are run.
_FREE = ("out", "workers", "time_limit", "list")


@command("eval", __doc__, flags=("list",))
def main(config: DictConfig) -> list[EpisodeRecord]:
    settings = EvalSettings.of(plain(config))
    if settings.list:
        print(*listing(settings.protocol.name, settings.chosen()), sep="\n")
        return []
    settings = settings.completed()
    evaluation = settings.evaluation()
    out = open_run("evaluation", asdict(settings), _FREE, results=(RECORDS,))
    ran = {(record.task, record.index) for record in report.read_records(out / RECORDS)}
    started = time.perf_counter()
    records = evaluate(evaluation, out)
    console = Console()
    console.print(report.table(records, evaluation.protocol, evaluation.reference))
    console.print(*report.notes(records, evaluation.reference), sep="\n", highlight=False)
    if settings.beside_expert:
        # Loads matplotlib, which no other evaluation needs.
        from policies.evaluation.beside_expert import write_picture

        console.print(*write_picture(out / BESIDE, records), sep="\n", highlight=False)
    many = "episode" if len(records) == 1 else "episodes"
    console.print(f"{len(records)} {many}, {time.perf_counter() - started:.0f} s: {out}")
    if ran >= {(record.task, record.index) for record in records}:
        console.print(
            "All episodes were there already and none was run; a changed policy needs another out=."
        )
    return records


run = main.run


if __name__ == "__main__":
    main()
