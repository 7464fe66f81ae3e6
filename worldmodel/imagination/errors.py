"""How far dreams are from the truth, and whether they follow their actions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FOLLOWS = 1.05
"""Errors with other actions must be this much larger, beyond doubt, for a dream to follow them."""

_DRAWS = 1000


def squared_errors(real: np.ndarray, dreamed: np.ndarray) -> np.ndarray:
    """Return the mean squared error of every frame, `(..., t)`, of pictures in [0, 1].

    `real` and `dreamed` are uint8 `(..., t, h, w, 3)` that broadcast against each other.
    """
    difference = (real.astype(np.float32) - dreamed.astype(np.float32)) / 255
    return np.square(difference).mean((-3, -2, -1)).astype(np.float64)


def psnr(errors: np.ndarray) -> np.ndarray:
    """Return the peak signal-to-noise ratio (dB) of mean squared errors."""
    return -10 * np.log10(np.maximum(errors, 1e-12))


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def section(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


def ratio(
    above: np.ndarray, below: np.ndarray, groups: np.ndarray, generator: np.random.Generator
) -> Interval:
    """Return mean `above` over mean `below` `(n,)`; whole groups (episodes) are drawn anew."""
    names = np.unique(groups)
    sums = np.array([[x[groups == name].sum() for name in names] for x in (above, below)])
    drawn = generator.integers(len(names), size=(_DRAWS, len(names)))
    tops, bottoms = sums[:, drawn].sum(-1)
    low, high = np.quantile(tops / np.maximum(bottoms, 1e-12), [0.025, 0.975])
    value = float(above.sum() / max(below.sum(), 1e-12))
    return Interval(value, float(low), float(high))


def verdict(other: Interval, whose: str) -> str:
    """Say in words whether a dream follows its actions."""
    text = f"error x{other} with {whose}"
    if other.low >= FOLLOWS:
        return f"the dream follows its actions: {text}"
    if other.value >= FOLLOWS:
        return f"whether the dream follows its actions is not clear: {text}"
    return f"the dream ignores its actions: {text}"


def shifted(groups: np.ndarray) -> np.ndarray:
    """Return for each of `(n,)` clips another one, of another group (episode) where there is one.

    A permutation: every clip's actions are used once.
    """
    order = np.argsort(groups, kind="stable")
    largest = int(np.unique(groups, return_counts=True)[1].max())
    away = min(largest, len(order) - 1) if len(np.unique(groups)) > 1 else len(order) // 2
    moved = np.empty_like(order)
    moved[order] = np.roll(order, -max(away, 1))
    return moved


@dataclass(frozen=True)
class Counterfactuals:
    """Dreams of `kinds` of actions `(k,)` against the truths of `kinds`, mean squared errors.

    `errors` `(f, k, k)`: of each family the dream of the actions in the row against the truth of
    those in the column; NaN where the family lacks a kind. `episodes` `(f,)`. `still` `(f, k)` are
    the errors of a picture in which nothing moves.
    """

    kinds: tuple[str, ...]
    errors: np.ndarray
    still: np.ndarray
    episodes: np.ndarray

    @classmethod
    def of(cls, tables: Sequence[tuple[Sequence[str], np.ndarray, np.ndarray, int]]) -> Any:
        """Join families: of each the kinds `(k,)`, errors `(k, k)`, still ones `(k,)`, episode."""
        kinds = tuple(dict.fromkeys(kind for names, *_ in tables for kind in names))
        errors = np.full((len(tables), len(kinds), len(kinds)), np.nan)
        still = np.full((len(tables), len(kinds)), np.nan)
        for row, (names, table, unmoved, _) in enumerate(tables):
            places = [kinds.index(name) for name in names]
            errors[np.ix_([row], places, places)] = table[None]
            still[row, places] = unmoved
        return cls(kinds, errors, still, np.array([episode for *_, episode in tables]))

    @property
    def own(self) -> np.ndarray:
        """Errors of dreams against the truth of their own actions, `(f, k)`."""
        return np.diagonal(self.errors, axis1=1, axis2=2)

    @property
    def others(self) -> np.ndarray:
        """Mean error against one truth of the dreams of all other actions, `(f, k)`."""
        off = ~np.eye(len(self.kinds), dtype=bool) & ~np.isnan(self.errors)
        total = np.where(off, self.errors, 0.0).sum(1)
        return np.where(off.any(1), total / np.maximum(off.sum(1), 1), np.nan)

    def ratio(self, generator: np.random.Generator) -> Interval:
        """How much larger errors are with another branch's actions; families are drawn anew."""
        there = ~np.isnan(self.own)
        groups = np.broadcast_to(self.episodes[:, None], there.shape)[there]
        return ratio(self.others[there], self.own[there], groups, generator)

    @property
    def recognised(self) -> float:
        """Share of the dreams that are nearest to the truth of their own actions."""
        nearest = np.nanargmin(np.where(np.isnan(self.errors), np.inf, self.errors), axis=2)
        there = ~np.isnan(self.own)
        return float((nearest == np.arange(len(self.kinds)))[there].mean())

    @property
    def chance(self) -> float:
        """What `recognised` would be for dreams that do not depend on their actions."""
        there = ~np.isnan(self.own)
        return float(there.any(1).sum() / there.sum())
