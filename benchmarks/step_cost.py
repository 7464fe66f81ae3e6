"""What a training step costs, what Self-Flow adds to it, and what shared modulation saves.

`python -m benchmarks.step_cost [--model nano] [--batch 16] [--tokens N] [--rounds 9] [--threads 1]`
prints, as medians over rounds in which all variants take turns (a ratio is the median of the
rounds' ratios; with one thread on a CPU, time is the process's own, which a busy neighbour hardly
changes):

- Step: vanilla flow matching and Self-Flow, each with optimiser and moving average, and their
  ratio. The teacher runs forward alone and stops at layer k = 0.7 D. A forward pass costs one unit
  and a backward pass two, so the ratio is at most (3 + 0.7) / 3 = 1.233 where blocks are all that
  counts, and more by the head h.
- Trunk: tokens/s forward and backward, against a plain transformer of the same width, depth and
  hidden width that computes its modulation for each token in each block. A block's products take
  4 D² + 3 D H multiplications a token, the modulation 6 D² more: 18 D² against 12 D² (1.5 times)
  for a SwiGLU that costs what a plain MLP of ratio 4 does (H = 8/3 D), 22 against 16 (1.375 times)
  for H = 4 D as in the paper's sizes. Attention, the same for both, brings the ratio nearer to 1.
- Share of the machine's rate: operations (worldmodel.cost) over time, relative to one large product
  of matrices measured in the same rounds.

On a GPU also: MFU, the operations of the student alone over the published peak rate (dense, in
bfloat16) and with the teacher's beside it; the peak of memory; and attention forward and backward
by cuDNN and by flash attention, for the model's heads and for heads of 96 channels. `--compile`
compiles the blocks. The paper's main model: `--model paper_625m --batch 8 --compile`.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from experiment.seeding import torch_generator
from experiment.settings import build, compose
from worldmodel.blocks import SingleStream, modulate
from worldmodel.cost import Flops, Weights, flops
from worldmodel.device import Compute, peak_rate
from worldmodel.embedding import Rotary, Timestep, sinusoids
from worldmodel.loss import losses
from worldmodel.model import WorldModel
from worldmodel.model_config import ModelConfig
from worldmodel.objective import Objective
from worldmodel.schedule import Arm
from worldmodel.text.words import HashedWords
from worldmodel.tokenizer.pixel import PixelTokenizer
from worldmodel.tokens import Batch, Modality, Tokens
from worldmodel.training.trainer import TrainerConfig
from worldmodel.transformer import Transformer

ARMS: tuple[Arm, ...] = ("flow_matching", "self_flow")

Call = Callable[[], object]


@dataclass(frozen=True)
class Shape:
    """The modalities of a model, with the numbers of their tokens."""

    modalities: tuple[Modality, ...]
    tokens: dict[str, int]
    columns: int

    @property
    def total(self) -> int:
        return sum(self.tokens.values())


def shape_of(model: str, video: int | None) -> Shape:
    """Return pixels and words as shipped, or Wan2.2's latents of 49 frames and a T5's states."""
    if model.startswith(("paper", "base")):
        latents = Modality("frame", 48, predicted=False), Modality("video", 48)
        text = Modality("text", 2048, predicted=False)
        counts = {"text": 64, "frame": 192, "video": 12 * 192 if video is None else video}
        return Shape((text, *latents), counts, columns=16)
    counts = {"text": 24, "frame": 36, "video": 36 if video is None else video}
    return Shape((HashedWords().modality, *PixelTokenizer().modalities), counts, columns=6)


def random_batch(shape: Shape, size: int, device: torch.device) -> Batch:
    """Return clean random tokens, `size` sequences."""
    rng = torch_generator(0)

    def tokens(modality: Modality) -> Tokens:
        count = shape.tokens[modality.name]
        place = torch.arange(count)
        row = (place // shape.columns).float()
        position = torch.stack([row // shape.columns, row, (place % shape.columns).float()], -1)
        if modality.vocabulary is not None:
            values = torch.randint(modality.vocabulary, (size, count), generator=rng)
        else:
            values = torch.randn(size, count, modality.channels, generator=rng)
        return Tokens.clean(values.to(device), position[None].to(device))

    return {modality.name: tokens(modality) for modality in shape.modalities}


class PlainTransformer(nn.Module):
    """Blocks with modulation layers of their own, applied to each token's time."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, blocks = config.width, range(config.depth)
        self.timestep = Timestep(width)
        self.rotary = Rotary(width // config.heads)
        self.blocks = nn.ModuleList(
            SingleStream(width, config.heads, config.hidden, biases=True) for _ in blocks
        )
        self.modulations = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width)) for _ in blocks
        )
        self.final = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, tau: Tensor, position: Tensor) -> Tensor:
        """Return `(b, n, d)` of tokens `x`, their times `(b, n)` and positions `(b, n, 3)`."""
        # The last layer of `Timestep` is the nonlinearity that each block here has by itself.
        times = self.timestep.mlp[:-1](sinusoids(tau, self.timestep.frequencies))
        rotation = self.rotary(position)
        for block, modulation in zip(self.blocks, self.modulations, strict=True):
            x = block(x, modulation(times).float().chunk(6, dim=-1), rotation)
        return modulate(x, *self.final(times).float().chunk(2, dim=-1))


@dataclass(frozen=True)
class Settings:
    """The command line."""

    model: str
    batch: int
    tokens: int | None
    rounds: int
    threads: int
    precision: str
    compile: bool
    checkpointing: str


def training_step(
    settings: Settings, config: ModelConfig, shape: Shape, arm: Arm
) -> tuple[Call, Compute, Weights]:
    """Return one step of training as worldmodel.pretrain does it, without reading data."""
    trainer: TrainerConfig = build(
        compose(
            "pretrain",
            [
                f"trainer.precision={settings.precision}",
                f"trainer.compile={str(settings.compile).lower()}",
                f"trainer.checkpointing={settings.checkpointing}",
            ],
        ).trainer
    )
    model = WorldModel(shape.modalities, config, torch_generator(0))
    state = trainer.state(model)
    device = state.compute.device
    batch = random_batch(shape, settings.batch, device)
    objective = Objective(arm=arm)
    generator = torch_generator(0, device=device)

    def step() -> None:
        with state.compute.autocast():
            total = losses(state.model, state.teacher, batch, generator, objective)["total"]
        state.optimiser.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(state.model.parameters(), trainer.clip)
        state.optimiser.step()
        state.teacher.update(state.model, 0)

    return step, state.compute, Weights.of(state.model)


def trunks(
    settings: Settings, config: ModelConfig, shape: Shape, compute: Compute
) -> dict[str, Call]:
    """Return forward and backward passes of the trunk and of the plain transformer."""
    size, count, device = settings.batch, shape.total, compute.device
    trunk = Transformer(
        config.width, config.depth, config.heads, config.hidden,
        double=config.double, parallel=config.single == "parallel",
        biases=config.bias == "all", equal_axes=config.rope == "equal",
    ).to(device)  # fmt: skip
    plain = PlainTransformer(config).to(device)
    if settings.compile:
        for block in (*trunk.blocks, *plain.blocks):
            block.compile(fullgraph=True)
    x = torch.randn(size, count, config.width, device=device, requires_grad=True)
    levels = torch.rand(size, 4, device=device)
    index = torch.randint(0, 4, (size, count), device=device)
    position = torch.rand(size, count, 3, device=device)
    text = shape.tokens["text"]
    tau = levels.gather(1, index)

    def of_trunk() -> None:
        with compute.autocast():
            output, _ = trunk(x, levels, index, position, text=text)
        output.square().mean().backward()

    def of_plain() -> None:
        with compute.autocast():
            output = plain(x, tau, position)
        output.square().mean().backward()

    return {"trunk": of_trunk, "plain": of_plain}


def attentions(settings: Settings, config: ModelConfig, shape: Shape) -> dict[str, Call]:
    """Return attention forward and backward on the GPU, by kernel and channels of a head."""
    kernels = {"cuDNN": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}
    calls: dict[str, Call] = {}
    for heads in sorted({config.heads, max(1, config.width // 96)}):
        size = (settings.batch, heads, shape.total, config.width // heads)
        q, k, v = (
            torch.randn(size, device="cuda", dtype=torch.bfloat16, requires_grad=True)
            for _ in range(3)
        )
        for name, kernel in kernels.items():

            def call(q: Tensor = q, k: Tensor = k, v: Tensor = v, by: SDPBackend = kernel) -> None:
                with sdpa_kernel(by):
                    F.scaled_dot_product_attention(q, k, v).sum().backward()

            calls[f"{name}, {heads} heads of {size[-1]}"] = call
    return calls


def product(compute: Compute) -> Call:
    """Return a large product of matrices, 2 side³ operations."""
    kind = torch.bfloat16 if compute.precision == "bfloat16" else torch.float32
    side = side_of(compute)
    a, b = torch.randn(2, side, side, device=compute.device).to(kind)
    return lambda: a @ b


def side_of(compute: Compute) -> int:
    return 8192 if compute.device.type == "cuda" else 1024


@dataclass(frozen=True)
class Rounds:
    """The seconds of each call, by round."""

    spent: dict[str, list[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.spent[name])

    def ratio(self, one: str, other: str) -> float:
        pairs = zip(self.spent[one], self.spent[other], strict=True)
        return statistics.median(a / b for a, b in pairs)


def measured(calls: dict[str, Call], rounds: int, device: torch.device) -> Rounds:
    """Return the seconds of each; they take turns, so that all are slowed alike."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter

    def seconds(call: Call) -> float:
        started = clock()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - started

    for call in tqdm(calls.values(), desc="warming up", leave=False):
        seconds(call)
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in tqdm(range(rounds), desc="rounds", leave=False):
        for name, call in calls.items():
            spent[name].append(seconds(call))
    return Rounds(spent)


def report(
    settings: Settings,
    shape: Shape,
    rounds: Rounds,
    work: dict[str, Flops],
    compute: Compute,
) -> None:
    """Print the figures."""
    tokens = settings.batch * shape.total
    seconds = {name: rounds.median(name) for name in rounds.spent}
    rate = 2 * side_of(compute) ** 3 / seconds["product"]
    print(f"matrix products: {rate / 1e9:,.0f} GFLOP/s ({compute.precision})")
    print("step                 ms    tokens/s   of the matrix rate")
    for arm in ARMS:
        share = work[arm].total / seconds[arm] / rate
        print(f"{arm:14s} {1e3 * seconds[arm]:8.1f} {tokens / seconds[arm]:11,.0f} {share:20.2f}")
    ratio = rounds.ratio("self_flow", "flow_matching")
    counted = work["self_flow"].total / work["flow_matching"].total
    print(f"self_flow / flow_matching: {ratio:.3f} (by operations {counted:.3f})")
    for name in ("trunk", "plain"):
        print(f"{name:14s} {1e3 * seconds[name]:8.1f} {tokens / seconds[name]:11,.0f}")
    print(f"trunk against a plain transformer: {rounds.ratio('plain', 'trunk'):.3f} times")
    for name in (name for name in seconds if "heads of" in name):
        print(f"attention by {name:24s} {1e3 * seconds[name]:8.2f} ms")
    if compute.device.type == "cuda":
        card = torch.cuda.get_device_name()
        peak = peak_rate(compute.device)
        for arm in ARMS if peak is not None else ():
            student, total = work[arm].student, work[arm].total
            print(
                f"MFU {arm}: {student / seconds[arm] / peak:.1%}, with the teacher's operations "
                f"{total / seconds[arm] / peak:.1%} of {card}'s {peak / 1e12:.0f} TFLOP/s"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=None, help="of the video, a sequence")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--checkpointing", default="none", choices=["none", "selective", "blocks"])
    settings = Settings(**vars(parser.parse_args()))
    torch.set_num_threads(settings.threads)
    config = build(compose("pretrain", [f"model={settings.model}"]).model, ModelConfig)
    shape = shape_of(settings.model, settings.tokens)
    calls: dict[str, Call] = {}
    work: dict[str, Flops] = {}
    for arm in ARMS:
        calls[arm], compute, weights = training_step(settings, config, shape, arm)
        teacher = arm == "self_flow"
        levels = {m.name: 2 if m.predicted else 1 for m in shape.modalities}
        work[arm] = flops(
            config, shape.modalities, shape.tokens, levels, settings.batch,
            with_teacher=teacher, with_head=teacher,
        )  # fmt: skip
    print(
        f"{settings.model}: {weights}; {settings.batch} sequences of {shape.total} tokens, "
        f"{compute.device.type}, {settings.threads} threads"
    )
    device = compute.device
    if device.type == "cuda":
        calls["self_flow"]()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        calls["self_flow"]()
        # Both arms' weights are held at once; a run holds one.
        more = torch.cuda.max_memory_allocated() - held
        print(f"memory: {held / 2e9:.1f} GB of state, {more / 1e9:.1f} GB more in a step")
    calls |= trunks(settings, config, shape, compute) | {"product": product(compute)}
    if device.type == "cuda":
        calls |= attentions(settings, config, shape)
    report(settings, shape, measured(calls, settings.rounds, device), work, compute)


if __name__ == "__main__":
    main()
