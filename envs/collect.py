"""Entry point: collect demonstrations of a task into a LeRobot v3.0 data set.

    python -m envs.collect task=open_and_place episodes=100
    python -m envs.collect policy=oracle|random|my_module.MyPolicy out=FOLDER workers=2
    python -m envs.collect policy=checkpoint policy.checkpoint=runs/finetune label=oracle

Started again with the same out=, it resumes. Episode i of a seed= is the same whenever and
wherever it is made, so that two data sets need two seeds to begin differently; the data set holds
the successful episodes of the lowest indices. With label= the policy drives in stretches, and what
the labelling policy would have done is recorded.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from envs.dataset.lerobot_writer import assemble, total_episodes
from envs.dataset.staging import StagedEpisode, staged_episodes
from envs.episode import DEMONSTRATIONS, VISUAL_MATCHING, Episode, episode_seed
from envs.workers import Workers, available_cores
from experiment import progress
from experiment.command import command
from experiment.errors import UserError
from experiment.run_folder import open_run
from experiment.settings import Description, plain

_TRIED_BEFORE_GIVING_UP, _LEAST_SUCCESS = 40, 0.05


@dataclass(frozen=True)
class Collection:
    """What to collect. `env` and `policy` are descriptions that every worker builds from."""

    task: str
    episodes: int
    out: Path
    env: Description
    policy: Description
    workers: int
    keep_failures: bool
    robot_poses: tuple[str, ...]
    robot: str = "google_robot"
    time_limit: float | None = None
    seed: int = 0
    layouts: int = 0
    variants: tuple[str, ...] = (VISUAL_MATCHING,)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Collection":
        """Check the settings of `configs/collect.yaml`; raises `UserError` naming a bad one."""
        workers = settings["workers"] if settings["workers"] is not None else available_cores()
        for name, count in (("episodes", settings["episodes"]), ("workers", workers)):
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise UserError(f"{name}={count}: give a whole number of at least 1.")
        time_limit = settings["time_limit"]
        if not isinstance(time_limit, int | float | None) or isinstance(time_limit, bool):
            raise UserError(f"time_limit={time_limit}: give seconds, or null for no limit.")
        if not isinstance(settings["keep_failures"], bool):
            raise UserError(f"keep_failures={settings['keep_failures']}: give true or false.")
        if settings["task"]["name"] == "all":
            raise UserError("task=all: demonstrations are collected of one task, give its name.")
        variants = settings.get("variants", [VISUAL_MATCHING])  # envs.branch has no other
        if not variants:
            raise UserError("variants=[]: give at least one, such as [visual_matching].")
        env, policy = settings["env"], settings["policy"]
        if settings.get("label") is not None:  # a group without a choice leaves no key
            env = {
                "_target_": "envs.dataset.corrective.LearnerDrives",
                "env": env,
                "learner": policy,
                "learner_share": settings["learner_share"],
            }
            policy = settings["label"]
        return cls(
            task=str(settings["task"]["name"]),
            episodes=settings["episodes"],
            out=Path(settings["out"]),
            env=env,
            policy=policy,
            workers=workers,
            keep_failures=settings["keep_failures"],
            robot_poses=tuple(settings["robot_poses"] or ()),
            robot=str(settings["task"]["robot"]),
            time_limit=time_limit,
            seed=settings["seed"],
            layouts=int(settings["task"].get("layouts") or 0),
            variants=tuple(map(str, variants)),
        )

    @property
    def fps(self) -> int:
        """Control rate (Hz): SIMPLER's robots differ."""
        return 5 if self.robot == "widowx" else 3

    @property
    def staging(self) -> Path:
        return self.out / ".staging"

    def identity(self) -> dict[str, Any]:
        """Return what decides each episode; the same for all runs into one folder."""
        return {
            "task": self.task,
            "env": {key: value for key, value in self.env.items() if key != "asset_root"},
            "policy": dict(self.policy),
            "keep_failures": self.keep_failures,
            "robot_poses": list(self.robot_poses),
            "seed": self.seed,
            "layouts": self.layouts,
            "variants": list(self.variants),
        }

    def episode(self, index: int) -> Episode:
        poses, variants = self.robot_poses, self.variants
        return Episode(
            task=self.task,
            index=index,
            seed=self._seed(index),
            robot_pose=poses[index % len(poses)] if poses else None,
            layout=self._layout(index) if self.layouts else None,
            # Every pose in one variant, then every pose in the next: all pairs come.
            variant=variants[index // max(1, len(poses)) % len(variants)],
        )

    def _seed(self, index: int) -> int:
        # Odd bases are those of envs.branch.
        return episode_seed(self.task, DEMONSTRATIONS, index, 2 * self.seed)

    def _layout(self, index: int) -> int:
        """Return a layout, each once before one comes again: drawn ones leave some out for long."""
        turn, place = divmod(index, self.layouts)
        first = self._seed(turn * self.layouts)
        return int(np.random.default_rng(first).permutation(self.layouts)[place])


def collect(collection: Collection) -> None:
    """Collect until the data set `collection.out` has `collection.episodes` episodes.

    Resumes an earlier run. Raises `UserError` when the folder belongs to other
    settings, the policy hardly ever succeeds, or the disk is full.
    """
    open_run(
        "collect",
        collection.identity(),
        out=collection.out,
        results=("meta/info.json", ".staging/episode_*.json"),
        file="collect.json",
        history=False,
    )
    present = total_episodes(collection.out)
    if present >= collection.episodes:
        print(f"{collection.out} has {present} episodes already: nothing to collect.")
        return
    started = time.perf_counter()
    staged = _make_episodes(collection)
    kept = [episode for _, episode in sorted(staged.items()) if episode.kept]
    assemble(
        collection.out, kept[: collection.episodes], robot=collection.robot, fps=collection.fps
    )
    tried = max(staged) + 1
    print(
        f"{collection.out}: {collection.episodes} episodes ({len(kept)} of {tried} tried were "
        f"kept) in {time.perf_counter() - started:.0f} s."
    )


def indices_to_try(staged: Mapping[int, StagedEpisode], episodes: int) -> list[int]:
    """Return which indices to try next, if all of them succeed: the lowest that are not staged."""
    missing: list[int] = []
    index = kept = 0
    while kept + len(missing) < episodes:
        if index not in staged:
            missing.append(index)
        elif staged[index].kept:
            kept += 1
        index += 1
    return missing


def _make_episodes(collection: Collection) -> dict[int, StagedEpisode]:
    for leftover in collection.staging.glob(".*.partial"):
        leftover.unlink(missing_ok=True)
    staged = staged_episodes(collection.staging)
    keep = "all" if collection.keep_failures else "successes"
    recorder = {
        "_target_": "envs.dataset.staging.StagingRecorder",
        "folder": str(collection.staging),
        "keep": keep,
        "fps": collection.fps,
    }
    count = min(collection.workers, max(1, len(indices_to_try(staged, collection.episodes))))
    workers = Workers(
        collection.env,
        collection.policy,
        [recorder],
        count=count,
        time_limit=collection.time_limit,
    )
    kept = sum(episode.kept for episode in staged.values())
    with (
        workers,
        progress.bar(
            total=collection.episodes, initial=kept, desc=collection.task, unit="episode"
        ) as bar,
    ):
        while missing := indices_to_try(staged, collection.episodes):
            _check_progress(collection, staged)
            for record in workers.run([collection.episode(index) for index in missing]):
                good = record.success_ever and record.success_strict
                bar.update(int(collection.keep_failures or good))
            staged = staged_episodes(collection.staging)
    return staged


def _check_progress(collection: Collection, staged: Mapping[int, StagedEpisode]) -> None:
    kept = sum(episode.kept for episode in staged.values())
    if len(staged) >= _TRIED_BEFORE_GIVING_UP and kept < _LEAST_SUCCESS * len(staged):
        raise UserError(
            f"{collection.policy.get('_target_')} succeeded in {kept} of {len(staged)} episodes of "
            f"{collection.task}: give another policy, or keep_failures=true."
        )


@command("collect", __doc__)
def main(config: DictConfig) -> Path:
    """Collect what the settings mean; return the data set's folder."""
    collection = Collection.from_settings(plain(config))
    collect(collection)
    return collection.out


run = main.run


if __name__ == "__main__":
    main()
