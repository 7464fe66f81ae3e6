"""Evaluate a policy in a task: episodes in worker processes, a record and a video each."""

import dataclasses
import datetime
import hashlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from envs.configuration import flattened, from_command_line, plain, typed
from envs.durable import append_line, write_bytes
from envs.errors import UserError, exit_on_user_error
from envs.rollout import Episode, EpisodeRecord
from envs.workers import Description, Workers, available_cores
from policies import report
from policies.checkpoint import checkpoint_folder
from policies.contact_sheet import write_contact_sheet
from policies.protocol import Protocol, episodes
from worldmodel.checkpoint import WEIGHTS
from worldmodel.run_folder import versions

USAGE = """
Evaluate a policy in a task.

    python -m policies.eval task=open_and_place                      the shipped checkpoint
    python -m policies.eval policy=oracle|random|regression|my_module.MyPolicy
    python -m policies.eval checkpoint=runs/finetune/... episodes=60 seed=1 workers=2 out=FOLDER

Started again with the same out=, it goes on where it was.
"""


@dataclass(frozen=True)
class Scalars:
    """The plain settings of `configs/eval.yaml`, to check their types."""

    episodes: int
    seed: int
    workers: int
    videos: bool


RECORDS = "episodes.jsonl"

# What may differ when a run goes on: it changes neither an episode nor which ones are run.
_FREE = ("out", "workers")


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated: episodes, the environment and the policy as plain descriptions."""

    episodes: list[Episode]
    env: Description
    policy: Description
    reference: report.Reference | None = None
    videos: bool = True
    workers: int = 1


def evaluate(evaluation: Evaluation, out: Path) -> list[EpisodeRecord]:
    """Run the episodes that `out` has no record of yet; return the records of all of them.

    Writes `episodes.jsonl` line by line, `videos/`, then `summary.json` and `contact_sheet.png`.
    """
    log, videos = out / RECORDS, out / "videos"
    wanted = {(episode.task, episode.index): episode for episode in evaluation.episodes}
    done = {(record.task, record.index) for record in report.read_records(log)}
    left = [episode for key, episode in wanted.items() if key not in done]
    recorders = []
    if evaluation.videos:
        recorders.append({"_target_": "envs.recorder.VideoRecorder", "folder": str(videos)})
    count = min(evaluation.workers, max(1, len(left)))
    with Workers(evaluation.env, evaluation.policy, recorders, count=count) as workers:
        for record in workers.run(left, progress=evaluation.episodes[0].task if left else None):
            append_line(log, record.to_json())

    records = [r for r in report.read_records(log) if (r.task, r.index) in wanted]
    report.write_summary(out / "summary.json", records, evaluation.reference)
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


def settings_of(config: DictConfig) -> dict[str, Any]:
    """Return the resolved settings of a run, with what decides its outcome beyond its arguments.

    That is the number of workers and, for a policy with a checkpoint, the digest of its weights.
    Raises `UserError` when there is no such checkpoint, or `checkpoint=` means nothing.
    """
    OmegaConf.set_struct(config, False)
    chosen = config.checkpoint
    if "checkpoint" in config.policy:
        folder = checkpoint_folder(chosen or config.policy.checkpoint)
        config.policy.checkpoint = str(folder)
        config.weights = weights_digest(folder)
    elif chosen is not None:
        raise UserError(
            f"checkpoint={chosen} means nothing to this policy: leave it out, "
            "or use policy=checkpoint."
        )
    if config.workers is None:
        config.workers = available_cores()
    return plain(config)


def weights_digest(folder: Path) -> str:
    """Return a short digest of a checkpoint's weights; raises `UserError` if it has none."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise UserError(f"{folder} is no checkpoint: it has no {WEIGHTS}.")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def dated_folder(task: str, policy: str, runs: Path = Path("runs")) -> Path:
    """Return a folder name under `runs` that says what and when, such as eval/task_policy_date."""
    now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return runs / "eval" / f"{task}_{policy}_{now}"


def _read(path: Path) -> DictConfig:
    try:
        config = OmegaConf.load(path)
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} is not readable ({error}): name a new folder.") from error
    if not isinstance(config, DictConfig):
        raise UserError(f"{path} holds no settings: name a new folder.")
    return config


def run() -> None:
    """Read the settings, evaluate, print the table; raises `UserError` for settings amiss."""
    settings = settings_of(from_command_line("eval", USAGE))
    scalars = typed(Scalars, {f.name: settings[f.name] for f in dataclasses.fields(Scalars)})
    policy = settings["policy"]["_target_"].rpartition(".")[2]
    out = Path(settings["out"] or dated_folder(settings["task"]["name"], policy))
    settings["out"] = str(out)
    reference = settings["task"].get("reference")
    evaluation = Evaluation(
        episodes=episodes(
            typed(Protocol, settings["protocol"]),
            settings["task"]["name"],
            scalars.episodes,
            scalars.seed,
        ),
        env=settings["env"],
        policy=settings["policy"],
        reference=None if reference is None else typed(report.Reference, reference),
        videos=scalars.videos,
        workers=scalars.workers,
    )
    claim_folder(out, settings)
    started = time.perf_counter()
    records = evaluate(evaluation, out)
    console = Console()
    console.print(report.table(records, evaluation.reference))
    console.print(f"{len(records)} episodes, {time.perf_counter() - started:.0f} s: {out}")


main = exit_on_user_error(run)

if __name__ == "__main__":
    main()
