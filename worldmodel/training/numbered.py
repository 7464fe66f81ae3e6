"""Checkpoints by step: which are made, and which are kept."""

import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiment.errors import UserError
from experiment.files import disk_error

FOLDER, NEWEST = "checkpoints", "checkpoint"


@dataclass(frozen=True)
class CheckpointRule:
    """A checkpoint every so many steps (0: none), `checkpoints/<step>/`.

    Kept are the last `keep_last`, those at multiples of `keep_every` steps (0: none of them) and
    the one whose figure `best_by` in the log is the `best`.
    """

    every: int = 0
    keep_last: int = 2
    keep_every: int = 0
    best_by: str | None = None
    best: Literal["lowest", "highest"] = "lowest"

    def __post_init__(self) -> None:
        if min(self.every, self.keep_every) < 0 or self.keep_last < 1:
            raise UserError(
                "trainer.checkpoints: every and keep_every must not be negative, keep_last must be "
                "at least 1."
            )
        if self.best not in ("lowest", "highest"):
            raise UserError(f"trainer.checkpoints.best={self.best!r} must be lowest or highest.")

    def kept(self, steps: Collection[int], figures: Mapping[int, float]) -> set[int]:
        """Return which of the `steps` are kept, given the figure `best_by` of some."""
        kept = set(sorted(steps)[-self.keep_last :])
        if self.keep_every:
            kept |= {step for step in steps if step % self.keep_every == 0}
        known = [step for step in steps if step in figures]
        if known:
            # Of equals, the earliest.
            sign = 1 if self.best == "lowest" else -1
            kept.add(min(known, key=lambda step: (sign * figures[step], step)))
        return kept


class NumberedCheckpoints:
    """The folder `checkpoints/` of a run."""

    def __init__(self, folder: Path, rule: CheckpointRule) -> None:
        self._newest, self._folder, self._rule = folder / NEWEST, folder / FOLDER, rule

    def steps(self) -> list[int]:
        return sorted(int(path.name) for path in self._folder.glob("[0-9]*") if path.is_dir())

    def path(self, step: int) -> Path:
        return self._folder / f"{step:08d}"

    def keep(self, step: int) -> Path:
        """Make the run's newest checkpoint that of `step`, and return its folder.

        The files are the same ones on the disk: an exported checkpoint is replaced, never changed.
        """
        path = self.path(step)
        new = path.with_name(f".{path.name}.new")
        try:
            shutil.rmtree(new, ignore_errors=True)
            shutil.copytree(self._newest, new, copy_function=_link)
            shutil.rmtree(path, ignore_errors=True)
            new.rename(path)
        except OSError as error:
            raise disk_error(error, path) from error
        return path

    def delete_others(self, figures: Mapping[int, float], in_use: Collection[int] = ()) -> None:
        """Delete those that the rule does not keep and that are not `in_use`."""
        steps = self.steps()
        for step in set(steps) - self._rule.kept(steps, figures) - set(in_use):
            shutil.rmtree(self.path(step), ignore_errors=True)


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
