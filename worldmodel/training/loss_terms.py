"""The terms of the loss on their way to the log, and the end of a run whose loss is lost."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from experiment.errors import UserError
from experiment.files import write_bytes
from worldmodel.training.parallel import Ranks

BROKEN = "broken_batch.json"
_COUNTED = "tokens"
"""The one term that is added up over samples; all others are means over them."""


def joined_terms(passes: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the terms of a batch that was divided into equal passes."""
    joined = {}
    for name, first in passes[0].items():
        values = [terms[name].detach().float() for terms in passes]
        total = torch.stack(values).sum() if len(values) > 1 else first.detach()
        joined[name] = total if name == _COUNTED else total / len(values)
    return joined


class Terms:
    """Sums of figures since the last record, the same in all processes."""

    def __init__(self, folder: Path, seed: int, ranks: Ranks, limit: float) -> None:
        """Args: `limit` of `total`, beyond which a run has come apart."""
        self._folder, self._seed, self._ranks, self._limit = folder, seed, ranks, limit
        self.sums: dict[str, list[float]] = {}
        self._pending: list[tuple[int, Sequence[str], dict[str, Tensor]]] = []

    def add(self, step: int, instructions: Sequence[str], terms: dict[str, Tensor]) -> None:
        """Keep the terms of a step; nothing is read from the device yet."""
        self._pending.append((step, instructions, terms))

    def count(self, name: str, value: float, weight: float) -> None:
        """Add to a figure that is logged as the sum of the values by that of the weights."""
        sums = self.sums.setdefault(name, [0.0, 0.0])
        sums[0] += value
        sums[1] += weight

    def collect(self) -> None:
        """Add up what is kept, over all processes.

        Raises `UserError` in all of them where a loss is not finite or beyond the limit.
        """
        # Reading a number off a GPU waits for it, so it is done once for many steps.
        pending, self._pending = self._pending, []
        if not pending:
            return
        flat = [term.detach() for _, _, terms in pending for term in terms.values()]
        own = torch.stack([term.to(flat[-1].device, torch.float64) for term in flat]).cpu()
        values = iter(self._ranks.mean(own.clone()).tolist())
        mine = iter(own.tolist())
        for step, instructions, terms in pending:
            figures = {name: next(values) for name in terms}
            local = {name: next(mine) for name in terms}
            if self._lost(figures) is not None:
                raise self._broken(step, instructions, figures, local)
            for name, value in figures.items():
                self.count(name, value * (self._ranks.world if name == _COUNTED else 1), 1.0)

    def means(self) -> dict[str, float]:
        """Return the means since the last call."""
        means = {name: total / max(count, 1e-9) for name, (total, count) in self.sums.items()}
        if _COUNTED in means and "samples_per_second" in self.sums:
            means["tokens_per_second"] = self.sums[_COUNTED][0] / self.sums["samples_per_second"][1]
        self.sums = {}
        return means

    def _lost(self, figures: Mapping[str, float]) -> str | None:
        """Return the first figure that is not finite, or `total` beyond its limit."""
        for name, value in figures.items():
            if not math.isfinite(value) or (name == "total" and abs(value) > self._limit):
                return name
        return None

    def _broken(
        self,
        step: int,
        instructions: Sequence[str],
        figures: Mapping[str, float],
        local: Mapping[str, float],
    ) -> UserError:
        """Write down the batch, of all processes, that lost the loss."""
        named = {name: repr(value) for name, value in local.items()}
        own = {"rank": self._ranks.rank, "terms": named, "instructions": list(instructions)}
        records = [json.loads(text) for text in self._ranks.texts(json.dumps(own))]
        path = self._folder / BROKEN
        record = {"step": step, "seed": self._seed} | (
            {name: records[0][name] for name in ("terms", "instructions")}
            if len(records) == 1
            else {"ranks": records}
        )
        if self._ranks.first:
            write_bytes(path, json.dumps(record, indent=2).encode() + b"\n")
        name = str(self._lost(figures))
        what = (
            f"{figures[name]:.3g} and beyond trainer.loss_limit={self._limit:g}"
            if math.isfinite(figures[name])
            else "not finite"
        )
        return UserError(
            f"{name} is {what} in step {step}, whose batch {path} names: look at those samples "
            "or lower trainer.learning_rate, and start a new run."
        )
