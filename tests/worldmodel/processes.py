"""A program for several processes that train together, and what starts it.

    python -m tests.worldmodel.processes FOLDER ddp|fsdp

Trains the tiny model twice in `FOLDER`: straight on, and stopped by a signal that one process gets.
"""

import dataclasses
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.worldmodel import tiny
from worldmodel.loss import losses
from worldmodel.model import WorldModel
from worldmodel.objective import Objective
from worldmodel.tokens import Batch, Tokens
from worldmodel.training.parallel import joined, own_part, ranks, whole_tensor
from worldmodel.training.trainer import Trainer, TrainerConfig

CONFIG = TrainerConfig(
    steps=6, warmup=3, log_every=2, observe_every=3, device="cpu", log=(), precision="float32"
)
# A modality that is left out of some batches: layers without gradients.
LOSS = functools.partial(losses, settings=Objective(mask_ratio=0.5, dropout={"action": 0.5}))
SIZE = 4


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some rows of the batch of a step."""

    step: int
    first: int
    count: int

    @property
    def instructions(self) -> list[str]:
        return [f"step {self.step}, row {self.first + row}" for row in range(self.count)]

    def to(self, device: torch.device | str) -> "Rows":  # noqa: ARG002
        return self

    def rows(self, chosen: slice) -> "Rows":
        return Rows(self.step, self.first + chosen.start, chosen.stop - chosen.start)


def rows_of(batch: Batch, chosen: slice, size: int = SIZE) -> Batch:
    """Return some rows of a batch of `size`."""

    def cut(tokens: Tokens) -> Tokens:
        values = {field.name: getattr(tokens, field.name) for field in dataclasses.fields(tokens)}
        own: dict[str, Any] = {
            n: t[chosen] for n, t in values.items() if isinstance(t, Tensor) and len(t) == size
        }
        return dataclasses.replace(tokens, **own)

    return {name: cut(tokens) for name, tokens in batch.items()}


def assemble(rows: Rows) -> Batch:
    return rows_of(
        tiny.batch(size=SIZE, seed=rows.step), slice(rows.first, rows.first + rows.count)
    )


def trainer(
    folder: Path, before: Callable[[int], None] = lambda _: None, **changes: Any
) -> Trainer[WorldModel, Rows, Batch]:
    """Return a trainer of the tiny model; `before` is called with each step."""
    config = dataclasses.replace(CONFIG, **changes)
    folder.mkdir(parents=True, exist_ok=True)
    rank, world = ranks().rank, ranks().world

    def windows(step: int) -> Rows:
        before(step)
        return Rows(step, rank * SIZE // world, SIZE // world)

    def observe(model: WorldModel) -> dict[str, float]:
        return {"held_out": next(model.parameters()).sum().item()}

    return Trainer(config.state(tiny.model()), assemble, LOSS, windows, config, folder, 0, observe)


def gradients(made: Trainer[WorldModel, Rows, Batch]) -> dict[str, Tensor]:
    """Return the gradients of the first step, whole."""
    made._gradients(made._windows(0))
    named = made.state.model.named_parameters()
    return {n: whole_tensor(p.grad).clone() for n, p in named if p.grad is not None}


def stopped_at(step: int, now: int) -> None:
    if now == step and ranks().rank == ranks().world - 1:
        os.kill(os.getpid(), signal.SIGTERM)


def start(
    count: int, *arguments: str, module: str = "tests.worldmodel.processes"
) -> list[tuple[int, str, str]]:
    """Run `python -m module` in `count` processes; return code, output and errors of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    begun = []
    for rank in range(count):
        said = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
        said |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
        begun.append(
            subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env={**os.environ, **said},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    ended = [process.communicate(timeout=240) for process in begun]
    return [(p.returncode, *texts) for p, texts in zip(begun, ended, strict=True)]


def main(folder: Path, how: str) -> None:
    first = trainer(folder / "gradients", parallel=how)
    whole = gradients(first)
    straight = trainer(folder / "straight", parallel=how)
    finished = straight.run()
    teacher = straight.state.teacher.model
    broken = trainer(folder / "broken", functools.partial(stopped_at, 2), parallel=how)
    stopped = not broken.run()
    again = trainer(folder / "broken", parallel=how)
    if ranks().first:
        save_file(whole, folder / "gradients.safetensors")
        facts = {
            "finished": finished,
            "stopped": stopped,
            "stopped_after": broken.step,
            "resumed_from": again.step,
            "teacher_gradients": sum(p.grad is not None for p in teacher.parameters()),
            "kind": type(next(teacher.parameters())).__name__,
            "bytes": sum(own_part(t).nbytes for t in straight.state.tensors().values()),
        }
        (folder / "facts.json").write_text(json.dumps(facts))
    again.run()


if __name__ == "__main__":
    with joined():
        main(Path(sys.argv[1]), sys.argv[2])
