"""An evaluation in a folder of its own: worker processes, a record and a video each episode."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envs.episode import Episode, EpisodeRecord
from envs.workers import Workers, grouped
from experiment.errors import UserError
from experiment.files import append_line
from experiment.settings import Description
from policies.evaluation import report
from policies.evaluation.contact_sheet import write_contact_sheet
from policies.evaluation.page import write_page
from policies.evaluation.published import Reference

RECORDS, PAGE = "episodes.jsonl", "report.html"
DREAMS, BESIDE = "dreams", "beside_expert"


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated: episodes of one or several tasks, environment and policy as descriptions.

    A description with `task: None` or `variant: None` gets each episode's own. `protocol` names
    the list, for the form of the table. `recorders` watch beside that of the videos.
    """

    episodes: list[Episode]
    env: Description
    policy: Description
    reference: Reference | None = None
    videos: bool = True
    recorders: Sequence[Description] = ()
    workers: int = 1
    time_limit: float | None = None
    protocol: str = "default"


def evaluate(evaluation: Evaluation, out: Path) -> list[EpisodeRecord]:
    """Run the episodes that `out` has no record of yet; return the records of all of them.

    Writes `episodes.jsonl` line by line, `videos/`, then `summary.json`, `contact_sheet.png` and
    `report.html`.
    """
    log, videos = out / RECORDS, out / "videos"
    out.mkdir(parents=True, exist_ok=True)
    episodes = {(episode.task, episode.index): episode for episode in evaluation.episodes}
    done = {(record.task, record.index) for record in report.read_records(log)}
    episodes_left = grouped([e for key, e in episodes.items() if key not in done])
    recorders = [*evaluation.recorders]
    if evaluation.videos:
        recorders.append({"_target_": "envs.recorder.VideoRecorder", "folder": str(videos)})
    count = min(evaluation.workers, max(1, len(episodes_left)))
    tasks = {episode.task for episode in episodes_left}
    label = tasks.pop() if len(tasks) == 1 else f"{len(tasks)} tasks"
    with Workers(
        evaluation.env,
        evaluation.policy,
        recorders,
        count=count,
        time_limit=evaluation.time_limit,
    ) as workers:
        for record in workers.run(episodes_left, progress=label if episodes_left else None):
            if done and not log.exists():
                raise _deleted(out)
            append_line(log, record.to_json())
            done.add((record.task, record.index))

    records = [r for r in report.read_records(log) if (r.task, r.index) in episodes]
    if len(records) < len(episodes):
        raise _deleted(out)
    report.write_summary(out / "summary.json", records, evaluation.protocol, evaluation.reference)
    if evaluation.videos:
        write_contact_sheet(out / "contact_sheet.png", records, videos)
    config = out / "config.yaml"
    settings = config.read_text() if config.is_file() else ""
    write_page(
        out / PAGE,
        records,
        evaluation.protocol,
        evaluation.reference,
        videos,
        settings,
        out / DREAMS,
    )
    return records


def _deleted(out: Path) -> UserError:
    return UserError(
        f"out={out} was deleted or emptied while the evaluation was writing to it: delete what is "
        "left of it and start the same command again."
    )
