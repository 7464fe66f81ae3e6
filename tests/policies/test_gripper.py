"""Commands to levels and back."""

import numpy as np
import pytest

from experiment.errors import UserError
from policies.gripper import (
    CLOSED,
    OPEN,
    FingerTarget,
    checked_kind,
    commands,
    in_radians,
    levels,
    scaled,
)


def test_a_level_holds_between_commands() -> None:
    given = np.zeros(12)
    given[0], given[5] = 1.0, -1.0
    assert np.allclose(levels(given)[:5], 1.0)
    assert np.allclose(levels(given)[5:], -1.0, atol=0.02)


def test_levels_start_at_the_reset_level() -> None:
    assert np.allclose(in_radians(levels(np.zeros(3))), 0.0)


def test_a_partial_level_is_reached_from_rest() -> None:
    given = np.zeros(8)
    given[1] = 0.7 / 1.31
    assert np.allclose(in_radians(levels(given))[1:], 0.7, atol=1e-6)


def test_the_stroke_saturates() -> None:
    assert in_radians(levels(np.full(5, 1.0)))[-1] == pytest.approx(CLOSED)
    assert in_radians(levels(np.full(5, -1.0)))[-1] == pytest.approx(OPEN)


@pytest.mark.parametrize("seed", range(5))
def test_levels_to_commands_to_levels(seed: int) -> None:
    """Open, hook and closed in any order, each held for a while, come back as they were."""
    generator = np.random.default_rng(seed)
    chosen = np.repeat(generator.choice([OPEN, 0.3, 0.7, CLOSED], 12), generator.integers(3, 9, 12))
    wanted = scaled(chosen)
    given = commands(wanted, FingerTarget())
    assert np.abs(in_radians(levels(given)) - chosen).max() < 0.05


def test_a_noisy_level_gives_no_commands_while_held() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 40)
    given = commands(scaled(np.full(40, 0.7)) + noise, FingerTarget())
    assert np.count_nonzero(given) == 1


def test_commands_continue_over_chunks() -> None:
    wanted = scaled(np.repeat([0.7, CLOSED, OPEN], 6))
    target = FingerTarget()
    pieces = [commands(piece, target) for piece in np.split(wanted, 3)]
    assert np.array_equal(np.concatenate(pieces), commands(wanted, FingerTarget()))


def test_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="Did you mean 'level'"):
        checked_kind("levels")
