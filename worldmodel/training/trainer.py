"""The training loop: optimiser, learning rate, teacher, log, resume.

All that is random in step i follows from (seed, i), so a run that was stopped and started again
gives the weights of one that was not, bit for bit, on the same machine and thread count.
"""

import contextlib
import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, Self, TypeVar, get_args

import torch
from torch import Tensor, nn
from tqdm import tqdm

from experiment.errors import UserError
from experiment.files import append_record, read_records, write_bytes
from experiment.seeding import torch_generator
from worldmodel.device import Compute, Precision
from worldmodel.teacher import AnyModel, Teacher
from worldmodel.training.acceleration import accelerate
from worldmodel.training.checkpoint import read_tensors, write_tensors
from worldmodel.training.curves import draw
from worldmodel.training.state import TrainingState, parameter_groups
from worldmodel.transformer import Checkpointing

BROKEN = "broken_batch.json"


class Readable(Protocol):
    """What a loader yields."""

    @property
    def instructions(self) -> list[str]:
        """One for each sample."""

    def to(self, device: torch.device | str) -> Self:
        """Return it on `device`."""


AnyWindows = TypeVar("AnyWindows", bound=Readable)
AnyBatch = TypeVar("AnyBatch")
Loss = Callable[[AnyModel, Teacher[AnyModel], AnyBatch, torch.Generator], dict[str, Tensor]]


@dataclass(frozen=True)
class TrainerConfig:
    """`steps` of AdamW; the rate warms up over `warmup` steps, then follows `schedule`.

    `clip` bounds the norm of the gradient; `ema_decay` and `ema_warmup` are the teacher's; the
    state is saved every `save_seconds`; `observe` is called every `observe_every` steps and at the
    end. `precision` is that of the products in the forward pass (weights, sums and losses are
    always float32); `auto` takes bfloat16 where the processor computes with it, which changes
    results slightly. `compile` and `checkpointing` are those of `accelerate`.
    """

    steps: int
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

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "observe_every"):
            if getattr(self, name) < 1:
                raise UserError(f"trainer.{name}={getattr(self, name)} must be at least 1.")
        if self.schedule not in ("cosine", "constant"):
            raise UserError(f"trainer.schedule={self.schedule!r} must be cosine or constant.")
        if self.checkpointing not in get_args(Checkpointing):
            raise UserError(
                f"trainer.checkpointing={self.checkpointing!r} must be none, selective or blocks."
            )
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"trainer.ema_decay={self.ema_decay} must lie in [0, 1).")
        if self.ema_warmup < 0:
            raise UserError(f"trainer.ema_warmup={self.ema_warmup} must be 0 (none) or more.")

    def state(self, model: AnyModel) -> TrainingState[AnyModel]:
        """Return `model` on the device, with a teacher and an optimiser."""
        compute = Compute.of(self.device, self.precision, "trainer.")
        model = model.to(compute.device)
        groups = parameter_groups(model, self.weight_decay, self.learning_rate)
        teacher = Teacher(model, self.ema_decay, self.ema_warmup)
        for each in (model, teacher.model):
            accelerate(each, compiled=self.compile, checkpointing=self.checkpointing)
        return TrainingState(
            model,
            teacher,
            torch.optim.AdamW(groups, betas=self.betas, fused=True),
            compute,
        )

    def rate(self, step: int) -> float:
        rate = self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup))
        if self.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return rate


class Trainer(Generic[AnyModel, AnyWindows, AnyBatch]):
    """Trains `state` in the run folder `folder`, resuming from what is saved there.

    `windows(step)` reads the samples of a step, `assemble(windows)` makes the batch on the device.
    `loss(model, teacher, batch, generator)` returns named scalars, `total` is minimised and
    a `tokens` count gives tokens/s. `observe(teacher's model)` returns numbers for the log;
    `export(teacher's model, step, seconds)` writes a checkpoint whenever the state is saved. Writes
    `log.jsonl`, `curves.png`, `state.safetensors`.
    """

    def __init__(
        self,
        state: TrainingState[AnyModel],
        assemble: Callable[[AnyWindows], AnyBatch],
        loss: Loss[AnyModel, AnyBatch],
        windows: Callable[[int], AnyWindows],
        config: TrainerConfig,
        folder: Path,
        seed: int,
        observe: Callable[[AnyModel], Mapping[str, float]] | None = None,
        export: Callable[[AnyModel, int, float], None] | None = None,
    ) -> None:
        self.state, self.config, self.folder, self.seed = state, config, folder, seed
        self.compute = state.compute
        self._assemble, self._loss, self._windows = assemble, loss, windows
        self._observe, self._export = observe, export
        self._sums: dict[str, list[float]] = {}
        self._pending: list[tuple[int, list[str], dict[str, Tensor]]] = []
        self._stop = False
        self._resume()

    @property
    def step(self) -> int:
        return self.state.step

    @property
    def finished(self) -> bool:
        return self.step >= self.config.steps

    def run(self) -> bool:
        """Train to the last step, or save and return False at SIGINT or SIGTERM."""
        saved = time.monotonic()
        total = self.config.steps
        with _stop_at_signals(self._ask_to_stop), tqdm(total=total, initial=self.step) as bar:
            while not self.finished and not self._stop:
                self.advance()
                bar.update()
                if self.step % self.config.log_every == 0 or self.finished:
                    bar.set_postfix(self._log())
                if self.step % self.config.observe_every == 0 or self.finished:
                    self._observed()
                due = time.monotonic() - saved > self.config.save_seconds
                if due or self._stop or self.finished:
                    self.save()
                    saved = time.monotonic()
        return self.finished

    def advance(self) -> None:
        begun = time.monotonic()
        state, config = self.state, self.config
        generator = torch_generator(self.seed, self.step, device=self.compute.device)
        windows = self._windows(self.step)
        batch = self._assemble(windows.to(self.compute.device))
        with self.compute.autocast():
            terms = self._loss(state.model, state.teacher, batch, generator)
        state.optimiser.zero_grad()
        terms["total"].backward()
        norm = nn.utils.clip_grad_norm_(state.model.parameters(), config.clip)
        for group in state.optimiser.param_groups:
            group["lr"] = config.rate(self.step)
        state.optimiser.step()
        state.teacher.update(state.model, self.step)
        terms = {name: term.detach() for name, term in terms.items()} | {"gradient_norm": norm}
        self._pending.append((self.step, windows.instructions, terms))
        state.step += 1
        seconds = time.monotonic() - begun
        state.seconds += seconds
        self._count("samples_per_second", len(windows.instructions), seconds)

    def save(self) -> None:
        """Write the state, the curves and, through `export`, a checkpoint.

        Raises `UserError` instead of replacing a good state by one that is not finite.
        """
        self._collect()
        broken = self.state.not_finite()
        if broken is not None:
            raise UserError(
                f"{broken} is no longer finite at step {self.step}: the last good state is kept in "
                f"{self.folder}; lower trainer.learning_rate and start a new run."
            )
        progress = {"step": self.step, "seconds": self.state.seconds, "sums": self._sums}
        path = self.folder / "state.safetensors"
        write_tensors(path, self.state.tensors(), {"progress": json.dumps(progress)})
        draw(self.folder / "log.jsonl", self.folder / "curves.png")
        if self._export is not None:
            self._export(self.state.teacher.model, self.step, self.state.seconds)

    def _count(self, name: str, value: float, weight: float) -> None:
        sums = self._sums.setdefault(name, [0.0, 0.0])
        sums[0] += value
        sums[1] += weight

    def _collect(self) -> None:
        # Reading a number off a GPU waits for it, so it is done once for many steps.
        for step, instructions, terms in self._pending:
            values = {name: term.item() for name, term in terms.items()}
            if not all(math.isfinite(value) for value in values.values()):
                raise self._not_finite(step, instructions, values)
            for name, value in values.items():
                self._count(name, value, 1.0)
        self._pending = []

    def _not_finite(
        self, step: int, instructions: list[str], values: Mapping[str, float]
    ) -> UserError:
        path = self.folder / BROKEN
        named = {name: repr(value) for name, value in values.items()}
        record = {"step": step, "seed": self.seed, "terms": named, "instructions": instructions}
        write_bytes(path, json.dumps(record, indent=2).encode() + b"\n")
        name = next(name for name, value in values.items() if not math.isfinite(value))
        return UserError(
            f"{name} is not finite in step {step}, whose batch {path} names: look at those samples "
            "or lower trainer.learning_rate, and start a new run."
        )

    def _log(self) -> dict[str, float]:
        """Append the means since the last record to `log.jsonl`; return those worth showing."""
        self._collect()
        means = {name: total / count for name, (total, count) in self._sums.items()}
        if "tokens" in means:
            seconds = self._sums["samples_per_second"][1]
            means["tokens_per_second"] = self._sums["tokens"][0] / seconds
        self._sums = {}
        span = 1 / (1 - self.state.teacher.decay_at(self.step - 1))
        rate = self.config.rate(self.step - 1)
        record = {"step": self.step, "seconds": self.state.seconds, "learning_rate": rate}
        append_record(self.folder / "log.jsonl", record | {"ema_span": span} | means)
        return {name: means[name] for name in ("total", "cosine") if name in means}

    def _observed(self) -> None:
        if self._observe is not None:
            record = {"step": self.step} | dict(self._observe(self.state.teacher.model))
            append_record(self.folder / "log.jsonl", record)

    def _resume(self) -> None:
        path = self.folder / "state.safetensors"
        log = self.folder / "log.jsonl"
        if path.exists():
            tensors, metadata = read_tensors(path)
            try:
                progress: dict[str, Any] = json.loads(metadata["progress"])
                self.state.restore(tensors, int(progress["step"]), float(progress["seconds"]))
                self._sums = {name: list(sums) for name, sums in progress["sums"].items()}
            except (KeyError, ValueError, RuntimeError) as error:
                raise UserError(
                    f"{path} does not fit this run ({str(error).splitlines()[0]}): give another "
                    "out=FOLDER."
                ) from error
        # What was logged after the last save will be logged again.
        kept = [record for record in read_records(log) if record.get("step", 0) <= self.step]
        write_bytes(log, b"".join(json.dumps(record).encode() + b"\n" for record in kept))

    def _ask_to_stop(self) -> None:
        self._stop = True


@contextlib.contextmanager
def _stop_at_signals(ask: Callable[[], None]) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a call of `ask` for the time of the block."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {s: signal.signal(s, lambda *_: ask()) for s in signals}
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
