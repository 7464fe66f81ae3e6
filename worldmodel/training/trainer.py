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
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from experiment.errors import UserError
from experiment.files import write_bytes
from experiment.seeding import torch_generator
from worldmodel.teacher import AnyModel, Teacher
from worldmodel.training.checkpoint import read_tensors, write_tensors
from worldmodel.training.curves import draw, read_log


class Trainable(Protocol):
    """What a batch must offer."""

    @property
    def samples(self) -> int:
        """Return the number of samples."""

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on `device`."""


AnyBatch = TypeVar("AnyBatch", bound=Trainable)
Loss = Callable[[AnyModel, Teacher[AnyModel], AnyBatch, torch.Generator], dict[str, Tensor]]


@dataclass(frozen=True)
class TrainerConfig:
    """`steps` of AdamW; the rate warms up over `warmup` steps, then follows `schedule`.

    `clip` bounds the norm of the gradient; `ema_decay` is the teacher's; the state is saved every
    `save_seconds`; `observe` is called every `observe_every` steps and at the end. `precision` is
    that of the products in the forward pass (weights, sums and losses are always float32); `auto`
    takes bfloat16 where the processor computes with it, which changes results slightly.
    """

    steps: int
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    warmup: int = 200
    schedule: Literal["cosine", "constant"] = "cosine"
    clip: float = 1.0
    ema_decay: float = 0.9999
    log_every: int = 50
    save_seconds: float = 300.0
    observe_every: int = 1000
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "observe_every"):
            if getattr(self, name) < 1:
                raise UserError(f"trainer.{name}={getattr(self, name)} must be at least 1.")
        if self.schedule not in ("cosine", "constant"):
            raise UserError(f"trainer.schedule={self.schedule!r} must be cosine or constant.")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise UserError(
                f"trainer.precision={self.precision!r} must be auto, float32 or bfloat16."
            )
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"trainer.ema_decay={self.ema_decay} must lie in [0, 1).")

    def rate(self, step: int) -> float:
        """Return the learning rate of step number `step`, counted from 0."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup))
        if self.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return rate


class Trainer(Generic[AnyModel, AnyBatch]):
    """Trains `model` in the run folder `folder`, going on from a state found there.

    `loss(model, teacher, batch, generator)` returns named scalars, `total` is minimised and a
    `tokens` count gives tokens/s; `batch(step)` makes the batch of a step. `observe(teacher's
    model)` returns numbers for the log; `export(teacher's model, step, seconds)` writes a
    checkpoint whenever the state is saved. Writes `log.jsonl`, `curves.png`, `state.safetensors`.
    """

    def __init__(
        self,
        model: AnyModel,
        loss: Loss[AnyModel, AnyBatch],
        batch: Callable[[int], AnyBatch],
        config: TrainerConfig,
        folder: Path,
        seed: int,
        observe: Callable[[AnyModel], Mapping[str, float]] | None = None,
        export: Callable[[AnyModel, int, float], None] | None = None,
    ) -> None:
        self.config, self.folder, self.seed = config, folder, seed
        self.device = _device(config.device)
        self.precision = config.precision
        if config.precision == "auto":
            self.precision = "bfloat16" if _computes_bfloat16(self.device) else "float32"
        self.model = model.to(self.device)
        self.teacher = Teacher(self.model, config.ema_decay)
        self.step, self.seconds = 0, 0.0
        self._loss, self._batch, self._observe, self._export = loss, batch, observe, export
        self._optimiser = torch.optim.AdamW(_groups(model, config), betas=config.betas, fused=True)
        self._sums: dict[str, list[float]] = {}
        self._pending: list[dict[str, Tensor]] = []
        self._stop = False
        self._resume()

    @property
    def finished(self) -> bool:
        """Return whether all steps are done."""
        return self.step >= self.config.steps

    def run(self) -> bool:
        """Train to the last step, or save and return False at SIGINT or SIGTERM."""
        saved = time.monotonic()
        total = self.config.steps
        with _stop_at_signals(self._ask_to_stop), tqdm(total=total, initial=self.step) as bar:
            while not self.finished and not self._stop:
                begun = time.monotonic()
                samples = self.advance()
                self._count("samples_per_second", samples, time.monotonic() - begun)
                self.seconds += time.monotonic() - begun
                self.step += 1
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

    def advance(self) -> int:
        """Train on the batch of step `step`, without counting it; return its number of samples."""
        generator = torch_generator(self.seed, self.step)
        batch = self._batch(self.step).to(self.device)
        low = self.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            parts = self._loss(self.model, self.teacher, batch, generator)
        self._optimiser.zero_grad()
        parts["total"].backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        rate = self.config.rate(self.step)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self.teacher.update(self.model, self.step)
        self._pending.append({n: p.detach() for n, p in parts.items()} | {"gradient_norm": norm})
        return batch.samples

    def save(self) -> None:
        """Write the state, the curves and, through `export`, a checkpoint."""
        self._collect()
        tensors = {f"model/{n}": t for n, t in self.model.state_dict().items()}
        tensors |= {f"teacher/{n}": t for n, t in self.teacher.model.state_dict().items()}
        for number, values in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{number}/{name}": t for name, t in values.items()}
        progress = {"step": self.step, "seconds": self.seconds, "sums": self._sums}
        path = self.folder / "state.safetensors"
        write_tensors(path, tensors, {"progress": json.dumps(progress)})
        draw(self.folder / "log.jsonl", self.folder / "curves.png")
        if self._export is not None:
            self._export(self.teacher.model, self.step, self.seconds)

    def _count(self, name: str, value: float, weight: float) -> None:
        sums = self._sums.setdefault(name, [0.0, 0.0])
        sums[0] += value
        sums[1] += weight

    def _collect(self) -> None:
        # Reading a number off a GPU waits for it, so it is done once for many steps.
        for parts in self._pending:
            for name, part in parts.items():
                self._count(name, part.item(), 1.0)
        self._pending = []

    def _log(self) -> dict[str, float]:
        """Append the means since the last record to `log.jsonl`; return those worth showing."""
        self._collect()
        means = {name: total / count for name, (total, count) in self._sums.items()}
        if "tokens" in means:
            seconds = self._sums["samples_per_second"][1]
            means["tokens_per_second"] = self._sums["tokens"][0] / seconds
        self._sums = {}
        if not math.isfinite(means["total"]):
            raise UserError(
                f"the loss is no longer finite at step {self.step}: "
                "lower trainer.learning_rate and start a new run."
            )
        rate = self.config.rate(self.step - 1)
        self._append({"step": self.step, "seconds": self.seconds, "learning_rate": rate} | means)
        return {name: means[name] for name in ("total", "cosine") if name in means}

    def _observed(self) -> None:
        if self._observe is not None:
            self._append({"step": self.step} | dict(self._observe(self.teacher.model)))

    def _append(self, record: Mapping[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    def _resume(self) -> None:
        path = self.folder / "state.safetensors"
        log = self.folder / "log.jsonl"
        if path.exists():
            tensors, metadata = read_tensors(path)
            try:
                self._restore(tensors, json.loads(metadata["progress"]))
            except (KeyError, ValueError, RuntimeError) as error:
                raise UserError(
                    f"{path} does not fit this run ({error}): give another out=FOLDER."
                ) from error
        # What was logged after the last save will be logged again.
        kept = [record for record in read_log(log) if record["step"] <= self.step]
        write_bytes(log, b"".join(json.dumps(record).encode() + b"\n" for record in kept))

    def _restore(self, tensors: Mapping[str, Tensor], progress: Mapping[str, Any]) -> None:
        def part(name: str) -> dict[str, Tensor]:
            start = f"{name}/"
            return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}

        self.model.load_state_dict(part("model"))
        self.teacher.model.load_state_dict(part("teacher"))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in part("optimiser").items():
            number, key = name.split("/")
            state.setdefault(int(number), {})[key] = tensor
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": state, "param_groups": groups})
        self.step, self.seconds = int(progress["step"]), float(progress["seconds"])
        self._sums = {name: list(sums) for name, sums in progress["sums"].items()}

    def _ask_to_stop(self) -> None:
        self._stop = True


def _groups(model: nn.Module, config: TrainerConfig) -> list[dict[str, Any]]:
    # Weight decay pulls matrices only: biases and scales have no reason to be small.
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": config.weight_decay, "lr": config.learning_rate},
        {"params": others, "weight_decay": 0.0, "lr": config.learning_rate},
    ]


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"trainer.device={name!r} is not usable here: take cpu or auto.") from error


def _computes_bfloat16(device: torch.device) -> bool:
    """Return whether products in bfloat16 are faster than in float32 (elsewhere: far slower)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    facts = Path("/proc/cpuinfo")
    flags = facts.read_text().split() if facts.exists() else []
    return "avx512_bf16" in flags or "amx_bf16" in flags


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
