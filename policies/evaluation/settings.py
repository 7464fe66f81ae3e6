"""The settings of an evaluation, typed: `configs/eval.yaml` and what follows from it."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from envs.episode import Episode
from envs.wording import Wording
from envs.workers import available_cores
from experiment.errors import UserError, nearest
from experiment.settings import Description, typed
from policies.evaluation.protocol import Protocol, episodes
from policies.evaluation.published import Reference
from policies.evaluation.run import BESIDE, DREAMS, Evaluation
from policies.planning.plan import Plan


@dataclass  # not frozen: OmegaConf could not fill it inside of another
class Task:
    """A task by name, and what `configs/task` says of it."""

    name: str
    robot: str
    robot_poses: list[str]
    layouts: int
    reference: Reference | None = None


@dataclass(frozen=True)
class EvalSettings:
    """What `configs/eval.yaml` says, setting by setting; `env`, `original` and `policy` are built.

    `weights` is the digest of the weights of a policy with a checkpoint: it decides the outcome.
    `resolution`, left as it is, becomes as many times that as the finest policy's pictures need.
    """

    task: Task
    protocol: Protocol
    policy: dict[str, Any]
    checkpoint: str | None
    assets: str
    asset_root: str | None
    episodes: int | None
    seed: int
    workers: int | None
    time_limit: float | None
    resolution: list[int] | None
    out: str | None
    videos: bool
    dreams: int
    beside_expert: bool
    plan: Plan
    list: bool
    backend: str
    env: dict[str, Any]
    original: dict[str, Any]
    weights: str | None = None
    wording: Wording | None = None  # a group without a choice leaves no key

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "EvalSettings":
        """Check the types of `values`; raises `UserError` naming the first setting that is off."""
        return typed(cls, values)

    def chosen(self) -> Sequence[Episode]:
        """Return the episodes to run; raises `UserError` if task and protocol do not fit."""
        return episodes(self.protocol, self.task.name, self.episodes, self.seed)

    def completed(self) -> "EvalSettings":
        """Return the settings with checkpoint, workers and folder looked up or made.

        Raises `UserError` for episodes that do not fit, and for a checkpoint that is missing, means
        nothing to the policy, or is of another robot than a task.
        """
        tasks = sorted({episode.task for episode in self.chosen()})
        policy, weights = dict(self.policy), None
        resolution = self.resolution
        if "checkpoint" in policy:
            # Loads torch, which policies without a checkpoint do not need.
            from policies.checkpoint import check_robot, fitting_camera, shipped
            from worldmodel.training.checkpoint import checkpoint_folder, weights_digest

            given = self.checkpoint or policy["checkpoint"]
            if given is None:
                weights = " ".join(sorted({weights_digest(shipped(task)) for task in tasks}))
            else:
                folder = checkpoint_folder(given)
                weights = weights_digest(folder)
                check_robot(folder, tasks)
                policy["checkpoint"] = str(folder)
            folders = [shipped(task) for task in tasks] if given is None else [folder]
            resolution = fitting_camera(resolution, *folders)
        elif self.checkpoint is not None:
            raise UserError(
                f"checkpoint={self.checkpoint} means nothing to this policy: leave it out, "
                "or use policy=checkpoint."
            )
        if self.plan.check().candidates != 1:
            if "plan" not in policy:
                raise UserError("plan.candidates: only policy=checkpoint imagines what it does.")
            from policies.planning.planner import value_folders

            values = value_folders(str(self.plan.value))
            weights = " ".join([str(weights), *map(weights_digest, values)])
            policy["plan"] = {"candidates": self.plan.candidates, "value": str(values[0])}
        workers = available_cores() if self.workers is None else self.workers
        out = self.out or str(self._dated_folder())
        env, original = ({**each, "resolution": resolution} for each in (self.env, self.original))
        return replace(
            self, policy=policy, weights=weights, workers=workers, out=out, resolution=resolution,
            env=env, original=original,
        )  # fmt: skip

    def evaluation(self) -> Evaluation:
        """Return the evaluation that completed settings mean; raises `UserError`."""
        assert self.workers is not None
        return Evaluation(
            episodes=[*self.chosen()],
            env=self._environment(),
            policy=self.policy,
            reference=self.protocol.reference or self._reference_of_task(),
            videos=self.videos,
            recorders=self._recorders(),
            workers=self.workers,
            time_limit=self.time_limit,
            protocol=self.protocol.name,
        )

    def _reference_of_task(self) -> Reference | None:
        # A task of somebody's own name keeps the settings of the one that it was made from.
        reference = self.task.reference
        return reference if reference and self.task.name in reference.rates else None

    def _recorders(self) -> Sequence[Description]:
        return [*self._dream_recorder(), *self._expert_recorder()]

    def _expert_recorder(self) -> Sequence[Description]:
        if not self.beside_expert:
            return ()
        if self.backend != "maniskill":
            raise UserError(
                f"beside_expert=true: backend={self.backend} does not tell the state that the "
                "expert needs, leave one of them out."
            )
        folder = str(Path(str(self.out)) / BESIDE)
        return ({"_target_": "policies.evaluation.beside_expert.BesideExpert", "folder": folder},)

    def _dream_recorder(self) -> Sequence[Description]:
        if self.dreams == 0:
            return ()
        if self.dreams < 0 or "checkpoint" not in self.policy:
            raise UserError(
                f"dreams={self.dreams}: it is the number of moments from which the world model of "
                "policy=checkpoint dreams; other policies have none."
            )
        checkpoint = self.policy["checkpoint"]
        recorder = {
            "_target_": "policies.evaluation.dreams.DreamRecorder",
            "folder": str(Path(str(self.out)) / DREAMS),
            "checkpoint": None if checkpoint is None else str(checkpoint),
            "moments": self.dreams,
        }
        return (recorder,)

    def _environment(self) -> Description:
        backends = {"maniskill": self.env, "original": self.original}
        if self.backend not in backends:
            raise UserError(f"unknown backend '{self.backend}'.{nearest(self.backend, backends)}")
        env = backends[self.backend]
        if self.wording is None:
            return env
        return {"_target_": "envs.wording.Reworded", "env": env, **asdict(self.wording)}

    def _dated_folder(self) -> Path:
        now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        protocol = [] if self.protocol.name == "default" else [self.protocol.name]
        wording = [self.wording.name] if self.wording else []
        name = "_".join([self.task.name, *protocol, *wording, self._policy_name(), now])
        return Path("runs") / "eval" / name

    def _policy_name(self) -> str:
        """Return what a person calls the policy: its run, its class, or "shipped"."""
        if "checkpoint" not in self.policy:
            return str(self.policy["_target_"].rpartition(".")[2])
        from worldmodel.training.checkpoint import run_name

        return run_name(Path(self.checkpoint or self.policy["checkpoint"] or "shipped"))
