"""The world model: modalities, early stop, description."""

import dataclasses
from typing import Any, Literal

import pytest
import torch

from experiment.errors import UserError
from tests.worldmodel import tiny
from worldmodel.model import WorldModel
from worldmodel.model_config import ModelConfig
from worldmodel.tokens import Modality, Tokens


def noisy(seed: int = 1) -> dict[str, Tokens]:
    generator = tiny.generator(seed)
    return {
        name: dataclasses.replace(t, levels=torch.rand(t.levels.shape, generator=generator))
        for name, t in tiny.batch().items()
    }


@pytest.mark.parametrize("config", [tiny.CONFIG, tiny.FLUX], ids=["nano", "paper"])
def test_stopping_early_gives_the_features_of_the_full_pass(config: ModelConfig) -> None:
    model, parts = tiny.model(config=config), noisy()
    layer = model.teacher_layer
    full = model(parts, capture=(layer,))
    early = model(parts, capture=(layer,), stop=layer)
    assert torch.equal(full.features[layer], early.features[layer])
    assert not early.prediction
    assert set(full.prediction) == {"video", "action"}


def test_stopping_early_runs_no_later_block() -> None:
    model = tiny.model()
    ran = []
    for number, block in enumerate(model.trunk.blocks, start=1):
        block.register_forward_hook(lambda *_, n=number: ran.append(n))
    model(noisy(), stop=3)
    assert ran == [1, 2, 3]


def test_layers_follow_the_paper() -> None:
    sizes = {6: (2, 4), 10: (3, 7), 28: (8, 20)}
    for depth, (student, teacher) in sizes.items():
        config = dataclasses.replace(tiny.CONFIG, depth=depth)
        model = WorldModel([], config, tiny.generator())
        assert (model.student_layer, model.teacher_layer) == (student, teacher)


@pytest.mark.parametrize("config", [tiny.CONFIG, tiny.FLUX], ids=["nano", "paper"])
def test_any_subset_of_modalities_in_any_order(config: ModelConfig) -> None:
    model, parts = tiny.model(config=config), noisy()
    reordered = dict(reversed(parts.items()))
    one, other = model(parts), model(reordered)
    assert torch.equal(one.prediction["action"], other.prediction["action"])
    alone = model({"frame": parts["frame"], "action": parts["action"]})
    assert set(alone.prediction) == {"action"}
    assert alone.prediction["action"].shape == (3, 6, 7)


@pytest.mark.parametrize("name", ["text", "frame", "video", "state"])
def test_every_token_is_seen_by_the_others(name: str) -> None:
    model, parts = tiny.model(), noisy()
    changed = parts | {name: dataclasses.replace(parts[name], values=parts[name].values.roll(1, 0))}
    before, after = model(parts).prediction, model(changed).prediction
    assert (before["action"] - after["action"]).abs().max() > 1e-4


def test_time_and_position_matter() -> None:
    model, parts = tiny.model(), noisy()
    before = model(parts).prediction["action"]
    video = parts["video"]
    for other in (
        dataclasses.replace(video, levels=video.levels * 0.5),
        dataclasses.replace(video, position=video.position + 1),
    ):
        after = model(parts | {"video": other}).prediction["action"]
        assert (before - after).abs().max() > 1e-4


def test_the_head_is_applied_to_the_predicted_tokens() -> None:
    model, batch = tiny.model(), noisy()
    output = model(batch, capture=(2,), project=2)
    assert output.features[2].shape == (3, 4 + 6, 32)
    assert output.projected is not None
    assert torch.equal(output.projected, model.projection(output.features[2]))


@pytest.mark.parametrize("config", [tiny.CONFIG, tiny.FLUX], ids=["nano", "paper"])
def test_predictions_are_float32_and_bfloat16_agrees_within_a_bound(config: ModelConfig) -> None:
    model, batch = tiny.model(config=config), noisy()
    exact = model(batch).prediction
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(batch).prediction
    for name, values in exact.items():
        assert rounded[name].dtype == torch.float32
        error = (rounded[name] - values).square().mean().sqrt() / values.square().mean().sqrt()
        assert error < 0.02


def test_a_new_modality_leaves_the_rest_as_it_is() -> None:
    model, parts = tiny.model(), noisy()
    before = model(parts).prediction["action"]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.add_modality(Modality("force", 6), tiny.generator())
    assert torch.equal(model(parts).prediction["action"], before)
    for name, tensor in weights.items():
        assert torch.equal(model.state_dict()[name], tensor)
    with pytest.raises(ValueError, match="already"):
        model.add_modality(Modality("force", 6), tiny.generator())


def test_the_same_seed_gives_the_same_weights() -> None:
    one, other = tiny.model(3).state_dict(), tiny.model(3).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_text_comes_first_wherever_its_modality_was_added() -> None:
    text, *others = tiny.MODALITIES
    one = tiny.model(config=tiny.FLUX)
    other = WorldModel([*others, text], tiny.FLUX, None)
    other.load_state_dict(one.state_dict())
    parts = noisy()
    assert torch.equal(one(parts).prediction["action"], other(parts).prediction["action"])


@pytest.mark.parametrize("config", [tiny.CONFIG, tiny.FLUX], ids=["nano", "paper"])
def test_a_model_is_rebuilt_from_its_description(config: ModelConfig) -> None:
    model = tiny.model(config=config)
    again = WorldModel.from_description(model.description())
    again.load_state_dict(model.state_dict())
    parts = noisy()
    assert torch.equal(again(parts).prediction["video"], model(parts).prediction["video"])


def test_unknown_modality_and_bad_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="no modality 'audio'"):
        tiny.model()({"audio": noisy()["video"]})
    with pytest.raises(UserError, match="even number"):
        ModelConfig(width=30, heads=4)
    wrong: dict[str, Any]
    for name, value in (("width", 0), ("heads", 0), ("depth", -1), ("mlp_ratio", float("nan"))):
        wrong = {name: value}
        with pytest.raises(UserError, match=f"model.{name}={value} must be positive"):
            dataclasses.replace(tiny.CONFIG, **wrong)
    with pytest.raises(UserError, match=r"model.depth=1 has no layer k above layer l"):
        dataclasses.replace(tiny.CONFIG, depth=1)
    with pytest.raises(UserError, match=r"model.double=5 must lie between 0 and model.depth=4"):
        dataclasses.replace(tiny.CONFIG, double=5)
    with pytest.raises(UserError, match="too few for positions on three axes"):
        dataclasses.replace(tiny.CONFIG, heads=8)
    for name in ("single", "swiglu", "bias", "rope"):
        wrong = {name: "other"}
        with pytest.raises(UserError, match=f"model.{name}='other' must be "):
            dataclasses.replace(tiny.CONFIG, **wrong)
    with pytest.raises(UserError, match="x or v"):
        ModelConfig(prediction="eps")  # type: ignore[arg-type]


def apart(tokens: Tokens, draws: int, seed: int = 3) -> Tokens:
    """Every sample several times, with values and times of its own."""
    generator = tiny.generator(seed)
    many = tokens.repeated(draws)
    values = torch.randn(many.values.shape, generator=generator)
    levels = torch.rand(many.levels.shape, generator=generator)
    return dataclasses.replace(many, values=values, levels=levels)


@pytest.mark.parametrize("config", [tiny.CONFIG, tiny.FLUX], ids=["nano", "paper"])
def test_draws_in_one_pass_are_those_of_passes_of_their_own(config: ModelConfig) -> None:
    model = tiny.model(config=dataclasses.replace(config, conditions="conditions"))
    parts = noisy()
    del parts["video"]
    many = apart(parts["action"], 4)
    together = model(parts | {"action": many.folded(4)}).prediction["action"]
    conditions = {name: t.repeated(4) for name, t in parts.items() if name != "action"}
    alone = model(conditions | {"action": many}).prediction["action"]
    torch.testing.assert_close(together.reshape_as(alone), alone, rtol=1e-4, atol=1e-5)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


def test_conditions_do_not_see_what_is_denoised_if_told_so() -> None:
    parts = noisy()
    changed = parts | {
        "action": dataclasses.replace(parts["action"], values=-parts["action"].values)
    }
    cases: list[tuple[Literal["all", "conditions"], bool]]
    cases = [("all", False), ("conditions", True)]
    for conditions, same in cases:
        config = dataclasses.replace(tiny.CONFIG, conditions=conditions)
        model = tiny.model(config=config)
        seen: list[torch.Tensor] = []
        model.trunk.blocks[-1].register_forward_hook(
            lambda *given, seen=seen: seen.append(given[2])
        )
        before, after = model(parts).prediction["video"], model(changed).prediction["video"]
        text_and_frame = [each[:, :9] for each in seen]
        assert torch.equal(*text_and_frame) is same
        # Video and actions see each other either way.
        assert (before - after).abs().max() > 1e-4
