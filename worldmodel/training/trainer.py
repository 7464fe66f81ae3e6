"""The training loop: optimiser, learning rate, teacher, log, resume.

All that is random in step i follows from (seed, i), so a run that was stopped and started again
gives the weights of one that was not, bit for bit, on the same machine, thread count and number of
processes; another number of processes has the same batches and the same noise.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from experiment import progress
from experiment.errors import UserError
from experiment.seeding import row_generator
from worldmodel.teacher import AnyModel, Teacher
from worldmodel.training.config import TrainerConfig
from worldmodel.training.evaluation import Evaluations
from worldmodel.training.log import Log
from worldmodel.training.loss_terms import Terms, joined_terms
from worldmodel.training.memory import in_use, out_of_memory
from worldmodel.training.numbered import NumberedCheckpoints
from worldmodel.training.parallel import accumulating, clip, ranks
from worldmodel.training.saved_state import SavedStates
from worldmodel.training.state import TrainingState

__all__ = ["AnyBatch", "Trainer", "TrainerConfig"]


class Readable(Protocol):
    """What a loader yields."""

    @property
    def instructions(self) -> list[str]:
        """One for each sample."""

    def to(self, device: torch.device | str) -> Self:
        """Return it on `device`."""

    def rows(self, chosen: slice) -> Self:
        """Return some of the samples; asked for where gradients are accumulated."""


AnyWindows = TypeVar("AnyWindows", bound=Readable)
AnyBatch = TypeVar("AnyBatch")
Loss = Callable[[AnyModel, Teacher[AnyModel], AnyBatch, torch.Generator], dict[str, Tensor]]


class Trainer(Generic[AnyModel, AnyWindows, AnyBatch]):
    """Trains `state` in the run folder `folder`, resuming from what is saved there.

    `windows(step)` reads the samples of a step, or this process's rows of them; `assemble(windows)`
    makes the batch on the device. `loss(model, teacher, batch, generator)` returns named scalars,
    `total` is minimised and a `tokens` count gives tokens/s. `observe(averaged model)` returns
    numbers for the log; `export(averaged model, step, seconds)` writes the folder `checkpoint`
    whenever the state is saved; both are called in the first process alone. Writes `state/`,
    `log.jsonl`, `curves.png`, `checkpoints/` and what the trackers write. `flops(batch)` are the
    operations of a step on a batch, `peak` those of the device in a second: for MFU.
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
        flops: Callable[[AnyBatch], float] | None = None,
        peak: float | None = None,
    ) -> None:
        self.state, self.config, self.folder, self.seed = state, config, folder, seed
        self.compute = state.compute
        self._assemble, self._loss, self._windows = assemble, loss, windows
        self._observe, self._export = observe, export
        self._flops, self._peak = flops, peak
        self._ranks = ranks()
        self._states = SavedStates(folder, self._ranks)
        self._numbered = NumberedCheckpoints(folder, config.checkpoints)
        self._terms = Terms(folder, seed, self._ranks, config.loss_limit)
        self._evaluations = Evaluations(folder, config.evaluate)
        self._exported, self._done = -1, 0.0
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
        saved, total, first = time.monotonic(), self.config.steps, self._ranks.first
        with contextlib.ExitStack() as stack:
            stack.enter_context(_stop_at_signals(self._ask_to_stop))
            stack.callback(self._close)
            bar = stack.enter_context(
                progress.bar(
                    desc="training",
                    unit="step",
                    total=total,
                    initial=self.step,
                    disable=not first,
                )
            )
            stop = self._stop
            while not self.finished and not stop:
                self.advance()
                bar.update()
                if self.step % self.config.log_every == 0 or self.finished:
                    bar.set_postfix(self._write_log(), refresh=False)
                if self.step % self.config.observe_every == 0 or self.finished:
                    self._observed()
                late = first and time.monotonic() - saved > self.config.save_seconds
                stop, due = self._ranks.agreed(self._stop, late)
                if due or stop or self.finished:
                    self._save(wait=stop or self.finished)
                    saved = time.monotonic()
                self._number()
                self._read_evaluations()
            if self.finished:
                self._states.wait()
                for step, figures in self._evaluations.wait(lambda: self._stop):
                    self._evaluated(step, figures)
        return self.finished

    def advance(self) -> None:
        """Take one step of the optimiser."""
        begun = time.monotonic()
        state, config = self.state, self.config
        windows = self._ranks.together(lambda: self._windows(self.step))
        waited = time.monotonic() - begun
        try:
            terms = self._gradients(windows)
        except torch.OutOfMemoryError as error:
            raise out_of_memory(state, config, len(windows.instructions), self._ranks) from error
        norm = clip(list(state.model.parameters()), config.clip)
        for group in state.optimiser.param_groups:
            group["lr"] = config.rate(self.step)
        state.optimiser.step()
        state.teacher.update(state.model, self.step)
        state.agree()
        self._terms.add(self.step, windows.instructions, terms | {"gradient_norm": norm})
        state.step += 1
        seconds = time.monotonic() - begun
        state.seconds += seconds
        samples = len(windows.instructions) * self._ranks.world
        self._terms.count("samples_per_second", samples, seconds)
        self._terms.count("data_wait", waited, seconds)
        if self._peak:
            self._terms.count("mfu", self._done / self._peak, seconds)
            self._done = 0.0

    def _gradients(self, windows: AnyWindows) -> dict[str, Tensor]:
        """Add up the gradients of this process's rows in `accumulate` passes; return the terms."""
        state, passes = self.state, self.config.accumulate
        size, rest = divmod(len(windows.instructions), passes)
        if rest:
            raise UserError(
                f"trainer.accumulate={passes} does not divide the {len(windows.instructions)} "
                "windows of a process evenly: change data.use.batch_size or trainer.accumulate."
            )
        parts, device = self._ranks.world * passes, self.compute.device
        state.optimiser.zero_grad()
        terms: list[dict[str, Tensor]] = []
        for turn in range(passes):
            rows = windows.rows(slice(turn * size, (turn + 1) * size)) if passes > 1 else windows
            part = self._ranks.rank * passes + turn
            generator = row_generator(part, parts, self.seed, self.step, device=device)
            batch = self._assemble(rows.to(device))
            with accumulating(state.student, last=turn == passes - 1):
                with self.compute.autocast():
                    terms.append(self._loss(state.student, state.teacher, batch, generator))
                (terms[-1]["total"] / passes).backward()
            if self._flops is not None and self._peak:
                self._done += self._flops(batch)
        return joined_terms(terms)

    def save(self) -> None:
        """Write the state, the curves and, through `export`, a checkpoint.

        Raises `UserError` instead of replacing a good state by one that is not finite.
        """
        self._save(wait=True)

    def _save(self, wait: bool) -> None:
        self._terms.collect()
        self._ranks.together(self._check_finite)
        progress = {
            "step": self.step,
            "seconds": self.state.seconds,
            "sums": self._terms.sums,
            "world": self._ranks.world,
        }
        self._states.save(self.step, self.state.tensors(), progress)
        if wait:
            self._states.wait()
        self._in_first(lambda: self._log.draw())
        self._write_checkpoint()

    def _check_finite(self) -> None:
        broken = self.state.not_finite()
        if broken is not None:
            raise UserError(
                f"{broken} is no longer finite at step {self.step}: the last good state is kept in "
                f"{self.folder}; lower trainer.learning_rate and start a new run."
            )

    def _write_checkpoint(self) -> None:
        """Export the averaged model, once a step."""
        export = self._export
        if export is None or self._exported == self.step:
            return
        averaged = self.state.averaged()
        self._in_first(lambda: export(averaged, self.step, self.state.seconds))
        self._exported = self.step

    def _number(self) -> None:
        """Keep the checkpoint of this step, and evaluate it, where that is due."""
        rule, evaluate = self.config.checkpoints, self.config.evaluate
        evaluated = bool(evaluate.every) and (self.step % evaluate.every == 0 or self.finished)
        if self._export is None:
            return
        if not evaluated and not (rule.every and (self.step % rule.every == 0 or self.finished)):
            return
        self._terms.collect()
        self._ranks.together(self._check_finite)
        self._write_checkpoint()

        def keep() -> None:
            path = self._numbered.keep(self.step)
            if evaluated:
                self._evaluations.add(self.step, path)
            self._delete_checkpoints()

        self._in_first(keep)

    def _delete_checkpoints(self) -> None:
        figure = self.config.checkpoints.best_by
        figures = self._log.figures(figure) if figure else {}
        self._numbered.delete_others(figures, self._evaluations.steps)

    def _read_evaluations(self) -> None:
        if self._ranks.first:
            for step, figures in self._evaluations.finished():
                self._evaluated(step, figures)

    def _evaluated(self, step: int, figures: Mapping[str, float]) -> None:
        if figures:
            self._log.write(step, figures)
        self._delete_checkpoints()
        self._log.draw()

    def _write_log(self) -> dict[str, float]:
        """Write the means since the last record; return those worth showing."""
        self._terms.collect()
        means = self._terms.means()
        span = 1 / (1 - self.state.teacher.decay_at(self.step - 1))
        rate = self.config.rate(self.step - 1)
        figures = {"seconds": self.state.seconds, "learning_rate": rate, "ema_span": span}
        record = figures | means | {"memory_gb": in_use(self.compute.device) / 1e9}
        self._in_first(lambda: self._log.write(self.step, record))
        return {name: means[name] for name in ("total", "excess_cosine") if name in means}

    def _observed(self) -> None:
        observe = self._observe
        if observe is not None:
            averaged = self.state.averaged()
            self._in_first(lambda: self._log.write(self.step, observe(averaged)))

    def _in_first(self, action: Callable[[], None]) -> None:
        """Let the first process act for all; what it cannot do ends all."""
        self._ranks.together(lambda: action() if self._ranks.first else None)

    def _resume(self) -> None:
        if (self.folder / "state.safetensors").exists() and self._states.newest() is None:
            raise UserError(
                f"{self.folder} holds the state.safetensors of an earlier version, which is not "
                "read any more: give another out=FOLDER."
            )
        progress = self._ranks.together(lambda: self._states.read(self.state))
        if progress is not None:
            self._terms.sums = {name: list(sums) for name, sums in progress["sums"].items()}

        def begin() -> None:
            self._log = Log(self.folder, self.config.log, self.step)

        self._in_first(begin)

    def _close(self) -> None:
        """End what runs beside training; the state that is being written is not left half."""
        self._evaluations.close()
        with contextlib.suppress(UserError):
            self._states.wait()
        if self._ranks.first:
            self._log.close()

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
