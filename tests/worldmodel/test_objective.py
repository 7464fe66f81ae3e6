"""The objective: what student and teacher see, which gradients flow, which arm is which."""

import dataclasses

import pytest
import torch

from experiment.errors import UserError
from tests.worldmodel import tiny
from worldmodel.corruption import corrupt
from worldmodel.loss import losses
from worldmodel.model import WorldModel
from worldmodel.objective import Objective
from worldmodel.path import interpolate
from worldmodel.schedule import TimestepDensity
from worldmodel.teacher import Teacher
from worldmodel.tokens import Batch

SELF_FLOW = Objective(mask_ratio=0.5)


def run(
    settings: Objective, model: WorldModel, batch: Batch | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], Teacher[WorldModel]]:
    """Return the parts, the gradients by weight, and the teacher."""
    teacher = Teacher(tiny.model(seed=9), 0.99)
    parts = losses(model, teacher, batch or tiny.batch(), tiny.generator(5), settings)
    model.zero_grad()
    parts["total"].backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return parts, gradients, teacher


def test_student_and_teacher_see_the_same_data_and_noise() -> None:
    batch = tiny.batch()
    modalities = tiny.model().modalities
    seen = corrupt(batch, modalities, SELF_FLOW, tiny.generator())
    for name in ("video", "action"):
        x0, x1 = batch[name].values, seen.noise[name]
        for tokens in (seen.student[name], seen.teacher[name]):
            assert torch.equal(tokens.values, interpolate(x0, x1, tokens.tau))
    for name in ("frame", "state"):
        assert seen.student[name] is seen.teacher[name]


def test_the_teacher_sees_every_token_at_the_smaller_time() -> None:
    modalities = tiny.model().modalities
    seen = corrupt(tiny.batch(16), modalities, SELF_FLOW, tiny.generator())
    student = torch.cat([seen.student[n].tau for n in ("video", "action")], 1)
    teacher = torch.cat([seen.teacher[n].tau for n in ("video", "action")], 1)
    assert torch.equal(teacher, teacher[:, :1].expand_as(teacher))
    assert torch.equal(teacher[:, 0], student.amin(1))
    assert (student > teacher).any()


def test_only_the_condition_frame_is_noised_and_only_slightly() -> None:
    batch = tiny.batch(64)
    seen = corrupt(batch, tiny.model().modalities, SELF_FLOW, tiny.generator())
    tau = seen.student["frame"].tau
    assert tau.min() >= 0
    assert 0.15 < tau.max() <= 0.2
    assert torch.equal(seen.student["state"].values, batch["state"].values)


def test_no_gradient_reaches_the_teacher() -> None:
    model = tiny.model()
    _, gradients, teacher = run(SELF_FLOW, model)
    assert all(p.grad is None and not p.requires_grad for p in teacher.model.parameters())
    assert not {id(p) for p in teacher.model.parameters()} & {id(p) for p in model.parameters()}
    assert gradients["projection.0.weight"].abs().max() > 0


def test_the_representation_loss_stops_at_layer_l() -> None:
    model = tiny.model()
    _, with_it, _ = run(SELF_FLOW, model)
    _, without, _ = run(dataclasses.replace(SELF_FLOW, gamma=0.0), model)
    first = "trunk.blocks.0.qkv.weight"
    last = f"trunk.blocks.{model.student_layer}.qkv.weight"
    assert not torch.equal(with_it[first], without[first])
    assert torch.equal(with_it[last], without[last])


def test_gamma_zero_is_plain_dual_timestep_flow_matching_bit_for_bit() -> None:
    zero, zero_gradients, _ = run(dataclasses.replace(SELF_FLOW, gamma=0.0), tiny.model())
    plain, gradients, _ = run(dataclasses.replace(SELF_FLOW, arm="dual_timestep"), tiny.model())
    assert zero.keys() == plain.keys()
    assert all(torch.equal(zero[name], plain[name]) for name in zero)
    assert zero_gradients.keys() == gradients.keys()
    assert all(torch.equal(zero_gradients[name], gradients[name]) for name in gradients)


def test_the_generation_loss_of_self_flow_is_that_of_dual_timestep() -> None:
    full, _, _ = run(SELF_FLOW, tiny.model())
    plain, _, _ = run(dataclasses.replace(SELF_FLOW, arm="dual_timestep"), tiny.model())
    assert torch.equal(full["generation"], plain["generation"])
    torch.testing.assert_close(full["total"], full["generation"] + 0.8 * full["representation"])
    assert -1 <= full["cosine"] <= 1


def test_dual_timestep_without_a_mask_is_flow_matching() -> None:
    dual, _, _ = run(Objective(arm="dual_timestep", mask_ratio=0.0), tiny.model())
    plain, _, _ = run(Objective(arm="flow_matching", mask_ratio=0.0), tiny.model())
    assert all(torch.equal(dual[name], plain[name]) for name in dual)


def test_modalities_share_times_unless_one_has_its_own() -> None:
    modalities = tiny.model().modalities
    shared = Objective(arm="flow_matching")
    tau = {
        n: t.tau
        for n, t in corrupt(tiny.batch(), modalities, shared, tiny.generator()).student.items()
    }
    assert torch.equal(tau["video"][:, 0], tau["action"][:, 0])
    late = TimestepDensity(mean=4.0, std=0.01, shift=1.0, tail_share=0.0)
    own = dataclasses.replace(shared, own_timesteps={"action": late})
    tau = {
        n: t.tau
        for n, t in corrupt(tiny.batch(), modalities, own, tiny.generator()).student.items()
    }
    assert tau["action"].min() > 0.97
    assert (tau["video"][:, 0] != tau["action"][:, 0]).all()


def test_invalid_tokens_do_not_count() -> None:
    batch = tiny.batch()
    action = batch["action"]
    valid = torch.ones(3, 6, dtype=torch.bool)
    valid[:, 4:] = False
    masked = dataclasses.replace(action, valid=valid)
    model = tiny.model()
    settings = Objective(arm="flow_matching")
    alone = {"text": batch["text"], "action": masked}
    parts = losses(model, None, alone, tiny.generator(), settings)
    seen = corrupt(alone, model.modalities, settings, tiny.generator())
    output = model(seen.student).prediction["action"]
    tau = seen.student["action"].tau.clamp(min=0.05).unsqueeze(-1)
    wanted = ((output - action.values) / tau).square()[:, :4].mean()
    torch.testing.assert_close(parts["generation"], wanted)


def test_weights_and_dropout_of_modalities() -> None:
    plain, _, _ = run(Objective(arm="flow_matching"), tiny.model())
    heavy, _, _ = run(Objective(arm="flow_matching", weights={"action": 3.0}), tiny.model())
    torch.testing.assert_close(
        heavy["total"], plain["generation/video"] + 3 * plain["generation/action"]
    )
    dropped, _, _ = run(Objective(arm="flow_matching", dropout={"video": 1.0}), tiny.model())
    assert "generation/video" not in dropped
    assert dropped["tokens"] == plain["tokens"] - 3 * 4
    settings = Objective(arm="flow_matching", dropout={"video": 0.5})
    model = tiny.model()
    kept = [
        "generation/video" in losses(model, None, tiny.batch(1), tiny.generator(i), settings)
        for i in range(60)
    ]
    assert 15 < sum(kept) < 45


def test_learning_lowers_the_loss() -> None:
    model = tiny.model()
    teacher = Teacher(model, 0.9)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    history = []
    for step in range(60):
        parts = losses(model, teacher, tiny.batch(), tiny.generator(step), SELF_FLOW)
        optimiser.zero_grad()
        parts["total"].backward()
        optimiser.step()
        teacher.update(model, step)
        history.append(parts["generation"].item())
    assert sum(history[-10:]) < 0.7 * sum(history[:10])


def test_bad_settings_are_named() -> None:
    with pytest.raises(UserError, match="Did you mean 'dual_timestep'"):
        Objective(arm="dual_timesteps")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="mask_ratio"):
        Objective(mask_ratio=0.7)
    modalities = tiny.model().modalities
    Objective(dropout={"video": 0.9}).check(modalities)
    for settings, words in (
        (
            Objective(dropout={"video": 0.1, "action": 0.1}),
            "all that is predicted",
        ),
        (Objective(condition_noise={"frames": 0.2}), "Did you mean 'frame'"),
        (Objective(condition_noise={"video": 0.2}), "is predicted"),
        (Objective(weights={"vidoe": 1.0}), "objective.weights.*Did you mean 'video'"),
    ):
        with pytest.raises(UserError, match=words):
            settings.check(modalities)
    with pytest.raises(UserError, match=r"dropout.video=1.5 must lie"):
        Objective(dropout={"video": 1.5})
    with pytest.raises(ValueError, match="needs a teacher"):
        losses(tiny.model(), None, tiny.batch(), tiny.generator(), SELF_FLOW)


def test_several_draws_are_a_mean_over_draws() -> None:
    """The loss of 64 draws of one batch has the mean of the losses of one draw, and less spread."""
    settings = Objective(arm="dual_timestep", dropout={"video": 1.0}, condition_noise={})
    config = dataclasses.replace(tiny.CONFIG, conditions="conditions")
    model, batch = tiny.model(config=config), tiny.batch()

    def values(draws: int, count: int) -> torch.Tensor:
        several = dataclasses.replace(settings, draws=draws)
        with torch.no_grad():
            found = [
                losses(model, None, batch, tiny.generator(seed), several)["generation/action"]
                for seed in range(count)
            ]
        return torch.stack(found)

    one, many = values(1, 300), values(32, 12)
    assert many.std() < 0.4 * one.std()
    assert (one.mean() - many.mean()).abs() < 4 * (one.std() / 300**0.5 + many.std() / 12**0.5)


def test_draws_need_conditions_that_look_at_none_of_them() -> None:
    settings = Objective(arm="dual_timestep", draws=4, condition_noise={})
    modalities = tiny.model().modalities
    with pytest.raises(UserError, match=r"set model\.conditions=conditions"):
        settings.check(modalities, tiny.CONFIG)
    settings.check(modalities, dataclasses.replace(tiny.CONFIG, conditions="conditions"))
    with pytest.raises(UserError, match="one draw alone"):
        Objective(draws=4)
    with pytest.raises(UserError, match="between 1 and"):
        Objective(arm="flow_matching", draws=0)
