"""Probes by layer: fitted on some episodes, scored on others, several times."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from experiment.seeding import numpy_generator
from worldmodel.probes.linear import area_under_curve, explained, logistic, ridge, split_groups
from worldmodel.probes.samples import Target

_TESTED = 0.3  # share of the episodes
_SPLIT, _FIT, _SHUFFLE = 1, 2, 3


@dataclass(frozen=True)
class Curve:
    """Scores of one target by layer, from tokens at one time.

    `scores` `(splits, layers)`: R², the mean over the numbers of a target, or for one that is 0 or
    1 the area under the ROC curve. `chance` `(splits,)` are those of the last layer on targets that
    were shuffled. Layer 0, the tokens as they go in, is the baseline.
    """

    target: str
    time: float
    measure: str
    layers: tuple[int, ...]
    scores: np.ndarray
    chance: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return np.nanmean(self.scores, axis=0)

    @property
    def spread(self) -> np.ndarray:
        """Half of the 95 % range over splits (and seeds, where curves were joined)."""
        return 1.96 * np.nanstd(self.scores, axis=0)

    def section(self) -> dict[str, Any]:
        """Return plain values for `probes.json`."""
        arrays = {name: getattr(self, name).tolist() for name in ("scores", "chance")}
        means = {"mean": self.mean.tolist(), "spread": self.spread.tolist()}
        return asdict(self) | arrays | means


def joined(curves: Sequence[Curve]) -> Curve:
    """Return curves of one target and time, of several seeds of a model, as one."""
    first = curves[0]
    scores = np.concatenate([curve.scores for curve in curves])
    chance = np.concatenate([curve.chance for curve in curves])
    return Curve(first.target, first.time, first.measure, first.layers, scores, chance)


def curve(
    features: Mapping[int, np.ndarray],
    target: Target,
    episodes: np.ndarray,
    time: float,
    splits: int,
    seed: int,
) -> Curve | None:
    """Probe every layer's `features` `(n, d)` in `splits` draws of test episodes.

    None for a target that does not vary.
    """
    values = target.values
    if (values == values[:1]).all():
        return None
    layers = tuple(features)
    scores, chance = np.full((splits, len(layers)), np.nan), np.full(splits, np.nan)
    for number in range(splits):
        train, test = split_groups(episodes, _TESTED, numpy_generator(seed, _SPLIT, number))
        for place, layer in enumerate(layers):
            generator = numpy_generator(seed, _FIT, number, layer)
            x = features[layer]
            scores[number, place] = _score(x, values, target, episodes, train, test, generator)
        generator = numpy_generator(seed, _SHUFFLE, number)
        mixed = values[generator.permutation(len(values))]
        x = features[layers[-1]]
        chance[number] = _score(x, mixed, target, episodes, train, test, generator)
    measure = "AUC" if target.binary else "R²"
    return Curve(target.title, time, measure, layers, scores, chance)


def _score(
    features: np.ndarray,
    values: np.ndarray,
    target: Target,
    episodes: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    generator: np.random.Generator,
) -> float:
    known, groups = features[train], episodes[train]
    if target.binary:
        truth = values[:, 0] > 0.5
        if truth[train].all() or not truth[train].any():
            return float("nan")
        odds = logistic(known, truth[train], groups, features[test], generator)
        return area_under_curve(odds, truth[test])
    predicted = ridge(known, values[train], groups, features[test], generator)
    scores = explained(values[test], predicted)
    return float("nan") if np.isnan(scores).all() else float(np.nanmean(scores))
