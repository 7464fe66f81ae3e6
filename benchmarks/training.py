"""Tokens a second of training, the arms of the objective side by side.

`python -m benchmarks.training [--threads N] [--repeats 10]` trains the default model on random
tokens of the default shapes: video alone as in pretraining, actions with and without video as in
fine-tuning. The variants take turns, so that a neighbour on the machine slows them alike. The limit
is the time of the step's matrix products at the rate of a large product measured beside them.
"""

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from experiment.seeding import torch_generator
from experiment.settings import build, compose
from worldmodel.assembler import action_position
from worldmodel.data.windows import WindowConfig
from worldmodel.loss import losses
from worldmodel.model import WorldModel
from worldmodel.model_config import ModelConfig
from worldmodel.objective import Objective
from worldmodel.schedule import Arm
from worldmodel.text import Instructions
from worldmodel.text.words import HashedWords
from worldmodel.tokenizer.pixel import PixelTokenizer
from worldmodel.tokenizer.positions import frame_position, video_position
from worldmodel.tokens import Batch, Modality, Tokens, times_as_positions
from worldmodel.training.trainer import Trainer, TrainerConfig

STATE, ACTION = 10, 7
MODALITIES = {
    "video": ("frame", "video"),
    "video + actions": ("frame", "video", "state", "action"),
    "actions": ("frame", "state", "action"),
}
ARMS: tuple[Arm, ...] = ("flow_matching", "dual_timestep", "self_flow")
INSTRUCTION = "place apple into top drawer"


@dataclass(frozen=True)
class Step:
    """Stands for what a loader yields."""

    instructions: list[str]

    def to(self, device: torch.device | str) -> "Step":  # noqa: ARG002
        """Return itself: the batch is on the device already."""
        return self


def random_batch(names: tuple[str, ...], size: int, device: torch.device) -> Batch:
    """Return `size` sequences of the default shapes with the modalities `names`."""
    tokenizer, windows = PixelTokenizer(), WindowConfig()
    rng = torch.Generator().manual_seed(0)

    def tokens(channels: int, position: torch.Tensor) -> Tokens:
        shape = (size, position.shape[1], channels)
        values = torch.randn(shape, generator=rng).to(device)
        return Tokens.clean(values, position.to(device))

    frame, video = tokenizer.modalities
    modalities = {
        "frame": tokens(frame.channels, frame_position(tokenizer, device)),
        "video": tokens(video.channels, video_position(tokenizer, windows.future, device)),
        "state": tokens(STATE, times_as_positions([0.0])),
        "action": tokens(ACTION, action_position(windows.chunk)),
    }
    text = Instructions(HashedWords()).tokens([INSTRUCTION] * size, device)
    return {"text": text} | {name: modalities[name] for name in names}


RunningTrainer = Trainer[WorldModel, Step, Batch]


def trainer(
    arm: Arm, names: tuple[str, ...], size: int, folder: Path, precision: str
) -> RunningTrainer:
    """Return a trainer of the default model on one random batch."""
    config = compose("pretrain", [f"trainer.precision={precision}"])
    model_config = build(config.model, ModelConfig)
    modalities = [
        HashedWords().modality,
        *PixelTokenizer().modalities,
        Modality("state", STATE, predicted=False),
        Modality("action", ACTION),
    ]
    model = WorldModel(modalities, model_config, torch_generator(0))
    loss = functools.partial(losses, settings=Objective(arm=arm))
    settings = build(config.trainer, TrainerConfig)
    state = settings.state(model)
    batch = random_batch(names, size, state.compute.device)
    step = Step([INSTRUCTION] * size)
    return RunningTrainer(state, lambda *_: batch, loss, lambda _: step, settings, folder, 0)


def matrix_rate(device: torch.device, precision: str) -> float:
    """Return the FLOP/s of a large matrix product."""
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = torch.randn(2, 1024, 1024, device=device).to(kind)
    seconds = min(_seconds(lambda: (a @ b).sum().item()) for _ in range(20))
    return 2 * 1024**3 / seconds


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _step(running: RunningTrainer) -> None:
    running.advance()
    if running.compute.device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    variants = [(modalities, arm) for modalities in MODALITIES for arm in ARMS]
    with tempfile.TemporaryDirectory() as folder:
        running = {
            (modalities, arm): trainer(
                arm, MODALITIES[modalities], arguments.batch, Path(folder), arguments.precision
            )
            for modalities, arm in variants
        }
        flops = {}
        for variant in tqdm(variants, desc="warming up", leave=False):
            _step(running[variant])
            with FlopCounterMode(display=False) as counter:
                _step(running[variant])
            flops[variant] = counter.get_total_flops()
        spent: dict[tuple[str, Arm], list[float]] = {variant: [] for variant in variants}
        for _ in tqdm(range(arguments.repeats), desc="rounds", leave=False):
            for variant in variants:
                spent[variant].append(_seconds(functools.partial(_step, running[variant])))
        first = running[variants[0]]
        device, precision = first.compute.device, first.compute.precision
        rate = matrix_rate(device, precision)
    weights = first.state.model.parameters_total()
    print(
        f"{weights / 1e6:.1f}M weights, batch {arguments.batch}, {device.type}, "
        f"{arguments.threads} threads, {precision}, "
        f"matrix products {rate / 1e9:.0f} GFLOP/s"
    )
    print("predicted        arm             ms a step  samples/s  tokens/s  of the limit")
    for modalities, arm in variants:
        seconds = statistics.median(spent[modalities, arm])
        batch = random_batch(MODALITIES[modalities], 1, device)
        tokens = sum(each.values.shape[1] for each in batch.values())
        samples = arguments.batch / seconds
        limit = flops[modalities, arm] / rate / seconds
        print(
            f"{modalities:16s} {arm:14s} {1e3 * seconds:10.0f} {samples:10.0f} "
            f"{samples * tokens:9.0f} {limit:13.2f}"
        )


if __name__ == "__main__":
    main()
