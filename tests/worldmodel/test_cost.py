"""Costs from sizes against what is counted, and the paper's sizes."""

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from experiment.settings import build, compose
from tests.worldmodel import tiny
from worldmodel.cost import STATE_BYTES, Weights, activation_bytes, flops
from worldmodel.model import WorldModel
from worldmodel.model_config import ModelConfig
from worldmodel.tokens import Modality, Tokens
from worldmodel.training.trainer import TrainerConfig
from worldmodel.transformer import Transformer

LATENTS = (
    Modality("text", 2048, predicted=False),
    Modality("frame", 48, predicted=False),
    Modality("video", 48),
)
"""T5-XL's states and the latents of Wan2.2."""


def outline(name: str) -> WorldModel:
    """Return a model of a shipped size without its memory."""
    config = build(compose("pretrain", [f"model={name}"]).model, ModelConfig)
    with torch.device("meta"):
        return WorldModel(LATENTS, config, None)


@pytest.mark.parametrize(
    ("name", "paper", "depth"),
    [
        ("paper_290m", 290e6, 8),
        ("paper_420m", 420e6, 14),
        ("paper_625m", 625e6, 21),
        ("paper_625m_heads12", 625e6, 21),
        ("paper_1b", 1e9, 28),
    ],
)
def test_the_family_has_the_papers_sizes(name: str, paper: float, depth: int) -> None:
    model = outline(name)
    weights = Weights.of(model)
    assert model.config.depth == len(model.trunk.blocks) == depth
    assert abs(weights.total / paper - 1) < 0.03
    assert weights.total == model.parameters_total()
    # Sec. 3.4: the head has about 10M of 625M.
    assert 0.008 < weights.head / weights.total < 0.04


def test_the_main_model_is_as_in_the_paper() -> None:
    config = outline("paper_625m").config
    assert (config.width, config.heads, config.hidden) == (1152, 16, 4 * 1152)
    assert (config.double, config.depth - config.double) == (7, 14)
    assert (config.student_layer, config.teacher_layer) == (6, 15)
    other = outline("paper_625m_heads12").config
    assert replace(other, heads=16) == config
    assert other.width // other.heads == 96


def test_sizes_grow_through_the_family() -> None:
    names = ("tiny", "nano", "small", "base", "paper_290m", "paper_420m", "paper_625m", "paper_1b")
    totals = [Weights.of(outline(name)).total for name in names]
    assert totals == sorted(totals)
    assert str(Weights(600_000_000, 10_600_000, 2_000_000)) == (
        "612.6M weights (trunk 600.0M, representation head 10.6M, input and output layers 2.0M)"
    )


@pytest.mark.parametrize(
    "config",
    [
        tiny.CONFIG,
        tiny.FLUX,
        replace(tiny.FLUX, double=4, projected=20),
        replace(tiny.FLUX, single="sequential"),
    ],
    ids=["nano", "paper", "double alone", "double and sequential"],
)
@pytest.mark.parametrize("names", [("text", "frame", "video", "action", "state"), ("video",)])
def test_operations_are_those_counted(config: ModelConfig, names: tuple[str, ...]) -> None:
    model, size = tiny.model(config=config), 3
    batch = {name: two_times(tiny.batch(size)[name]) for name in names}
    tokens = {name: each.values.shape[1] for name, each in batch.items()}
    levels = dict.fromkeys(names, 2)
    expected = flops(config, tiny.MODALITIES, tokens, levels, size)
    # As two plain products; fused attention computes one again in the backward pass.
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            output = model(batch, project=model.student_layer)
        assert output.projected is not None
        loss = sum(each.sum() for each in output.prediction.values()) + output.projected.sum()
        with FlopCounterMode(display=False) as backward:
            loss.backward()
        clean = {name: replace(t, levels=t.levels[:, :1], index=0 * t.index)
                 for name, t in batch.items()}  # fmt: skip
        with FlopCounterMode(display=False) as teacher, torch.no_grad():
            model(clean, stop=model.teacher_layer)
    assert forward.get_total_flops() == expected.forward
    assert backward.get_total_flops() == expected.backward
    assert teacher.get_total_flops() == expected.teacher
    assert expected.total == expected.forward + expected.backward + expected.teacher


def test_a_teacher_costs_at_most_seven_thirtieths() -> None:
    """0.7 of a forward pass, beside a forward and a backward pass: the ratio is at most 1.233."""
    config = outline("paper_625m").config
    tokens, levels = {"text": 32, "frame": 192, "video": 2304}, {"text": 1, "frame": 1, "video": 2}
    plain = flops(config, LATENTS, tokens, levels, with_teacher=False, with_head=False)
    whole = flops(config, LATENTS, tokens, levels)
    assert plain.teacher == 0
    assert whole.teacher / plain.total == pytest.approx(0.7 / 3, rel=0.03)


def kept_bytes(trunk: Transformer, tokens: int, text: int, precision: str) -> int:
    """Return the bytes that a forward pass of one sequence keeps."""
    kept: dict[int, tuple[int, torch.Tensor]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    width = trunk.modulation.in_features
    x = torch.randn(1, tokens, width, requires_grad=True)
    index, position = torch.zeros(1, tokens, dtype=torch.int64), torch.rand(1, tokens, 3)
    low = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")
    with low, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        trunk(x, torch.rand(1, 2), index, position, text=text)
    return sum(size for size, _ in kept.values())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "config",
    [tiny.CONFIG, tiny.FLUX, replace(tiny.FLUX, double=4), replace(tiny.FLUX, single="sequential")],
    ids=["nano", "paper", "double alone", "double and sequential"],
)
def test_memory_a_token_is_that_kept(
    config: ModelConfig, precision: Literal["float32", "bfloat16"]
) -> None:
    trunk = tiny.model(config=config).trunk
    # Weights, and their copies in the low precision, are the same for any number of tokens.
    more = kept_bytes(trunk, 64, 24, precision) - kept_bytes(trunk, 32, 12, precision)
    expected = activation_bytes(config, precision, attention="float32")
    assert more / 32 == expected


def test_state_a_weight_is_that_held() -> None:
    model = tiny.model()
    state = TrainerConfig(steps=1, device="cpu").state(model)
    sum(p.square().sum() for p in model(tiny.batch(), project=1).prediction.values()).backward()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    state.optimiser.step()
    gradients = sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    held = sum(
        tensor.nbytes for name, tensor in state.tensors().items() if not name.endswith("/step")
    )
    assert held + gradients == STATE_BYTES * model.parameters_total()


def two_times(tokens: Tokens) -> Tokens:
    levels = tokens.levels.new_tensor([[0.2, 0.7]]).expand(len(tokens.levels), 2)
    return replace(tokens, levels=levels, index=torch.arange(tokens.index.shape[1]) % 2 +
                   torch.zeros_like(tokens.index))  # fmt: skip
