"""Entry point: robot data (and a pretrained world model) to a policy.

    python -m policies.finetune init=runs/pretrain/checkpoint
    python -m policies.finetune policy=regression
    python -m policies.finetune data=fractal data.root=/folder
    torchrun --nproc-per-node=8 -m policies.finetune data=...      (docs/scaling.md)

The run folder holds the resolved configuration, `log.jsonl`, `curves.png` and `checkpoint/`, which
`policies.eval checkpoint=FOLDER/checkpoint` evaluates. The same command with the same `out=FOLDER`
resumes a run that was stopped.
"""

import functools
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from experiment.command import command
from experiment.errors import UserError
from experiment.run_folder import open_run, versions
from experiment.settings import build
from policies.learning.demonstrations import (
    acting_sets,
    codecs_of,
    starts_told,
    state_fits,
)
from policies.learning.initial import with_initial
from policies.learning.learner import LearnerSettings
from policies.learning.validation import Validation
from worldmodel.data.gripper import LearnedGripper, codec_name
from worldmodel.data.loader import SKIPPED, HeldOut, Loader
from worldmodel.data.reader import DataConfig
from worldmodel.data.source import DataSource
from worldmodel.data.statistics import alike, statistics
from worldmodel.data.windows import WindowBatch
from worldmodel.training import checkpoint
from worldmodel.training.config import NOT_COMPARED
from worldmodel.training.parallel import joined, ranks
from worldmodel.training.saved_state import RESULTS
from worldmodel.training.trainer import Trainer, TrainerConfig


def trainer_of(config: DictConfig) -> Trainer[Any, Any, Any]:
    """Build everything that `configs/finetune.yaml` describes; raises `UserError`."""
    settings: LearnerSettings = build(config.learner.settings)
    trainer_config = build(config.trainer, TrainerConfig)
    if config.init is not None and not hasattr(settings, "init"):
        raise UserError(f"init={config.init}: policy=regression has no pretraining, leave it out.")
    if config.validation_windows < 1:
        raise UserError(f"validation_windows={config.validation_windows} must be at least 1.")
    source = build(config.data.source)
    if not isinstance(source, DataSource):
        raise UserError(
            "policies.finetune learns from whole episodes, which encoded tokens are not: choose "
            "the data set that they were made of."
        )
    use = build(config.data.use, DataConfig)
    trainer_config.check_batch(use.batch_size)
    run_in = functools.partial(open_run, "finetune", config, NOT_COMPARED, results=RESULTS)
    folder = Path(ranks().from_first(lambda: str(run_in())))
    picture = settings.tokenizer.picture
    # What is read of a set for the first time is kept in the cache folder.
    sets = ranks().first_before_others(lambda: source.open(use, picture))
    codecs = codecs_of(sets, config.gripper)
    acting = acting_sets(sets, config.data.statistics_of)
    if settings.with_state and not state_fits(sets):
        print("proprioception is left out: the data set does not record what SIMPLER observes.")
        settings = replace(settings, with_state=False)  # type: ignore[type-var]
    for data in sets:
        data.with_state = settings.with_state
    cache = Path(source.cache or ".cache")
    groups = alike(sets)
    facts = ranks().first_before_others(
        lambda: [statistics([sets[n] for n in group], cache, source.skips) for group in groups]
    )
    of_set = {n: each for group, each in zip(groups, facts, strict=True) for n in group}
    for data, codec in zip(sets, codecs, strict=True):
        data.learn(LearnedGripper(codec), None)
    instructions = sorted({each for fact in facts for each in fact.sentences})
    normalisation, robot = of_set[acting[0]].normalisation, str(sets[acting[0]].adapter.robot)
    reader = source.window_reader(sets, use, config.seed, ranks().rank, ranks().world)
    if (told := starts_told(sets)) is not None:
        print(told)
    learner = settings.learner(use.windows, normalisation, config.seed)
    state = trainer_config.state(learner.model)
    # Validation is in robot units, what is learned in each set's own.
    skipped = reader.unreadable()
    held_out = HeldOut(lambda n: reader.held_out(n, acting, now_only=True), skipped.extend)
    windows = held_out(config.validation_windows)
    validation = None if windows is None else Validation(windows, normalisation, config.seed)
    for number, data in enumerate(sets):
        data.learn(data.action_transform, of_set[number].normalisation)
    listed = folder / ranks().named(SKIPPED)
    loader: Loader[WindowBatch] = Loader(reader, source.workers, source.ahead, listed)
    loader.list_skipped(skipped)

    def observe(model: torch.nn.Module) -> Mapping[str, float]:
        return {} if validation is None else validation(learner.predictor(model, state.compute))

    def export(model: torch.nn.Module, step: int, seconds: float) -> None:
        common = {
            "kind": learner.kind,
            "robot": robot,
            "gripper": codec_name(robot, config.gripper),
            "tokenizer": settings.tokenizer.config(),
            "text": settings.text.config(),
            "instructions": instructions,
            "windows": asdict(use.windows),
            "normalisation": normalisation.section(),
            "training": {
                "steps": step,
                "seconds": round(seconds, 1),
                "data": reader.source,
                "episodes": reader.episodes,
                "init": config.init,
                "seed": config.seed,
                "precision": state.compute.precision,
            },
            "versions": versions(),
        }
        checkpoint.save_module(folder / "checkpoint", model, {**common, **learner.sections()})

    return Trainer(
        state, learner.assemble, learner.loss, loader, trainer_config, folder, config.seed,
        observe, export,
    )  # fmt: skip


@command("finetune", __doc__, completed=with_initial, within=joined)
def main(config: DictConfig) -> Path:
    """Compose the parts and train; return the run's folder."""
    trainer = trainer_of(config)
    finished = trainer.run()
    print(f"{trainer.folder}: {'done' if finished else 'stopped'} after {trainer.step} steps")
    if not finished:
        raise KeyboardInterrupt
    return trainer.folder


run = main.run


if __name__ == "__main__":
    main()
