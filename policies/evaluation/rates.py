"""Success rates with 95 % intervals, and their means."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Rate:
    """A success rate in [0, 1] with the ends of its 95 % interval.

    `successes` is None where the rate is a mean of rates; `total` counts the episodes behind it.
    """

    rate: float
    low: float
    high: float
    total: int
    successes: int | None = None

    def __str__(self) -> str:
        """Per cent: `97 [89, 99]`."""
        return f"{100 * self.rate:.0f} [{100 * self.low:.0f}, {100 * self.high:.0f}]"

    def plain(self) -> dict[str, Any]:
        rounded = {name: round(getattr(self, name), 4) for name in ("low", "high")}
        return {k: v for k, v in (asdict(self) | rounded).items() if v is not None}


def wilson_interval(successes: int, total: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion (Wilson 1927); `(0, 1)` of no trials.

    Raises `ValueError` for more successes than trials.
    """
    # Loading scipy.stats takes seconds that printing help or a list need not wait for.
    from scipy.stats import binomtest

    if total == 0 == successes:
        return 0.0, 1.0
    interval = binomtest(successes, total).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def rate_of(outcomes: Sequence[bool]) -> Rate:
    successes, total = sum(outcomes), len(outcomes)
    low, high = wilson_interval(successes, total)
    return Rate(successes / total, low, high, total, successes)


def mean_of(rates: Sequence[Rate]) -> Rate:
    """Return the mean of rates of different things, each weighing the same.

    Of equally many episodes each, it is the rate of all episodes together, with its Wilson
    interval. Otherwise the interval comes from those of the rates, which are independent, by
    variance recovery (MOVER: Zou and Donner 2008).
    """
    successes = [rate.successes for rate in rates if rate.successes is not None]
    total = sum(rate.total for rate in rates)
    if len(successes) == len(rates) and len({rate.total for rate in rates}) == 1:
        low, high = wilson_interval(sum(successes), total)
        return Rate(sum(successes) / total, low, high, total, sum(successes))
    count = len(rates)
    mean = sum(rate.rate for rate in rates) / count
    below = math.sqrt(sum((rate.rate - rate.low) ** 2 for rate in rates)) / count
    above = math.sqrt(sum((rate.high - rate.rate) ** 2 for rate in rates)) / count
    return Rate(mean, mean - below, mean + above, total)
