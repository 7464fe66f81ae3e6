"""How much memory a run takes, and what to lower where there is too little of it."""

import resource
import sys
from typing import Any

import torch

from experiment.errors import UserError
from worldmodel.cost import STATE_BYTES
from worldmodel.training.config import TrainerConfig
from worldmodel.training.parallel import Ranks
from worldmodel.training.state import TrainingState


def in_use(device: torch.device) -> int:
    """Return the most bytes that this process has held on the device, or in all on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def out_of_memory(
    state: TrainingState[Any], config: TrainerConfig, rows: int, ranks: Ranks
) -> UserError:
    """Return the sentence for a step that did not fit, on `rows` windows of this process."""
    weights = sum(p.numel() for p in state.model.parameters())
    sharded = state.sharded
    held = STATE_BYTES * weights // (ranks.world if sharded else 1)
    device = state.compute.device
    gpu = device.type == "cuda"
    total = torch.cuda.get_device_properties(device).total_memory if gpu else 0
    return UserError(advice(held, total, rows, config.accumulate, sharded, config.checkpointing))


def advice(
    held: int, total: int, rows: int, accumulate: int, sharded: bool, checkpointing: str
) -> str:
    """Say what to lower and by how much, in one sentence.

    Args: `held` bytes of weights, gradients, moments and average in a process, of `total` bytes of
    its device (0: not known); `rows` windows a process in `accumulate` passes.
    """
    begin = "there is not enough memory for a step"
    if total and held > 0.8 * total and not sharded:
        processes = -(-held * 2 // total)
        return (
            f"{begin}: weights, gradients, moments and average take {held / 1e9:.1f} of "
            f"{total / 1e9:.1f} GB: shard them with trainer.parallel=fsdp over at least "
            f"{processes} processes, or take a smaller model."
        )
    if total and held > 0.8 * total:
        return (
            f"{begin}: the shards of weights, gradients, moments and average take "
            f"{held / 1e9:.1f} of {total / 1e9:.1f} GB: take {-(-held * 2 // total)} times as many "
            "processes, or a smaller model."
        )
    windows = rows // accumulate
    better = "" if checkpointing == "blocks" else "trainer.checkpointing=blocks"
    divisors = (n for n in range(2 * accumulate, rows + 1) if rows % n == 0)
    more = next(divisors, None)
    if more is not None:
        return (
            f"{begin} on {windows} windows at once: set trainer.accumulate={more} (the batch stays "
            f"as it is, activations fall to {100 * accumulate / more:.0f} %)"
            f"{f' or {better}' if better else ''}."
        )
    smaller = "take fewer frames, a lower resolution or a smaller model"
    return f"{begin} on one window at once: {f'set {better}, or ' if better else ''}{smaller}."
