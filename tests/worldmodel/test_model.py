"""The world model: modalities, early stop, description."""

import dataclasses

import pytest
import torch

from experiment.errors import UserError
from tests.worldmodel import tiny
from worldmodel.model import Modality, ModelConfig, Tokens, WorldModel
from worldmodel.text import TextTokens


def noisy(seed: int = 1) -> dict[str, Tokens]:
    generator = tiny.generator(seed)
    return {
        name: dataclasses.replace(t, tau=torch.rand(t.tau.shape, generator=generator))
        for name, t in tiny.batch().parts.items()
    }


def test_stopping_early_gives_the_features_of_the_full_pass() -> None:
    model, parts, text = tiny.model(), noisy(), tiny.batch().text
    layer = model.teacher_layer
    full = model(parts, text, capture=(layer,))
    early = model(parts, text, capture=(layer,), stop=layer)
    assert torch.equal(full.features[layer], early.features[layer])
    assert not early.prediction
    assert set(full.prediction) == {"video", "action"}


def test_stopping_early_runs_no_later_block() -> None:
    model = tiny.model()
    ran = []
    for number, block in enumerate(model.trunk.blocks, start=1):
        block.register_forward_hook(lambda *_, n=number: ran.append(n))
    model(noisy(), tiny.batch().text, stop=3)
    assert ran == [1, 2, 3]


def test_layers_follow_the_paper() -> None:
    sizes = {6: (2, 4), 10: (3, 7), 28: (8, 20)}
    for depth, (student, teacher) in sizes.items():
        config = dataclasses.replace(tiny.CONFIG, depth=depth)
        model = WorldModel([], config, tiny.generator())
        assert (model.student_layer, model.teacher_layer) == (student, teacher)


def test_any_subset_of_modalities_in_any_order() -> None:
    model, parts, text = tiny.model(), noisy(), tiny.batch().text
    reordered = dict(reversed(parts.items()))
    one, other = model(parts, text), model(reordered, text)
    assert torch.equal(one.prediction["action"], other.prediction["action"])
    alone = model({"frame": parts["frame"], "action": parts["action"]}, text)
    assert set(alone.prediction) == {"action"}
    assert alone.prediction["action"].shape == (3, 6, 7)
    assert alone.spans["action"] == slice(7, 13)


@pytest.mark.parametrize("name", ["frame", "video", "state"])
def test_every_token_is_seen_by_the_others(name: str) -> None:
    model, parts, text = tiny.model(), noisy(), tiny.batch().text
    changed = parts | {name: dataclasses.replace(parts[name], values=parts[name].values + 1)}
    before, after = model(parts, text).prediction, model(changed, text).prediction
    assert (before["action"] - after["action"]).abs().max() > 1e-4


def test_time_place_and_text_matter() -> None:
    model, parts, text = tiny.model(), noisy(), tiny.batch().text
    before = model(parts, text).prediction["action"]
    video = parts["video"]
    for other in (
        dataclasses.replace(video, tau=video.tau * 0.5),
        dataclasses.replace(video, position=video.position + 1),
    ):
        after = model(parts | {"video": other}, text).prediction["action"]
        assert (before - after).abs().max() > 1e-4
    after = model(parts, TextTokens(text.ids.roll(1, 0))).prediction["action"]
    assert (before - after).abs().max() > 1e-4


def test_a_new_modality_leaves_the_rest_as_it_is() -> None:
    model, parts, text = tiny.model(), noisy(), tiny.batch().text
    before = model(parts, text).prediction["action"]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.add_modality(Modality("force", 6), tiny.generator())
    assert torch.equal(model(parts, text).prediction["action"], before)
    for name, tensor in weights.items():
        assert torch.equal(model.state_dict()[name], tensor)
    with pytest.raises(ValueError, match="already"):
        model.add_modality(Modality("force", 6), tiny.generator())


def test_the_same_seed_gives_the_same_weights() -> None:
    one, other = tiny.model(3).state_dict(), tiny.model(3).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_model_is_rebuilt_from_its_description() -> None:
    model = tiny.model()
    again = WorldModel.from_description(model.description())
    again.load_state_dict(model.state_dict())
    parts, text = noisy(), tiny.batch().text
    assert torch.equal(
        again(parts, text).prediction["video"], model(parts, text).prediction["video"]
    )


def test_unknown_modality_and_bad_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="no modality 'audio'"):
        tiny.model()({"audio": noisy()["video"]}, tiny.batch().text)
    with pytest.raises(UserError, match="even number"):
        ModelConfig(width=30, heads=4)
    with pytest.raises(UserError, match="x or v"):
        ModelConfig(prediction="eps")  # type: ignore[arg-type]
