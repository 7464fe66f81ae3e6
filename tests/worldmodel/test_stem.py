"""Convolutions beside the layer that reads patches."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from experiment.errors import UserError
from tests.worldmodel import tiny
from worldmodel.cost import flops
from worldmodel.model import WorldModel
from worldmodel.stem import ConvolutionalStem
from worldmodel.tokenizer.pixel import PixelTokenizer
from worldmodel.tokenizer.positions import frame_position
from worldmodel.tokens import Modality, Tokens
from worldmodel.training import checkpoint

TOKENIZER = PixelTokenizer(height=16, width=24, patch=8, hidden=16, stem=4)
FRAME = TOKENIZER.modalities[0]


def pictures(count: int = 2) -> torch.Tensor:
    shape = (count, 16, 24, 3)
    return torch.randint(0, 256, shape, generator=tiny.generator()).to(torch.uint8)


def stem() -> ConvolutionalStem:
    torch.manual_seed(0)
    return ConvolutionalStem(FRAME, 32)


def model(stem: int = 4) -> WorldModel:
    modalities = (*replace(TOKENIZER, stem=stem).modalities, Modality("action", 7))
    return WorldModel(modalities, tiny.CONFIG, tiny.generator())


def frame() -> Tokens:
    return Tokens.clean(TOKENIZER.encode_frame(pictures()), frame_position(TOKENIZER, tiny.CPU))


def test_a_token_sees_its_patch_and_those_above_and_to_the_left() -> None:
    network, values = stem(), TOKENIZER.encode_frame(pictures(1))
    before = network(values)
    seen = {0: [[True, True, False], [True, True, False]], 5: [[False] * 3, [False, False, True]]}
    for patch, by_tokens in seen.items():
        other = values.clone()
        other[:, patch] *= -1
        changed = (before - network(other)).abs().amax(-1)[0] > 1e-6
        assert changed.view(2, 3).tolist() == by_tokens


def test_what_it_sees_is_where_it_was_in_the_picture() -> None:
    """Shifting the picture by a patch shifts the tokens, away from the edges."""
    tokenizer = replace(TOKENIZER, width=48)
    network = ConvolutionalStem(tokenizer.modalities[0], 32)
    picture = torch.randint(0, 256, (1, 16, 48, 3), generator=tiny.generator()).to(torch.uint8)
    here = network(tokenizer.encode_frame(picture)).view(2, 6, 32)
    there = network(tokenizer.encode_frame(picture.roll(8, dims=2))).view(2, 6, 32)
    torch.testing.assert_close(there[:, 3:5], here[:, 2:4])


def test_a_fresh_one_changes_nothing_and_then_learns() -> None:
    plain, with_stem = model(0), model(0)
    with_stem.add_stem(FRAME, tiny.generator(1))
    batch = {
        "frame": frame(),
        "action": Tokens.at(torch.ones(2, 3, 7), torch.ones(2), torch.zeros(1, 3, 3)),
    }
    for each in (plain, with_stem):
        torch.nn.init.normal_(each.trunk.modulation.weight, std=0.2, generator=tiny.generator())
        output = cast(torch.nn.Linear, each.outputs["action"])
        torch.nn.init.normal_(output.weight, generator=tiny.generator())
    one, other = (each(batch).prediction["action"] for each in (plain, with_stem))
    assert torch.equal(one, other)
    other.square().sum().backward()
    stem = cast(ConvolutionalStem, with_stem.stems["frame"])
    assert stem.out.weight.grad is not None
    assert stem.out.weight.grad.abs().max() > 0


def test_a_checkpoint_brings_it_back(tmp_path: Path) -> None:
    built = model()
    checkpoint.save(tmp_path, built, {})
    loaded = checkpoint.load(tmp_path).model
    assert loaded.modalities == built.modalities
    assert json.loads(json.dumps(asdict(FRAME)))["grid"] == [2, 3]
    for name, tensor in built.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_operations_are_those_counted() -> None:
    built = model()
    parts = {
        "frame": frame(),
        "action": Tokens.at(torch.ones(2, 3, 7), torch.ones(2), torch.zeros(1, 3, 3)),
    }
    tokens, levels = {"frame": 6, "action": 3}, {"frame": 1, "action": 1}
    expected = flops(
        tiny.CONFIG, list(built.modalities.values()), tokens, levels, 2,
        with_teacher=False, with_head=False,
    )  # fmt: skip
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            loss = built(parts).prediction["action"].square().sum()
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    assert forward.get_total_flops() == expected.forward
    assert backward.get_total_flops() == expected.backward


@pytest.mark.parametrize("settings", [{"stem": -1}, {"stem": 4, "patch": 12, "height": 24}])
def test_a_stem_that_cannot_be_is_refused(settings: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.stem"):
        replace(TOKENIZER, **settings)
