"""Intervals of rates and of their means."""

import numpy as np
import pytest

from policies.evaluation.rates import Rate, mean_of, rate_of, wilson_interval


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        # Brown, Cai, DasGupta (2001) and R's binom.confint(method="wilson").
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (15, 50, 0.1910, 0.4375),
        (59, 60, 0.9114, 0.9971),
    ],
)
def test_wilson_interval(successes: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(successes, total) == pytest.approx((low, high), abs=1e-4)


def test_wilson_interval_of_nothing_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="must not be greater"):
        wilson_interval(3, 2)


def outcomes(successes: int, total: int) -> list[bool]:
    return [True] * successes + [False] * (total - successes)


def test_a_mean_over_equal_numbers_is_the_rate_of_all() -> None:
    parts = [rate_of(outcomes(successes, 25)) for successes in (5, 10, 24)]
    assert mean_of(parts) == rate_of(outcomes(39, 75))
    assert mean_of(parts[:1]) == parts[0]


def test_a_mean_over_unequal_numbers_weighs_them_the_same() -> None:
    found = mean_of([rate_of(outcomes(300, 300)), rate_of(outcomes(0, 10))])
    assert (found.rate, found.total, found.successes) == (0.5, 310, None)
    low, high = wilson_interval(300, 300)[0], wilson_interval(0, 10)[1]
    assert found.low == pytest.approx(0.5 - (1 - low) / 2)
    assert found.high == pytest.approx(0.5 + high / 2)


@pytest.mark.slow
def test_the_interval_of_a_mean_holds_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    truths, totals = (0.9, 0.5, 0.2), (60, 30, 15)
    hits = 0
    for _ in range(1000):
        parts = [
            rate_of(list(generator.random(n) < p)) for p, n in zip(truths, totals, strict=True)
        ]
        found = mean_of(parts)
        hits += bool(found.low <= np.mean(truths) <= found.high)
    assert 0.93 < hits / 1000 < 0.98


def test_a_rate_in_words_and_numbers() -> None:
    rate = rate_of(outcomes(5, 10))
    assert str(rate) == "50 [24, 76]"
    assert rate.plain() == {
        "rate": 0.5, "low": 0.2366, "high": 0.7634, "total": 10, "successes": 5,
    }  # fmt: skip
    assert "successes" not in Rate(0.5, 0.4, 0.6, 310).plain()
