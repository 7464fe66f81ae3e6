"""Entry point: evaluate a policy in one task, or in the tasks of a protocol.

    python -m policies.eval task=open_and_place                      the shipped checkpoint
    python -m policies.eval policy=oracle|random|regression|my_module.MyPolicy
    python -m policies.eval checkpoint=runs/finetune/... episodes=60 seed=1 workers=2 out=FOLDER
    python -m policies.eval protocol=visual_matching policy=... [task=open_drawer] [episodes=100]
    python -m policies.eval protocol=variant_aggregation --list      print the episodes, run nothing

Protocols: default, grid (one task), visual_matching, variant_aggregation, self_flow_paper (lists).
Started again with the same out=, it resumes.
"""

import dataclasses
import datetime
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from envs.episode import Episode
from envs.workers import available_cores
from experiment.command import command
from experiment.errors import UserError, nearest
from experiment.settings import Description, plain, typed
from policies.checkpoint import check_robot, checkpoint_folder
from policies.evaluation import report
from policies.evaluation.protocol import Protocol, episodes, listing
from policies.evaluation.run import Evaluation, claim_folder, evaluate
from worldmodel.training.checkpoint import WEIGHTS

BACKENDS = {"maniskill": "env", "original": "original"}
"""The section of the settings that describes the environment of a back end."""


@dataclass(frozen=True)
class Which:
    """The settings that choose episodes of a protocol, to check their types."""

    episodes: int | None
    seed: int


@dataclass(frozen=True)
class How:
    """The settings of how they are run, to check their types."""

    workers: int
    videos: bool
    time_limit: float | None


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


def episodes_of(settings: Mapping[str, Any]) -> list[Episode]:
    """Return the episodes that the settings mean; raises `UserError` if they do not fit."""
    described = {k: v for k, v in settings["protocol"].items() if k != "reference"}
    which = typed(Which, {f.name: settings[f.name] for f in dataclasses.fields(Which)})
    protocol = typed(Protocol, described)
    return episodes(protocol, settings["task"]["name"], which.episodes, which.seed)


def environment_of(settings: Mapping[str, Any]) -> Description:
    """Return the description of the environment of the chosen back end."""
    backend = settings["backend"]
    if backend not in BACKENDS:
        raise UserError(f"unknown backend '{backend}'.{nearest(str(backend), BACKENDS)}")
    found: Description = settings[BACKENDS[backend]]
    return found


def evaluation_of(settings: Mapping[str, Any]) -> Evaluation:
    """Return the evaluation that the settings mean; raises `UserError` for one that is amiss."""
    how = typed(How, {f.name: settings[f.name] for f in dataclasses.fields(How)})
    protocol = settings["protocol"]
    reference = protocol.get("reference") or settings["task"].get("reference")
    return Evaluation(
        episodes=episodes_of(settings),
        env=environment_of(settings),
        policy=settings["policy"],
        reference=None if reference is None else typed(report.Reference, reference),
        videos=how.videos,
        workers=how.workers,
        time_limit=how.time_limit,
        protocol=protocol["name"],
    )


def dated_folder(settings: Mapping[str, Any], runs: Path = Path("runs")) -> Path:
    """Return a folder name under `runs` that says what and when."""
    now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    policy = settings["policy"]["_target_"].rpartition(".")[2]
    name = settings["protocol"]["name"]
    what = [settings["task"]["name"], *([] if name == "default" else [name]), policy, now]
    return runs / "eval" / "_".join(what)


def print_list(config: DictConfig) -> None:
    """Print the episodes that the settings mean; needs no policy, no simulator."""
    for line in listing(config.protocol.name, episodes_of(plain(config))):
        print(line)


@command("eval", __doc__, flags=("list",))
def main(config: DictConfig) -> None:
    """Evaluate and print the table."""
    if config.list:
        print_list(config)
        return
    # Before anything is looked for on the disk: do protocol, task and count fit?
    episodes_of(plain(config))
    settings = settings_of(config)
    evaluation = evaluation_of(settings)
    if "checkpoint" in settings["policy"]:
        tasks = {episode.task for episode in evaluation.episodes}
        check_robot(Path(settings["policy"]["checkpoint"]), sorted(tasks))
    out = Path(settings["out"] or dated_folder(settings))
    settings["out"] = str(out)
    claim_folder(out, settings)
    started = time.perf_counter()
    records = evaluate(evaluation, out)
    console = Console()
    console.print(report.table(records, evaluation.protocol, evaluation.reference))
    console.print(*report.notes(records, evaluation.reference), sep="\n", highlight=False)
    console.print(f"{len(records)} episodes, {time.perf_counter() - started:.0f} s: {out}")


if __name__ == "__main__":
    main()
