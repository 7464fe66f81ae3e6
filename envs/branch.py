"""Entry point: demonstrations, and what other actions would have led to from their states.

    python -m envs.branch task=open_and_place episodes=10 out=datasets/branches

Each demonstration is followed, in one LeRobot v3.0 data set, by episodes that repeat it up to a
step and then act otherwise: not at all, back the way they came, at random, disturbed. The table
of episodes has of each `source/branch_of` (the number of its demonstration), `source/branch_step`
and `source/branch_actions`. Started again with the same out=, it resumes. `python -m
worldmodel.imagine data.root=FOLDER` compares dreams of the same and of other actions with them.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from envs.collection import Collection
from envs.dataset.branching import DEMONSTRATION, check_actions
from envs.dataset.lerobot_writer import assemble, total_episodes
from envs.dataset.staging import StagedEpisode, staged_episodes
from envs.episode import DEMONSTRATIONS, Branch, Episode, episode_seed
from envs.workers import Workers
from experiment.command import command
from experiment.errors import UserError
from experiment.run_folder import open_run
from experiment.settings import plain


def episodes_of(collection: Collection, branches: Sequence[Branch]) -> list[Episode]:
    """Return all episodes: each demonstration, then its branches."""
    poses = collection.robot_poses
    listed = []
    for number in range(collection.episodes):
        whole = [Branch(number), *(Branch(number, b.actions, b.step, b.length) for b in branches)]
        listed += [
            Episode(
                task=collection.task,
                index=number * len(whole) + place,
                # Even bases are those of envs.collect: none of its demonstrations is among these.
                seed=episode_seed(collection.task, DEMONSTRATIONS, number, 2 * collection.seed + 1),
                robot_pose=poses[number % len(poses)] if poses else None,
                branch=branch,
            )
            for place, branch in enumerate(whole)
        ]
    return listed


def branches_of(settings: Mapping[str, Any]) -> list[Branch]:
    """Return the branches of every demonstration; raises `UserError` naming a bad setting."""
    steps, length = settings["at"], settings["length"]
    for name, value in (*(("at", step) for step in steps), ("length", length)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{name}={value}: give whole numbers of at least 1.")
    kinds = check_actions(settings["actions"])
    return [Branch(0, actions, step, length) for step in steps for actions in kinds]


def branch(collection: Collection, branches: Sequence[Branch], recorder: Mapping[str, Any]) -> None:
    """Make the data set `collection.out`, resuming an earlier run.

    `recorder` are settings of the `StagingRecorder`. Raises `UserError` when the folder belongs to
    other settings, no branch begins before its demonstration ends, or the disk is full.
    """
    listed = episodes_of(collection, branches)
    plan = [[b.actions, b.step, b.length] for b in branches]
    open_run(
        "branch",
        collection.identity() | {"branches": plan, "recorder": dict(recorder)},
        out=collection.out,
        results=("meta/info.json", ".staging/episode_*.json"),
        file="branch.json",
        history=False,
    )
    if total_episodes(collection.out) and all(e.index in _staged(collection) for e in listed):
        print(f"{collection.out} has all episodes already: nothing to make.")
        return
    started = time.perf_counter()
    staging = {
        "_target_": "envs.dataset.staging.StagingRecorder",
        "folder": str(collection.staging),
        "keep": "all",
        "fps": collection.fps,
    }
    policy = {
        "_target_": "envs.dataset.branching.BranchingPolicy",
        "policy": dict(collection.policy),
        "branch": None,
    }
    missing = [e for e in listed if e.index not in _staged(collection)]
    workers = Workers(
        collection.env,
        policy,
        [{**staging, **recorder}],
        count=collection.workers,
        time_limit=collection.time_limit,
    )
    with workers:
        for _ in workers.run(missing, progress=collection.task):
            pass
    staged = _staged(collection)
    kept = [staged[e.index] for e in listed if _begun(staged[e.index])]
    assemble(collection.out, kept, robot=collection.robot, fps=collection.fps)
    left_out = len(listed) - len(kept)
    late = f" ({left_out} branches begin after their demonstration's end)" if left_out else ""
    print(
        f"{collection.out}: {len(kept)} episodes of {collection.episodes} demonstrations{late} in "
        f"{time.perf_counter() - started:.0f} s."
    )


def _staged(collection: Collection) -> dict[int, StagedEpisode]:
    return staged_episodes(collection.staging)


def _begun(episode: StagedEpisode) -> bool:
    """Whether the episode is a demonstration or has left it."""
    facts = episode.metadata
    left = int(facts["steps"]) > int(facts["branch_step"])
    return left or facts["branch_actions"] == DEMONSTRATION


@command("branch", __doc__)
def main(config: DictConfig) -> Path:
    """Make what the settings mean; return the data set's folder."""
    settings = plain(config)
    branches = branches_of(settings)
    collection = Collection.from_settings(
        settings | {"keep_failures": True, "policy": settings["policy"]}
    )
    branch(collection, branches, {"crf": settings["crf"], "gop": settings["gop"]})
    return collection.out


run = main.run


if __name__ == "__main__":
    main()
