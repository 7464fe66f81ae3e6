"""Entry point: learn to predict video.

    python -m worldmodel.pretrain data=demos data.root=datasets/open_and_place
    torchrun --nproc-per-node=8 -m worldmodel.pretrain data=...      (docs/scaling.md)

The run folder holds the resolved configuration, `log.jsonl`, `curves.png`, `contact_sheet.png`
and `checkpoint/`, which policies.finetune starts from. The same command with the same `out=FOLDER`
resumes a run that was stopped.
"""

import functools
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from experiment.command import command
from experiment.run_folder import open_run, versions
from experiment.seeding import torch_generator
from experiment.settings import build
from worldmodel.assembler import Assembler
from worldmodel.cost import Weights, flops
from worldmodel.data.loader import SKIPPED, HeldOut, Loader
from worldmodel.data.reader import DataConfig
from worldmodel.data.source import Source
from worldmodel.data.windows import WindowBatch
from worldmodel.device import Compute, peak_rate
from worldmodel.diagnostics import agreements, gradient_cosine
from worldmodel.loss import losses
from worldmodel.model import WorldModel
from worldmodel.model_config import ModelConfig
from worldmodel.objective import Objective
from worldmodel.sampler import Sampling, sample
from worldmodel.text import TextEncoder
from worldmodel.tokenizer import Tokenizer
from worldmodel.tokens import Batch, samples_in
from worldmodel.training import checkpoint, contact_sheet
from worldmodel.training.config import NOT_COMPARED
from worldmodel.training.parallel import joined, ranks
from worldmodel.training.saved_state import RESULTS
from worldmodel.training.state import TrainingState
from worldmodel.training.trainer import Trainer, TrainerConfig

_MODEL, _OBSERVED, _SAMPLED = 1, 2, 3
_OBSERVED_WINDOWS, _AT_ONCE = 256, 64


@dataclass(frozen=True)
class Observer:
    """Looks at a model on held-out windows: loss, and sampled clips on a contact sheet."""

    held_out: HeldOut[WindowBatch]
    assembler: Assembler
    objective: Objective
    sampling: Sampling
    state: TrainingState[WorldModel]
    clips: int
    picture: Path
    seed: int

    @property
    def compute(self) -> Compute:
        return self.state.compute

    def __call__(self, model: WorldModel) -> dict[str, float]:
        """Return `held_out/generation`, `held_out/psnr` of samples and `held_out/psnr_still` (dB).

        The last is that of a prediction that nothing moves: the floor. With a representation loss,
        also what `worldmodel.diagnostics` says of it. Writes the contact sheet. The same windows,
        noise and times at every call; nothing where no window is held out.
        """
        windows, clips = self.held_out(_OBSERVED_WINDOWS), self.held_out(self.clips)
        if windows is None or clips is None:
            return {}
        record = {"held_out/generation": self._loss(model, windows)}
        return record | self._representation(windows) | self._samples(model, clips)

    @torch.no_grad()
    def _loss(self, model: WorldModel, windows: WindowBatch) -> float:
        plain = Objective(
            arm="flow_matching",
            density=self.objective.density,
            condition_noise=self.objective.condition_noise,
        )
        device, total = self.compute.device, 0.0
        assembler = replace(self.assembler, outside=None)
        for start in range(0, windows.samples, _AT_ONCE):
            rows = windows.rows(slice(start, start + _AT_ONCE))
            batch = assembler(rows.to(device))
            generator = torch_generator(self.seed, _OBSERVED, start, device=device)
            with self.compute.autocast():
                loss = losses(model, None, batch, generator, plain)["generation"]
            total += loss.item() * samples_in(batch)
        return total / windows.samples

    def _representation(self, windows: WindowBatch) -> dict[str, float]:
        # A sharded model runs in all processes together, this in the first one alone.
        if not self.objective.with_teacher or self.state.sharded:
            return {}
        state, device = self.state, self.compute.device
        batch = self.assembler(windows.rows(slice(_AT_ONCE)).to(device))
        given = (state.model, state.teacher, batch)
        generator = torch_generator(self.seed, _OBSERVED, device=device)
        with self.compute.autocast():
            found = gradient_cosine(*given, generator, self.objective)
            alike = agreements(*given, generator, self.objective)
        found |= {f"held_out/agreement_{name}": value for name, value in alike.items()}
        return {name: value.item() for name, value in found.items()}

    def _samples(self, model: WorldModel, windows: WindowBatch) -> dict[str, float]:
        device = self.compute.device
        batch = replace(self.assembler, outside=None)(windows.to(device))
        generator = torch_generator(self.seed, _SAMPLED, device=device)
        given = {name: batch[name] for name in ("text", "frame")}
        unknown = {"video": batch["video"].position}
        values = sample(model, given, unknown, self.sampling, generator, self.compute)["video"]
        predicted = self.assembler.tokenizer.decode(batch["frame"].values, values).cpu().numpy()
        future = self.assembler.windows.future
        frame, real = windows.frame.numpy(), windows.future.numpy()
        contact_sheet.write(self.picture, frame, real, predicted, future, windows.instructions)
        return {
            "held_out/psnr": contact_sheet.psnr(real, predicted),
            "held_out/psnr_still": contact_sheet.psnr(real, frame[:, None]),
        }


@command("pretrain", __doc__, within=joined)
def main(config: DictConfig) -> Path:
    """Compose the parts and train; return the run's folder."""
    tokenizer = build(config.tokenizer, Tokenizer)  # type: ignore[type-abstract]
    text = build(config.text, TextEncoder)  # type: ignore[type-abstract]
    model_config = build(config.model, ModelConfig)
    objective = build(config.objective, Objective)
    trainer_config = build(config.trainer, TrainerConfig)
    data = build(config.data.use, DataConfig)
    source: Source = build(config.data.source)
    trainer_config.check_batch(data.batch_size)
    run_in = functools.partial(open_run, "pretrain", config, NOT_COMPARED, results=RESULTS)
    folder = Path(ranks().from_first(lambda: str(run_in())))
    reader: Any = ranks().first_before_others(
        lambda: source.reader(data, tokenizer, config.seed, ranks().rank, ranks().world)
    )
    assembler = Assembler(tokenizer, text, data.windows, outside=objective.outside)
    model_config = objective.headed(model_config)
    model = WorldModel(assembler.modalities, model_config, torch_generator(config.seed, _MODEL))
    objective.check(model.modalities)
    print(f"model: {Weights.of(model)}")
    state = trainer_config.state(model)
    skipped = folder / ranks().named(SKIPPED)
    loader: Loader[Any] = Loader(reader, source.workers, source.ahead, skipped)
    loader.list_skipped(reader.unreadable())
    observer = Observer(
        HeldOut(reader.held_out, loader.list_skipped),
        assembler,
        objective,
        build(config.samples.sampling, Sampling),
        state,
        config.samples.clips,
        folder / "contact_sheet.png",
        config.seed,
    )

    def export(averaged: WorldModel, step: int, seconds: float) -> None:
        sections = {
            "tokenizer": tokenizer.config(),
            "text": text.config(),
            "windows": asdict(data.windows),
            "training": {
                "steps": step,
                "seconds": round(seconds, 1),
                "data": reader.source,
                "seed": config.seed,
                "arm": objective.arm,
                "precision": state.compute.precision,
            },
            "versions": versions(),
        }
        checkpoint.save(folder / "checkpoint", averaged, sections)

    def operations(batch: Batch) -> float:
        # Every predicted modality has two times; those of the teacher are left out of MFU.
        tokens = {name: each.values.shape[1] for name, each in batch.items()}
        levels = {name: 2 if model.modalities[name].predicted else 1 for name in batch}
        return flops(
            model.config, tuple(model.modalities.values()), tokens, levels, samples_in(batch),
            with_teacher=False, with_head=objective.with_representation,
        ).student  # fmt: skip

    loss = functools.partial(losses, settings=objective)
    trainer = Trainer(
        state, assembler, loss, loader, trainer_config, folder, config.seed,
        observer, export, operations, peak_rate(state.compute.device),
    )  # fmt: skip
    finished = trainer.run()
    print(f"{folder}: {'done' if finished else 'stopped'} after {trainer.step} steps")
    if not finished:
        raise KeyboardInterrupt
    return folder


run = main.run


if __name__ == "__main__":
    main()
