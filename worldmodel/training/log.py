"""The log of a run: `log.jsonl`, its curves, and the trackers that people look at.

`log.jsonl` is what everything else is drawn from; after a kill it is cut back to the saved step.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from experiment.errors import UserError, nearest
from experiment.files import append_record, read_records, write_bytes
from worldmodel.training.curves import draw

FILE, CURVES = "log.jsonl", "curves.png"
_PROJECT = "self-flow-robotics"


class Tracker(Protocol):
    """Where figures are shown."""

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Show the figures of a step."""

    def flush(self) -> None:
        """Hand over what was written."""

    def close(self) -> None:
        """Hand over what was written; nothing more will be."""


class TensorBoard:
    """Event files under `tensorboard/`, through tensorboardX."""

    def __init__(self, folder: Path, first: int) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=first)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A run of Weights & Biases; `WANDB_MODE=offline` keeps it on this machine."""

    def __init__(self, folder: Path, first: int) -> None:  # noqa: ARG002
        import wandb

        # The same folder is the same run, under the name that a user knows it by.
        run = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self._run: Any = wandb.init(
            project=_PROJECT, name=folder.name, id=run, dir=str(folder), resume="allow"
        )
        # Figures of evaluations come after those of later steps, which its own count refuses.
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log({**figures, "step": step})

    def flush(self) -> None:
        """It sends by itself."""

    def close(self) -> None:
        self._run.finish()


class Trackio:
    """A run of trackio, on this machine unless its own variables say otherwise."""

    def __init__(self, folder: Path, first: int) -> None:  # noqa: ARG002
        import trackio

        self._module: Any = trackio
        trackio.init(project=_PROJECT, name=folder.name, resume="allow")

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        self._module.log(dict(figures), step=step)

    def flush(self) -> None:
        """It sends by itself."""

    def close(self) -> None:
        self._module.finish()


TRACKERS: Mapping[str, Callable[[Path, int], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
}


def check_trackers(names: Sequence[str]) -> None:
    """Raise `UserError` for an unknown name."""
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"trainer.log: unknown tracker {name!r}.{nearest(name, TRACKERS)}")


class Log:
    """The log of the run in `folder`, from `step` on: later records will be written again."""

    def __init__(self, folder: Path, trackers: Sequence[str], step: int) -> None:
        """Raises `UserError` for a tracker that is not installed."""
        self._folder, self._trackers = folder, list[Tracker]()
        kept = [record for record in read_records(folder / FILE) if record.get("step", 0) <= step]
        lines = b"".join(json.dumps(record).encode() + b"\n" for record in kept)
        write_bytes(folder / FILE, lines)
        for name in trackers:
            try:
                self._trackers.append(TRACKERS[name](folder, step + 1))
            except ImportError as error:
                raise UserError(
                    f"trainer.log names {name}, which is not installed: pip install {error.name}, "
                    "or leave it out."
                ) from error

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Append the figures of a step everywhere; what is not finite is left out of trackers."""
        append_record(self._folder / FILE, {"step": step} | dict(figures))
        shown = {n: float(v) for n, v in figures.items() if v is not None and math.isfinite(v)}
        for tracker in self._trackers:
            tracker.write(step, shown)

    def figures(self, name: str) -> dict[int, float]:
        """Return the last value of a figure by step."""
        records = read_records(self._folder / FILE)
        return {r["step"]: r[name] for r in records if r.get(name) is not None}

    def draw(self) -> None:
        """Draw `curves.png`, and hand over what trackers have not written yet."""
        draw(self._folder / FILE, self._folder / CURVES)
        for tracker in self._trackers:
            tracker.flush()

    def close(self) -> None:
        for tracker in self._trackers:
            tracker.close()
        self._trackers = []
