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
from pathlib import Path

from omegaconf import DictConfig

from envs.collection import Collection
from envs.dataset.lerobot_writer import assemble, total_episodes
from envs.dataset.staging import StagedEpisode, staged_episodes
from envs.workers import Workers
from experiment import progress
from experiment.command import command
from experiment.errors import UserError
from experiment.run_folder import open_run
from experiment.settings import plain

_TRIED_BEFORE_GIVING_UP, _LEAST_SUCCESS = 40, 0.05


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
        max_steps=collection.max_steps,
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
