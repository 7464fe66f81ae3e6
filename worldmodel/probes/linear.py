"""Linear readouts: ridge regression, and logistic regression for states that are true or false.

Features are standardised by those of the training samples. The penalty is chosen on a part of the
training samples that is held out by group (the episode), then all of them are fitted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

PENALTIES = tuple(10.0**power for power in range(-3, 6))
"""Candidates, relative to the number of samples."""

_CHOSEN_ON = 0.25  # share of the groups on which the penalty is chosen
_SMALLEST = 1e-8
_ITERATIONS = {"maxiter": 60}
_LOGISTIC_PENALTIES: tuple[float, ...] = (1.0, 0.1, 0.01, 0.001)


@dataclass(frozen=True)
class Scale:
    """Mean and deviation of features `(d,)`; constant ones are only centred."""

    mean: Numbers
    deviation: Numbers

    @classmethod
    def of(cls, features: Numbers) -> "Scale":
        deviation = features.std(0)
        return cls(features.mean(0), np.where(deviation > _SMALLEST, deviation, 1.0))

    def __call__(self, features: Numbers) -> Numbers:
        return (features - self.mean) / self.deviation


def split_groups(
    groups: NDArray[np.int64], share: float, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the samples of most groups and those of the rest, a `share` of them, at least one.

    Raises `ValueError` with fewer than two groups.
    """
    names = np.unique(groups)
    if len(names) < 2:
        raise ValueError("samples of at least two groups are needed to hold some out")
    count = min(max(1, round(share * len(names))), len(names) - 1)
    chosen = np.isin(groups, generator.permutation(names)[:count])
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def ridge(
    features: Numbers,
    targets: Numbers,
    groups: NDArray[np.int64],
    others: Numbers,
    generator: np.random.Generator,
) -> Numbers:
    """Fit `features` `(n, d)` to `targets` `(n, m)`; return what it predicts of `others` `(k, d)`.

    Every target has its own penalty.
    """
    chosen = np.zeros(targets.shape[1], dtype=np.int64)
    if len(np.unique(groups)) > 1:
        fit, check = split_groups(groups, _CHOSEN_ON, generator)
        answers = _paths(features[fit], targets[fit], features[check])
        chosen = np.square(answers - targets[check]).mean(1).argmin(0)
    return np.take_along_axis(_paths(features, targets, others), chosen[None, None], 0)[0]


def _paths(features: Numbers, targets: Numbers, others: Numbers) -> Numbers:
    """Return predictions of `others` for every penalty, `(p, k, m)`."""
    scale, middle = Scale.of(features), targets.mean(0)
    x, z, y = scale(features), scale(others), targets - middle
    penalties = len(x) * np.asarray(PENALTIES)
    # Whichever of the two products is smaller: features may be as many as pixels.
    wide = x.shape[1] > len(x)
    values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    values = np.maximum(values, 0.0)
    seen = vectors.T @ (y if wide else x.T @ y)
    basis = (z @ x.T if wide else z) @ vectors
    return np.stack([basis @ (seen / (values + p)[:, None]) + middle for p in penalties])


def logistic(
    features: Numbers,
    truth: NDArray[np.bool_],
    groups: NDArray[np.int64],
    others: Numbers,
    generator: np.random.Generator,
) -> Numbers:
    """Fit `features` `(n, d)` to `truth` `(n,)`; return the log odds of `others` `(k, d)`."""
    penalties = _LOGISTIC_PENALTIES
    if len(np.unique(groups)) > 1:
        fit, check = split_groups(groups, _CHOSEN_ON, generator)
        if 0 < truth[fit].sum() < len(fit) and 0 < truth[check].sum() < len(check):
            odds = _log_odds(features[fit], truth[fit], features[check], penalties)
            scores = [area_under_curve(each, truth[check]) for each in odds]
            # The path to the best one, from the strongest penalty on: each starts at the last.
            penalties = penalties[: int(np.argmax(scores)) + 1]
    return _log_odds(features, truth, others, penalties)[-1]


def _log_odds(
    features: Numbers, truth: NDArray[np.bool_], others: Numbers, penalties: Sequence[float]
) -> list[Numbers]:
    """Return the log odds of `others` for every penalty in turn; the constant has none."""
    # Takes a second to load, and targets that are true or false are few.
    from scipy.optimize import minimize

    scale = Scale.of(features)
    x = np.concatenate([scale(features), np.ones((len(features), 1))], 1)
    z = np.concatenate([scale(others), np.ones((len(others), 1))], 1)
    sign, weights, found = np.where(truth, 1.0, -1.0), np.zeros(x.shape[1]), []
    for penalty in penalties:
        shrink = np.full(x.shape[1], penalty)
        shrink[-1] = _SMALLEST

        def loss(w: Numbers, shrink: Numbers = shrink) -> tuple[float, Numbers]:
            margin = sign * (x @ w)
            wrong = 1 / (1 + np.exp(np.clip(margin, -30, 30)))
            value = np.logaddexp(0, -margin).mean() + 0.5 * float(shrink @ w**2)
            return float(value), -x.T @ (sign * wrong) / len(x) + shrink * w

        weights = minimize(loss, weights, jac=True, method="L-BFGS-B", options=_ITERATIONS).x
        found.append(z @ weights)
    return found


def explained(truth: Numbers, predicted: Numbers) -> Numbers:
    """Return R² of each column `(m,)`: 1 is exact, 0 no better than the mean of the truth.

    NaN where the truth does not vary.
    """
    variance = np.square(truth - truth.mean(0)).sum(0)
    missed = np.square(truth - predicted).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variance > _SMALLEST, 1 - missed / variance, np.nan)


def area_under_curve(scores: Numbers, truth: NDArray[np.bool_]) -> float:
    """Return the chance that a true sample scores above a false one; NaN without both."""
    positive, negative = int(truth.sum()), int((~truth).sum())
    if not positive or not negative:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))
