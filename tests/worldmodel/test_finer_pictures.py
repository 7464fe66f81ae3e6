"""A model that reads finer pictures is at first the same function of their mean."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from experiment.errors import UserError
from tests.worldmodel import tiny
from worldmodel.finer_pictures import refine
from worldmodel.model import WorldModel
from worldmodel.tokenizer import PixelTokenizer
from worldmodel.tokenizer.positions import frame_position, video_position
from worldmodel.tokens import Tokens

COARSE = PixelTokenizer(height=16, width=24, patch=8, hidden=16)
FINE = PixelTokenizer(height=48, width=72, patch=24, hidden=16)
FUTURE = (3, 6)


def model(tokenizer: PixelTokenizer, seed: int = 0) -> WorldModel:
    generator = tiny.generator(seed)
    built = WorldModel(tokenizer.modalities, tiny.CONFIG, generator)
    for parameter in (built.trunk.modulation.weight, *built.outputs.parameters()):
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    return built


def batch(
    tokenizer: PixelTokenizer, frame: torch.Tensor, future: torch.Tensor
) -> dict[str, Tokens]:
    now, video = tokenizer.encode(frame, future)
    return {
        "frame": Tokens.clean(now, frame_position(tokenizer, tiny.CPU)),
        "video": Tokens.clean(video, video_position(tokenizer, FUTURE, tiny.CPU)),
    }


def mean(pictures: torch.Tensor) -> torch.Tensor:
    """Return pictures `(..., h, w, 3)` a third as large."""
    flat = pictures.flatten(0, -4).movedim(-1, 1)
    small = functional.avg_pool2d(flat, 3).movedim(1, -1)
    return small.view(*pictures.shape[:-3], *small.shape[1:])


def test_it_is_at_first_the_same_function_of_the_mean() -> None:
    fine = torch.rand((2, 3, 48, 72, 3), generator=tiny.generator(1)) * 255
    coarse = mean(fine)
    built = model(COARSE)
    with torch.no_grad():
        before = built(batch(COARSE, coarse[:, 0], coarse[:, 1:])).prediction["video"]
        for modality in FINE.modalities:
            refine(built, modality, FINE.tubelet if modality.predicted else 1)
        after = built(batch(FINE, fine[:, 0], fine[:, 1:])).prediction["video"]
    # Each pixel that was predicted is now a square of nine.
    squares = FINE.decode(fine[:, 0], after)
    expected = COARSE.decode(coarse[:, 0], before)
    expected = expected.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
    assert (squares.int() - expected.int()).abs().max() <= 1
    assert expected.float().std() > 20


def test_it_can_then_tell_what_has_the_same_mean() -> None:
    built = model(COARSE)
    for modality in FINE.modalities:
        refine(built, modality, FINE.tubelet if modality.predicted else 1)
    fine = torch.rand((1, 3, 48, 72, 3), generator=tiny.generator(1)) * 255
    built(batch(FINE, fine[:, 0], fine[:, 1:])).prediction["video"].square().sum().backward()
    gradient = built.inputs["frame"][0].weight.grad  # type: ignore[index]
    squares = gradient.view(16, 8, 3, 8, 3, 3)
    assert squares.std(dim=(2, 4)).max() > 0.01 * squares.abs().max()


def test_it_has_the_layers_of_a_model_made_for_such_pictures() -> None:
    refined, made = model(COARSE), model(FINE)
    for modality in FINE.modalities:
        refine(refined, modality, FINE.tubelet if modality.predicted else 1)
    assert refined.modalities == made.modalities
    shapes = {name: tensor.shape for name, tensor in made.state_dict().items()}
    assert {name: tensor.shape for name, tensor in refined.state_dict().items()} == shapes
    assert str(refined) == str(made)


@pytest.mark.parametrize(
    ("tokenizer", "sentence"),
    [
        (replace(FINE, patch=12), "are not a multiple"),
        (replace(FINE, hidden=8), "must stay 16"),
        (replace(COARSE, stem=4), "leave tokenizer.stem out"),
    ],
)
def test_what_does_not_fit_is_named(tokenizer: PixelTokenizer, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        refine(model(COARSE), tokenizer.modalities[0])
