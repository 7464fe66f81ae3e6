"""Entry point: demonstrations (and a pretrained world model) to a policy.

    python -m policies.finetune init=runs/pretrain/checkpoint
    python -m policies.finetune policy=regression

The run folder holds the resolved configuration, `log.jsonl`, `curves.png` and `checkpoint/`, which
`policies.eval checkpoint=FOLDER/checkpoint` evaluates. The same command with the same `out=FOLDER`
goes on with a run that was stopped.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from omegaconf import DictConfig

from experiment.command import command
from experiment.errors import UserError
from experiment.run_folder import open_run, versions
from experiment.settings import build
from policies.gripper import codec_name, codec_of
from policies.learning.demonstrations import DemonstrationBatches, as_learned
from policies.learning.initial import with_initial
from policies.learning.learner import LearnerSettings
from policies.learning.validation import Validation, spread
from worldmodel.data.batches import DataConfig, Order
from worldmodel.data.formats.lerobot import LeRobot
from worldmodel.data.normalisation import Normalisation
from worldmodel.training import checkpoint
from worldmodel.training.trainer import Trainer, TrainerConfig


def trainer_of(config: DictConfig) -> Trainer[Any, Any, Any]:
    """Build everything that `configs/finetune.yaml` describes; raises `UserError`."""
    settings: LearnerSettings = build(config.learner.settings, object)  # type: ignore[assignment]
    robot = str(config.task.robot)
    codec = codec_of(robot, config.gripper)
    if robot != "google_robot":
        raise UserError(
            f"task={config.task.name}: policies of robot {robot} cannot be trained yet."
        )
    trainer_config = build(config.trainer, TrainerConfig)
    data = build(config.data.use, DataConfig)
    recorded = build(config.data.source, LeRobot).read(settings.tokenizer)
    trajectories = as_learned(recorded, codec)
    learned, held_out = (trajectories.frames_of(part) for part in trajectories.split(data.held_out))
    normalisation = Normalisation.of(trajectories.state[learned], trajectories.action[learned])
    learner = settings.learner(data.windows, normalisation, config.seed)
    batches = DemonstrationBatches(
        trajectories,
        Order(learned, data.batch_size, config.seed),
        data.windows,
        codec,
        data.augmentation,
        config.seed,
    )
    chosen = spread(held_out, config.validation_windows)
    validation = Validation(trajectories, chosen, data.windows, codec, normalisation, config.seed)
    state = trainer_config.state(learner.model)
    folder = open_run("finetune", config)

    def observe(model: torch.nn.Module) -> Mapping[str, float]:
        return validation(learner.predictor(model, state.compute))

    def export(model: torch.nn.Module, step: int, seconds: float) -> None:
        common = {
            "kind": learner.kind,
            "robot": robot,
            "gripper": codec_name(robot, config.gripper),
            "windows": asdict(data.windows),
            "normalisation": normalisation.section(),
            "training": {
                "steps": step,
                "seconds": round(seconds, 1),
                "data": trajectories.source,
                "episodes": trajectories.episodes,
                "init": config.init,
                "seed": config.seed,
                "precision": state.compute.precision,
            },
            "versions": versions(),
        }
        checkpoint.save_module(folder / "checkpoint", model, {**common, **learner.sections()})

    return Trainer(
        state, learner.assemble, learner.loss, batches, trainer_config, folder, config.seed,
        observe, export,
    )  # fmt: skip


@command("finetune", __doc__, completed=with_initial)
def main(config: DictConfig) -> None:
    """Compose the parts and train."""
    trainer = trainer_of(config)
    finished = trainer.run()
    print(f"{trainer.folder}: {'done' if finished else 'stopped'} after {trainer.step} steps")
    if not finished:
        raise KeyboardInterrupt


if __name__ == "__main__":
    main()
