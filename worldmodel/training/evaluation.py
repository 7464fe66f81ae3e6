"""Evaluation during training: commands on numbered checkpoints, in a process of their own."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiment import processes
from experiment.errors import UserError, nearest

FOLDER = "evaluations"
_LOOK_SECONDS = 0.5
_FIELDS = ("module", "settings", "figures")


@dataclass(frozen=True)
class EvaluationConfig:
    """Commands that look at a checkpoint every so many steps (0: never).

    `commands` by name: `module` is run as `python -m module checkpoint=FOLDER out=FOLDER
    *settings`, and the numbers in the JSON file `figures` of its folder go to the log as
    `name/number`.
    """

    every: int = 0
    commands: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.every < 0:
            raise UserError(f"trainer.evaluate.every={self.every} must not be negative.")
        if self.every and not self.commands:
            raise UserError("trainer.evaluate.every is set, but its commands are empty.")
        for name, command in self.commands.items():
            for key in command:
                if key not in _FIELDS:
                    raise UserError(
                        f"trainer.evaluate.commands.{name}: unknown setting {key!r}."
                        f"{nearest(key, _FIELDS)}"
                    )
            if "module" not in command or "figures" not in command:
                raise UserError(
                    f"trainer.evaluate.commands.{name} needs module, such as policies.eval, and "
                    "figures, such as summary.json."
                )


@dataclass(frozen=True)
class _Job:
    name: str
    step: int
    checkpoint: Path
    out: Path


class Evaluations:
    """Runs the commands one after another; a checkpoint that would wait gives way to a newer one.

    Training does not wait. What a command prints is in `output.txt` of its folder.
    """

    def __init__(self, folder: Path, config: EvaluationConfig) -> None:
        self._folder, self._config = folder / FOLDER, config
        self._waiting: list[_Job] = []
        self._running: tuple[_Job, subprocess.Popen[bytes]] | None = None

    @property
    def steps(self) -> set[int]:
        """The steps whose checkpoints are in use."""
        running = [self._running[0]] if self._running else []
        return {job.step for job in (*self._waiting, *running)}

    def add(self, step: int, checkpoint: Path) -> None:
        """Evaluate a checkpoint as soon as the processor is free of another one."""
        running = self._running[0].step if self._running else None
        self._waiting = [job for job in self._waiting if job.step == running]
        self._waiting += [
            _Job(name, step, checkpoint, self._folder / f"{step:08d}" / name)
            for name in self._config.commands
        ]
        self._start()

    def finished(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield step and figures of each command that has ended since the last call."""
        while self._running is not None and self._running[1].poll() is not None:
            job, process = self._running
            self._running = None
            self._start()
            yield job.step, self._figures(job, process.returncode)

    def wait(self, stopped: Callable[[], bool]) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield as `finished` does, until nothing is left to run or it is `stopped`."""
        while self._running is not None and not stopped():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._running[1].wait(_LOOK_SECONDS)
            yield from self.finished()

    def close(self) -> None:
        """End what runs."""
        self._waiting = []
        if self._running is not None:
            _, process = self._running
            self._running = None
            processes.end(process)

    def _start(self) -> None:
        if self._running is not None or not self._waiting:
            return
        job = self._waiting.pop(0)
        command = self._config.commands[job.name]
        job.out.mkdir(parents=True, exist_ok=True)
        output = job.out.parent / f"{job.name}.txt"
        settings = [f"checkpoint={job.checkpoint}", f"out={job.out}", *_settings(command)]
        with output.open("wb") as file:
            process = processes.start(
                command["module"], settings, stdout=file, stderr=subprocess.STDOUT, env=_alone()
            )
        self._running = (job, process)

    def _figures(self, job: _Job, code: int) -> dict[str, float]:
        """Return the numbers that a command wrote; a failed one is named, and training goes on."""
        path = job.out / str(self._config.commands[job.name]["figures"])
        try:
            if code:
                raise ValueError(f"it ended with code {code}")
            values = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            output = job.out.parent / f"{job.name}.txt"
            print(
                f"evaluation {job.name} of step {job.step}: {error}; see {output}", file=sys.stderr
            )
            return {}
        return dict(_numbers(values, job.name))


def _settings(command: Mapping[str, Any]) -> Sequence[str]:
    return [str(setting) for setting in command.get("settings") or ()]


def _alone() -> dict[str, str]:
    """Return the environment without what `torchrun` said to this process."""
    said = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {n: v for n, v in os.environ.items() if n not in said and "TORCHELASTIC" not in n}


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{name}/{key}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)
