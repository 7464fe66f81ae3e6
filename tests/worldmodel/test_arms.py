"""Arms beside Self-Flow, text dropout and guidance, and figures that the log shows."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from experiment.errors import UserError
from tests.worldmodel import tiny
from worldmodel.corruption import corrupt
from worldmodel.diagnostics import agreements, gradient_cosine
from worldmodel.loss import losses
from worldmodel.model import WorldModel
from worldmodel.objective import Objective
from worldmodel.sampler import Sampling, sample
from worldmodel.schedule import TimestepDensity
from worldmodel.targets import TARGETS
from worldmodel.teacher import Teacher
from worldmodel.tokens import Batch

SRA = Objective(arm="sra")
ALWAYS_HALF = TimestepDensity(std=1e-6, shift=1.0, tail_share=0.0)


def terms(
    settings: Objective, model: WorldModel | None = None, batch: Batch | None = None
) -> dict[str, torch.Tensor]:
    teacher = Teacher(tiny.model(seed=9), 0.99)
    return losses(
        model or tiny.model(), teacher, batch or tiny.batch(), tiny.generator(5), settings
    )


def test_sra_shows_the_student_one_time_and_the_teacher_a_little_less() -> None:
    seen = corrupt(tiny.batch(256), tiny.model().modalities, SRA, tiny.generator())
    plain = replace(SRA, arm="flow_matching")
    vanilla = corrupt(tiny.batch(256), tiny.model().modalities, plain, tiny.generator())
    student, teacher = seen.student["video"], seen.teacher["video"]
    assert torch.equal(student.values, vanilla.student["video"].values)
    gap = student.tau - teacher.tau
    assert torch.equal(gap, gap[:, :1].expand_as(gap))
    assert gap.min() >= 0
    assert 0.18 < gap.max() <= 0.2 + 1e-6
    assert abs(gap[:, 0].mean().item() - 0.1) < 0.02
    assert torch.equal(seen.noise["video"], vanilla.noise["video"])


def test_sra_without_a_gap_has_the_teacher_see_what_the_student_sees() -> None:
    seen = corrupt(tiny.batch(), tiny.model().modalities, replace(SRA, teacher_gap=0.0),
        tiny.generator())  # fmt: skip
    assert torch.equal(seen.student["video"].values, seen.teacher["video"].values)


@pytest.mark.parametrize("arm", ["sra", "self_flow"])
def test_without_its_weight_an_arm_is_what_it_adds_to(arm: str) -> None:
    bare = {"sra": "flow_matching", "self_flow": "dual_timestep"}[arm]
    zero = terms(Objective(arm=arm, gamma=0.0))  # type: ignore[arg-type]
    plain = terms(Objective(arm=bare))  # type: ignore[arg-type]
    assert zero.keys() == plain.keys()
    assert all(torch.equal(zero[name], plain[name]) for name in zero)
    full = terms(Objective(arm=arm))  # type: ignore[arg-type]
    assert torch.equal(full["generation"], plain["generation"])


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_trains_the_layers_up_to_l_and_not_the_teacher(target: str) -> None:
    settings = Objective(mask_ratio=0.5, target=target)  # type: ignore[arg-type]
    model, teacher = tiny.model(), Teacher(tiny.model(seed=9), 0.99)
    found = losses(model, teacher, tiny.batch(), tiny.generator(5), settings)
    gradients = torch.autograd.grad(
        found["representation"], list(model.parameters()), allow_unused=True
    )
    touched = {
        name
        for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True)
        if gradient is not None and gradient.abs().max() > 0
    }
    assert "trunk.blocks.0.qkv.weight" in touched
    assert f"trunk.blocks.{model.student_layer}.qkv.weight" not in touched
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


def test_noisier_tokens_alone() -> None:
    exact = replace(ALWAYS_HALF, mean=-40.0)  # all at 0, where no token is noisier
    none = terms(Objective(density=exact, representation_on="noisier"))
    assert none["representation"] == 0
    some = terms(Objective(mask_ratio=0.5, representation_on="noisier"))
    every = terms(Objective(mask_ratio=0.5))
    assert some["representation"] != every["representation"]
    assert torch.equal(some["generation"], every["generation"])


def test_running_means_follow_the_teachers_features() -> None:
    settings = Objective(target="running")
    model, teacher = tiny.model(), Teacher(tiny.model(seed=9), 0.99)
    first = losses(model, teacher, tiny.batch(), tiny.generator(5), settings)
    as_paper = losses(model, teacher, tiny.batch(), tiny.generator(5), Objective())
    assert torch.equal(first["cosine"], as_paper["cosine"])
    assert {name: len(mean) for name, mean in teacher.centres.items()} == {"video": 4, "action": 6}
    kept = {name: mean.clone() for name, mean in teacher.centres.items()}
    with torch.no_grad():
        second = losses(model, teacher, tiny.batch(), tiny.generator(5), settings)
    assert second["constant_cosine"] < as_paper["constant_cosine"]
    assert all(torch.equal(kept[name], teacher.centres[name]) for name in kept)
    losses(model, teacher, tiny.batch(seed=3), tiny.generator(6), settings)
    moved = [(teacher.centres[n] - kept[n]).abs().max() for n in kept]
    assert all(0 < move < 0.2 for move in moved)


def test_text_dropout_empties_the_instruction_of_some_samples() -> None:
    batch, modalities = tiny.batch(400), tiny.model().modalities
    plain = corrupt(batch, modalities, Objective(), tiny.generator())
    seen = corrupt(batch, modalities, Objective(text_dropout=0.25), tiny.generator())
    empty = (seen.student["text"].values == 0).all(1)
    assert abs(empty.float().mean().item() - 0.25) < 0.08
    assert torch.equal(seen.student["text"].values[~empty], batch["text"].values[~empty])
    assert seen.teacher["text"] is seen.student["text"]
    assert torch.equal(plain.student["video"].values, seen.student["video"].values)


def guided(model: WorldModel, guidance: float, batch: Batch) -> torch.Tensor:
    known = {name: batch[name] for name in ("text", "frame", "state")}
    unknown = {"video": batch["video"].position, "action": batch["action"].position}
    sampling = Sampling(steps=3, guidance=guidance)
    return sample(
        model,
        known,
        unknown,
        sampling,
        tiny.generator(),
    )["video"]


def test_guidance_goes_from_no_instruction_to_beyond_it() -> None:
    model, batch = tiny.model(), tiny.batch()
    text = batch["text"]
    assert text.null is not None
    without = {**batch, "text": replace(text, values=text.null.expand_as(text.values))}
    plain = guided(model, 1.0, batch)
    torch.testing.assert_close(guided(model, 0.0, batch), guided(model, 1.0, without))
    torch.testing.assert_close(guided(model, 1.0 + 1e-6, batch), plain, atol=1e-4, rtol=1e-4)
    # One step is linear in the guidance.
    assert not torch.allclose(guided(model, 3.0, batch), plain, atol=1e-3)


def test_guidance_of_one_runs_the_model_once_per_step() -> None:
    model, seen = tiny.model(), []
    model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0]["video"].values)))
    guided(model, 1.0, tiny.batch())
    guided(model, 2.0, tiny.batch())
    assert seen == [3, 3, 3, 6, 6, 6]


def test_guidance_needs_text() -> None:
    batch = {name: tokens for name, tokens in tiny.batch().items() if name != "text"}
    sampling = Sampling(guidance=2.0)
    with pytest.raises(UserError, match="no text to be guided by"):
        sample(tiny.model(), {"frame": batch["frame"]}, {"video": batch["video"].position},
            sampling, tiny.generator())  # fmt: skip
    with pytest.raises(UserError, match=r"guidance=-1.0 must lie"):
        Sampling(guidance=-1.0)


def test_a_student_that_is_the_teacher_agrees_with_it() -> None:
    model = tiny.model()
    same = agreements(model, Teacher(model, 0.9), tiny.batch(8), tiny.generator(),
        Objective(density=ALWAYS_HALF))  # fmt: skip
    # Where all times are the same, so are both views.
    assert same["views"].item() == pytest.approx(1.0, abs=1e-5)
    assert same["same_layer"].item() == pytest.approx(1.0, abs=1e-5)
    assert same["layers"] < 0.999
    other = agreements(model, Teacher(tiny.model(9), 0.9), tiny.batch(8), tiny.generator(),
        Objective(mask_ratio=0.5))  # fmt: skip
    assert other["same_layer"] < 0.9
    assert 0 <= other["constant_any"] <= other["constant"] + 0.05


def test_the_gradients_of_the_two_losses() -> None:
    model, teacher = tiny.model(), Teacher(tiny.model(seed=9), 0.99)
    settings = Objective(target="running")
    found = gradient_cosine(model, teacher, tiny.batch(), tiny.generator(5), settings)
    assert not teacher.centres
    assert all(p.grad is None for p in model.parameters())
    assert -1 <= found["gradient_cosine"] <= 1
    twice = gradient_cosine(
        model, teacher, tiny.batch(), tiny.generator(5), replace(settings, gamma=1.6)
    )
    torch.testing.assert_close(twice["gradient_ratio"], 2 * found["gradient_ratio"])
    assert not gradient_cosine(
        model, teacher, tiny.batch(), tiny.generator(5), Objective(arm="flow_matching")
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target": "z-score"}, "Did you mean 'zscore'"),
        ({"mask": "tube"}, "Did you mean 'tubes'"),
        ({"representation_on": "noisy"}, "Did you mean 'noisier'"),
        ({"text_dropout": 1.5}, "text_dropout=1.5 must lie"),
        ({"arm": "repa"}, "outside is the teacher of objective=repa"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Objective(**settings)
