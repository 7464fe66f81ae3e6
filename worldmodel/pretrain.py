"""Entry point: learn to predict video.

    python -m worldmodel.pretrain data=demos data.root=datasets/open_and_place

The run folder holds the resolved configuration, `log.jsonl`, `curves.png`, `contact_sheet.png`
and `checkpoint/`, which policies.finetune starts from. The same command with the same `out=FOLDER`
goes on with a run that was stopped.
"""

import functools
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from experiment.command import command
from experiment.run_folder import open_run, versions
from experiment.seeding import torch_generator
from experiment.settings import build
from worldmodel.data.batches import Assembler, DataConfig
from worldmodel.data.feeds import Feed, feed_of
from worldmodel.model import ModelConfig, WorldModel
from worldmodel.objective import Objective, losses
from worldmodel.sampler import Sampling, sample
from worldmodel.tokenizer.pixel import PixelTokenizer
from worldmodel.training import checkpoint, contact_sheet
from worldmodel.training.trainer import Trainer, TrainerConfig

_MODEL, _OBSERVED, _SAMPLED = 1, 2, 3
_OBSERVED_WINDOWS = 256
# How a run reads, not what: may differ when it is gone on with. One that stopped at a damaged
# record skipped nothing before it, so on_error may change as well.
_READING = ("workers", "ahead", "memory", "cache", "download", "on_error")
_NOT_COMPARED = ("out", *(f"data.source.{name}" for name in _READING))


@dataclass(frozen=True)
class Observer:
    """Looks at a model on held-out windows: loss, and sampled clips on a contact sheet."""

    feed: Feed
    assembler: Assembler
    objective: Objective
    sampling: Sampling
    clips: int
    picture: Path
    seed: int

    def __call__(self, model: WorldModel) -> dict[str, float]:
        """Return `held_out/generation`, `held_out/psnr` of samples and `held_out/psnr_still` (dB).

        The last is that of a prediction that nothing moves: the floor. Writes the contact sheet.
        The same windows, noise and times at every call.
        """
        device = next(model.parameters()).device
        return {"held_out/generation": self._loss(model, device)} | self._samples(model, device)

    @torch.no_grad()
    def _loss(self, model: WorldModel, device: torch.device) -> float:
        batch = self.assembler(self.feed.held_out(_OBSERVED_WINDOWS)).to(device)
        plain = Objective(
            arm="flow_matching",
            density=self.objective.density,
            condition_noise=self.objective.condition_noise,
        )
        return losses(model, None, batch, torch_generator(self.seed, _OBSERVED), plain)[
            "generation"
        ].item()

    def _samples(self, model: WorldModel, device: torch.device) -> dict[str, float]:
        windows = self.feed.held_out(self.clips)
        batch = self.assembler(windows).to(device)
        generator = torch_generator(self.seed, _SAMPLED)
        given = {"frame": batch.parts["frame"]}
        unknown = {"video": batch.parts["video"].position}
        values = sample(model, given, unknown, batch.text, self.sampling, generator)["video"]
        predicted = self.assembler.tokenizer.decode(values)
        future = self.assembler.windows.future
        frame, real = windows.frame.numpy(), windows.future.numpy()
        contact_sheet.write(self.picture, frame, real, predicted, future, windows.instructions)
        return {
            "held_out/psnr": contact_sheet.psnr(real, predicted),
            "held_out/psnr_still": contact_sheet.psnr(real, frame[:, None]),
        }


def sections(
    assembler: Assembler, step: int, seconds: float, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a checkpoint's `config.json` says beside the model."""
    return {
        "tokenizer": asdict(assembler.tokenizer),
        "windows": asdict(assembler.windows),
        "training": {"steps": step, "seconds": round(seconds, 1), **extra},
        "versions": versions(),
    }


@command("pretrain", __doc__)
def main(config: DictConfig) -> None:
    """Compose the parts and train."""
    tokenizer = build(config.tokenizer, PixelTokenizer)
    model_config = build(config.model, ModelConfig)
    objective = build(config.objective, Objective)
    trainer_config = build(config.trainer, TrainerConfig)
    data = build(config.data.use, DataConfig)
    source: object = build(config.data.source, object)
    feed = feed_of(source, data, tokenizer, config.seed)
    assembler = Assembler(tokenizer, data.windows, model_config.text)
    model = WorldModel(tokenizer.modalities, model_config, torch_generator(config.seed, _MODEL))
    folder = open_run("pretrain", config, _NOT_COMPARED)
    batches = feed.batches(assembler, folder)
    observer = Observer(
        feed,
        assembler,
        objective,
        build(config.samples.sampling, Sampling),
        config.samples.clips,
        folder / "contact_sheet.png",
        config.seed,
    )

    def export(averaged: WorldModel, step: int, seconds: float) -> None:
        extra = {
            "data": feed.source,
            "seed": config.seed,
            "arm": objective.arm,
            "precision": trainer.precision,
        }
        described = sections(assembler, step, seconds, extra)
        checkpoint.save(folder / "checkpoint", averaged, described)

    loss = functools.partial(losses, settings=objective)
    trainer = Trainer(model, loss, batches, trainer_config, folder, config.seed, observer, export)
    finished = trainer.run()
    print(f"{folder}: {'done' if finished else 'stopped'} after {trainer.step} steps")
    if not finished:
        arguments = [a for a in sys.argv[1:] if not a.startswith("out=")]
        sys.exit(f"to go on: python -m worldmodel.pretrain {' '.join(arguments)} out={folder}")


if __name__ == "__main__":
    main()
