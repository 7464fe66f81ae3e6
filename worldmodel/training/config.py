"""The settings of training, and the state that they make of a model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch

from experiment.errors import UserError
from worldmodel.device import Compute, Precision
from worldmodel.teacher import AnyModel, Teacher
from worldmodel.training.acceleration import accelerate
from worldmodel.training.evaluation import EvaluationConfig
from worldmodel.training.log import check_trackers
from worldmodel.training.muon import Muon
from worldmodel.training.numbered import CheckpointRule
from worldmodel.training.parallel import FSDPModule, Parallel, ranks, spread
from worldmodel.training.state import TrainingState, parameter_groups
from worldmodel.transformer import Checkpointing

# How a run reads, logs and is spread over processes, not what it learns: may differ when it is
# resumed. One that stopped at a damaged record skipped nothing before it, so on_error may as well.
_READING = ("workers", "ahead", "memory", "cache", "download", "decode_once", "on_error")
_RUNNING = ("parallel", "accumulate", "log", "log_every", "save_seconds")
NOT_COMPARED = (
    "out",
    *(f"data.source.{name}" for name in _READING),
    *(f"trainer.{name}" for name in _RUNNING),
)


@dataclass(frozen=True)
class TrainerConfig:
    """`steps` of `optimiser`; the rate warms up over `warmup` steps, then follows `schedule`.

    `muon` takes Muon for the matrices of the blocks and AdamW for all other weights.
    `clip` bounds the norm of the gradient; `ema_decay` and `ema_warmup` are the teacher's; the
    state is saved every `save_seconds`; `observe` is called every `observe_every` steps and at the
    end. `precision` is that of the products in the forward pass (weights, sums and losses are
    always float32); `auto` takes bfloat16 where the processor computes with it, which changes
    results slightly. `compile` and `checkpointing` are those of `accelerate`. `parallel` is how
    several processes share a model, and `accumulate` in how many passes each of them takes its rows
    of a batch; neither changes batches or noise. A `total` beyond `loss_limit` ends the run. `log`
    names trackers beside `log.jsonl`.
    """

    steps: int
    optimiser: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    warmup: int = 200
    schedule: Literal["cosine", "constant"] = "cosine"
    clip: float = 1.0
    ema_decay: float = 0.9999
    ema_warmup: int = 10
    log_every: int = 50
    save_seconds: float = 300.0
    observe_every: int = 1000
    device: str = "auto"
    precision: Precision = "auto"
    compile: bool = False
    checkpointing: Checkpointing = "none"
    parallel: Parallel = "auto"
    accumulate: int = 1
    loss_limit: float = 1e6
    log: Sequence[str] = ("tensorboard",)
    checkpoints: CheckpointRule = field(default_factory=CheckpointRule)
    evaluate: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "observe_every", "accumulate"):
            if getattr(self, name) < 1:
                raise UserError(f"trainer.{name}={getattr(self, name)} must be at least 1.")
        if self.schedule not in ("cosine", "constant"):
            raise UserError(f"trainer.schedule={self.schedule!r} must be cosine or constant.")
        if self.optimiser not in ("adamw", "muon"):
            raise UserError(f"trainer.optimiser={self.optimiser!r} must be adamw or muon.")
        if self.checkpointing not in get_args(Checkpointing):
            raise UserError(
                f"trainer.checkpointing={self.checkpointing!r} must be none, selective or blocks."
            )
        if self.parallel not in get_args(Parallel):
            raise UserError(f"trainer.parallel={self.parallel!r} must be auto, ddp or fsdp.")
        check_trackers(self.log)
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"trainer.ema_decay={self.ema_decay} must lie in [0, 1).")
        if self.ema_warmup < 0:
            raise UserError(f"trainer.ema_warmup={self.ema_warmup} must be 0 (none) or more.")

    def state(self, model: AnyModel) -> TrainingState[AnyModel]:
        """Return `model` on the device, with a teacher and an optimiser."""
        compute = Compute.of(self.device, self.precision, "trainer.")
        model = model.to(compute.device)
        teacher = Teacher(model, self.ema_decay, self.ema_warmup)
        for each in (model, teacher.model):
            accelerate(each, compiled=self.compile, checkpointing=self.checkpointing)
        student, whole = spread(model, teacher.model, self.parallel, compute.device)
        if self.optimiser == "muon" and isinstance(model, FSDPModule):
            raise UserError(
                "trainer.optimiser=muon needs whole weights, which trainer.parallel=fsdp shards: "
                "set trainer.parallel=ddp or trainer.optimiser=adamw."
            )
        # Sharding replaces the weights, so that the optimiser comes after it.
        groups = parameter_groups(
            model, self.weight_decay, self.learning_rate, orthogonal=self.optimiser == "muon"
        )
        if self.optimiser == "muon" and not any(group.get("orthogonal") for group in groups):
            raise UserError(
                f"trainer.optimiser=muon: {type(model).__name__} has no transformer blocks."
            )
        optimiser: torch.optim.Optimizer
        if self.optimiser == "muon":
            optimiser = Muon(groups, betas=self.betas)
        else:
            optimiser = torch.optim.AdamW(groups, betas=self.betas, fused=True)
        return TrainingState(model, teacher, optimiser, compute, student, whole)

    def check_batch(self, size: int) -> None:
        """Raise `UserError` for a batch that processes and passes cannot share out evenly."""
        world = ranks().world
        if size % (world * self.accumulate):
            raise UserError(
                f"data.use.batch_size={size} cannot be shared out among {world} processes with "
                f"trainer.accumulate={self.accumulate}: make it a multiple of "
                f"{world * self.accumulate}."
            )

    def rate(self, step: int) -> float:
        rate = self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup))
        if self.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return rate
