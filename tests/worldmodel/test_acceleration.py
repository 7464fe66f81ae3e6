"""Compiled blocks and recomputed activations change neither results nor names."""

import dataclasses
import shutil
from typing import Literal, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from experiment.errors import UserError
from tests.worldmodel import tiny
from worldmodel.model import WorldModel
from worldmodel.sampler import Sampling, sample
from worldmodel.training.acceleration import accelerate
from worldmodel.training.trainer import TrainerConfig
from worldmodel.transformer import Checkpointing

CONFIGS = {"nano": tiny.CONFIG, "paper": tiny.FLUX}


def loss(model: WorldModel) -> Tensor:
    return torch.stack([p.square().sum() for p in model(tiny.batch()).prediction.values()]).sum()


def gradients(model: WorldModel) -> dict[str, Tensor]:
    loss(model).backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def costs(model: WorldModel) -> tuple[int, int]:
    """Return the bytes kept for the backward pass, and its operations."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        total = loss(model)
    with FlopCounterMode(display=False) as counter:
        total.backward()
    model.zero_grad()
    return sum(kept.values()), counter.get_total_flops()


@pytest.mark.parametrize("kind", CONFIGS)
def test_recomputing_gives_the_same_gradients_for_less_memory(kind: str) -> None:
    model = tiny.model(config=CONFIGS[kind])
    memory, operations = {}, {}
    expected = gradients(model)
    modes: tuple[Checkpointing, ...] = get_args(Checkpointing)
    for mode in modes:
        accelerate(model, compiled=False, checkpointing=mode)
        found = gradients(model)
        memory[mode], operations[mode] = costs(model)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            assert torch.equal(found[name], gradient)
    # What checkpointing keeps of products is held outside of autograd's saved tensors.
    assert memory["blocks"] < memory["none"]
    assert operations["selective"] == operations["none"] < operations["blocks"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("mode", get_args(Checkpointing))
def test_compiled_blocks_agree_and_keep_their_names(kind: str, mode: Checkpointing) -> None:
    model = tiny.model(config=CONFIGS[kind])
    names = list(model.state_dict())
    expected = gradients(model)
    accelerate(model, compiled=True, checkpointing=mode, backend="aot_eager")
    found = gradients(model)
    assert list(model.state_dict()) == names
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient)


def test_the_trainer_compiles_student_and_teacher_under_their_names() -> None:
    model = tiny.model()
    names = [f"model/{name}" for name in model.state_dict()]
    config = TrainerConfig(steps=2, device="cpu", compile=True, checkpointing="blocks")
    state = config.state(model)
    assert list(state.tensors())[: len(names)] == names
    for each in (state.model, state.teacher.model):
        assert all(block._compiled_call_impl is not None for block in each.trunk.blocks)
        assert each.trunk.checkpointing == "blocks"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_the_compiler_of_this_machine_gives_the_same_gradients() -> None:
    model = tiny.model(config=dataclasses.replace(tiny.CONFIG, depth=2))
    expected = gradients(model)
    accelerate(model, compiled=True, checkpointing="none")
    found = gradients(model)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("conditions", "passes"), [("all", 1), ("conditions", 2)])
def test_sampling_compiles_each_kind_of_block_once_a_kind_of_pass(
    conditions: Literal["all", "conditions"], passes: int
) -> None:
    """Levels, index and positions have the same shapes at every step; conditions have their own."""
    graphs: list[torch.fx.GraphModule] = []

    def count(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    model = tiny.model(config=dataclasses.replace(tiny.FLUX, conditions=conditions))
    for block in model.trunk.blocks:
        block.compile(fullgraph=True, backend=count)
    batch = dict(tiny.batch())
    unknown = {name: batch.pop(name).position for name in ("video", "action")}
    sample(model, batch, unknown, Sampling(steps=3), tiny.generator())
    assert len({type(block) for block in model.trunk.blocks}) == 2
    assert len(graphs) == 2 * passes


def test_what_cannot_be_accelerated_is_refused() -> None:
    with pytest.raises(UserError, match=r"trainer.compile=true: Linear has no transformer blocks"):
        accelerate(nn.Linear(2, 2), compiled=True, checkpointing="none")
    with pytest.raises(UserError, match=r"trainer.checkpointing=blocks: Linear has no"):
        accelerate(nn.Linear(2, 2), compiled=False, checkpointing="blocks")
    with pytest.raises(UserError, match="must be none, selective or blocks"):
        TrainerConfig(steps=1, checkpointing="all")  # type: ignore[arg-type]
