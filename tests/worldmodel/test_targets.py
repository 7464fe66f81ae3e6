"""The representation loss in its geometries, and the predictor that knows only the position."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.worldmodel import tiny
from worldmodel.targets import TARGETS, constant_cosine, representation, shaped

B, N, E = 64, 6, 8


def normal(seed: int = 0, batch: int = B) -> Tensor:
    return torch.randn(batch, N, E, generator=tiny.generator(seed))


def terms(
    projected: Tensor, target: Tensor, kind: str, weight: Tensor | None = None
) -> dict[str, Tensor]:
    return representation(projected, target, kind, weight, None, tiny.generator())  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", TARGETS)
def test_the_target_itself_is_the_best_prediction(kind: str) -> None:
    target = normal()
    reached = shaped(target, kind, torch.ones(B, N), None)  # type: ignore[arg-type]
    best = terms(reached, target, kind)["representation"]
    other = terms(normal(1), target, kind)["representation"]
    assert best.item() == pytest.approx(0.0 if kind == "relations" else -1.0, abs=1e-5)
    assert other > best + 0.1


def test_as_in_the_paper_it_is_minus_the_mean_cosine() -> None:
    projected, target = normal(1), normal(2)
    found = terms(projected, target, "paper")
    assert found["representation"] == -F.cosine_similarity(projected, target, dim=-1).mean()


def test_the_constant_predictor_is_as_good_as_the_positions_explain() -> None:
    everywhere = torch.ones(B, N)
    place = 3 * torch.randn(1, N, E, generator=tiny.generator(3))
    assert constant_cosine(place.expand(B, -1, -1), everywhere).item() == pytest.approx(1.0)
    # Not flattered by a batch of four: the mean of four random directions has length one half.
    chance = torch.stack([
        constant_cosine(normal(seed, 4), torch.ones(4, N)).square() for seed in range(200)
    ])  # fmt: skip
    assert chance.mean() < 0.1
    noisy = place + normal(4)
    best = F.cosine_similarity(F.normalize(noisy, dim=-1).mean(0), noisy, dim=-1).mean()
    assert constant_cosine(noisy, everywhere).item() == pytest.approx(best.item(), abs=0.02)
    assert constant_cosine(normal(0, 1), torch.ones(1, N)) == 0


def test_what_is_not_known_of_the_position_is_excess() -> None:
    place = 3 * torch.randn(1, N, E, generator=tiny.generator(3))
    target = place + normal()
    knows = terms(target, target, "paper")
    guesses = terms(place.expand(B, -1, -1), target, "paper")
    assert knows["excess_cosine"] > 0.02
    assert abs(guesses["excess_cosine"]) < 0.01
    centred = terms(place.expand(B, -1, -1), target, "centred")
    assert centred["constant_cosine"] < 0.2
    assert abs(centred["cosine"]) < 0.2


def test_zscore_leaves_no_direction_that_the_tokens_of_a_sample_share() -> None:
    target = normal() + 10.0
    found = shaped(target, "zscore", torch.ones(B, N), None)
    torch.testing.assert_close(found.mean(1), torch.zeros(B, E), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.var(1, unbiased=False), torch.ones(B, E), atol=1e-3, rtol=0)


def test_a_direction_that_all_tokens_share_does_not_satisfy_relations() -> None:
    target = normal() + 10.0
    collapsed = torch.ones(B, N, E) + 1e-3 * normal(1)
    found = terms(collapsed, target, "relations")
    assert found["relation_error"] > 0.1
    assert found["relation_error"] > found["constant_relation_error"]


@pytest.mark.parametrize("kind", TARGETS)
def test_tokens_that_do_not_count_change_nothing(kind: str) -> None:
    projected, target = normal(1), normal(2)
    weight = torch.ones(B, N)
    weight[:, -2:] = 0
    before = terms(projected, target, kind, weight)
    wild = target.clone()
    wild[:, -2:] = 100.0
    after = terms(projected, wild, kind, weight)
    assert before.keys() == after.keys()
    for name in before:
        torch.testing.assert_close(before[name], after[name])


def test_relations_of_many_tokens_are_those_of_some_of_them() -> None:
    projected = torch.randn(2, 600, E, generator=tiny.generator(5))
    found = terms(projected, projected, "relations")
    assert found["representation"].item() == pytest.approx(0.0, abs=1e-6)
