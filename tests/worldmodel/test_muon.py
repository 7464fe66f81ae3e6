"""Muon: orthogonal updates of the blocks' matrices, AdamW's of everything else."""

import dataclasses

import pytest
import torch

from experiment.errors import UserError
from tests.worldmodel import tiny
from worldmodel.model import WorldModel
from worldmodel.training import config as training_config
from worldmodel.training.muon import SCALE, orthogonal
from worldmodel.training.trainer import TrainerConfig

CONFIG = TrainerConfig(steps=12, optimiser="muon", device="cpu", precision="float32")


@pytest.mark.parametrize("shape", [(24, 24), (72, 24), (24, 64)])
def test_updates_are_about_the_nearest_orthogonal_matrix(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    exact, found = left @ right, orthogonal(matrix)
    assert torch.nn.functional.cosine_similarity(found.ravel(), exact.ravel(), 0) > 0.95
    assert torch.linalg.svdvals(found).max() < 1.25
    torch.testing.assert_close(orthogonal(100 * matrix), found)


def stepped(config: TrainerConfig) -> tuple[WorldModel, dict[str, torch.Tensor]]:
    """Return a model after a step along gradients drawn at random, and its weights before."""
    state = config.state(tiny.model())
    before = {n: p.detach().clone() for n, p in state.model.named_parameters()}
    generator = torch.Generator().manual_seed(1)
    for weight in state.model.parameters():
        weight.grad = torch.randn(weight.shape, generator=generator)
    state.optimiser.step()
    return state.model, before


def test_matrices_of_blocks_are_muons_and_all_others_adamws() -> None:
    one, before = stepped(CONFIG)
    other, _ = stepped(dataclasses.replace(CONFIG, optimiser="adamw"))
    differ = set()
    for (name, weight), known in zip(one.named_parameters(), other.parameters(), strict=True):
        if not torch.equal(weight, known):
            differ.add(name)
    hidden = {n for n, p in before.items() if n.startswith("trunk.blocks.") and p.ndim == 2}
    assert differ == hidden
    assert len(hidden) >= 4
    for name in hidden:
        weight = one.get_parameter(name)
        moved = weight - before[name] * (1 - CONFIG.learning_rate * CONFIG.weight_decay)
        assert weight.grad is not None
        bound = CONFIG.learning_rate * SCALE * max(weight.shape) ** 0.5
        torch.testing.assert_close(moved, -bound * orthogonal(weight.grad), rtol=1e-2, atol=1e-6)


def test_what_muon_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"trainer\.optimiser='sgd' must be adamw or muon"):
        dataclasses.replace(CONFIG, optimiser="sgd")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"muon: Linear has no transformer blocks"):
        CONFIG.state(torch.nn.Linear(2, 2))
    # A model that looks like one whose weights are spread over processes.
    monkeypatch.setattr(training_config, "FSDPModule", WorldModel)
    with pytest.raises(UserError, match=r"trainer\.optimiser=muon needs whole weights"):
        CONFIG.state(tiny.model())
