"""An evaluation in a folder of its own: worker processes, a record and a video each episode."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from envs.episode import Episode, EpisodeRecord
from envs.workers import Workers, grouped
from experiment.errors import UserError
from experiment.files import append_line, write_bytes
from experiment.run_folder import versions
from experiment.settings import Description, flattened, plain
from policies.evaluation import report
from policies.evaluation.contact_sheet import write_contact_sheet
from policies.evaluation.published import Reference

RECORDS = "episodes.jsonl"

# What may differ when a run goes on: it changes neither an episode nor which ones are run.
_FREE = ("out", "workers", "time_limit")


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated: episodes of one or several tasks, environment and policy as descriptions.

    A description with `task: None` or `variant: None` gets each episode's own. `protocol` names
    the list, for the form of the table.
    """

    episodes: list[Episode]
    env: Description
    policy: Description
    reference: Reference | None = None
    videos: bool = True
    workers: int = 1
    time_limit: float | None = None
    protocol: str = "default"


def evaluate(evaluation: Evaluation, out: Path) -> list[EpisodeRecord]:
    """Run the episodes that `out` has no record of yet; return the records of all of them.

    Writes `episodes.jsonl` line by line, `videos/`, then `summary.json` and `contact_sheet.png`.
    """
    log, videos = out / RECORDS, out / "videos"
    wanted = {(episode.task, episode.index): episode for episode in evaluation.episodes}
    done = {(record.task, record.index) for record in report.read_records(log)}
    left = grouped([episode for key, episode in wanted.items() if key not in done])
    recorders = []
    if evaluation.videos:
        recorders.append({"_target_": "envs.recorder.VideoRecorder", "folder": str(videos)})
    count = min(evaluation.workers, max(1, len(left)))
    tasks = {episode.task for episode in left}
    label = tasks.pop() if len(tasks) == 1 else f"{len(tasks)} tasks"
    with Workers(
        evaluation.env,
        evaluation.policy,
        recorders,
        count=count,
        time_limit=evaluation.time_limit,
    ) as workers:
        for record in workers.run(left, progress=label if left else None):
            append_line(log, record.to_json())

    records = [r for r in report.read_records(log) if (r.task, r.index) in wanted]
    report.write_summary(out / "summary.json", records, evaluation.protocol, evaluation.reference)
    if evaluation.videos:
        write_contact_sheet(out / "contact_sheet.png", records, videos)
    return records


def claim_folder(out: Path, settings: Mapping[str, Any]) -> None:
    """Make `out` the folder of a run with these settings, or check that it already is.

    A folder without any record yet is free for other settings. Writes them to `config.yaml`, and
    the command, git revision and versions to `run.json`.
    Raises `UserError` naming the first setting that differs, or when the folder holds other things.
    """
    path = out / "config.yaml"
    if not path.exists() and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out={out} holds other things than an evaluation: name a new folder.")
    if not report.read_records(out / RECORDS):
        write_bytes(path, OmegaConf.to_yaml(OmegaConf.create(dict(settings))).encode())
        start = {"command": sys.argv, "versions": versions()}
        write_bytes(out / "run.json", json.dumps(start, indent=2).encode() + b"\n")
        return
    before = flattened(plain(_read(path)))
    now = flattened(settings)
    for key in sorted({*before, *now} - set(_FREE)):
        if before.get(key) != now.get(key):
            raise UserError(
                f"out={out} holds a run with {key}={before.get(key)}, not {now.get(key)}: "
                "name a new folder, or give that setting again to go on with the run."
            )


def _read(path: Path) -> DictConfig:
    try:
        config = OmegaConf.load(path)
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} is not readable ({error}): name a new folder.") from error
    if not isinstance(config, DictConfig):
        raise UserError(f"{path} holds no settings: name a new folder.")
    return config
