"""Braking to a target in a given time where no cruising velocity will do.

A joint that moves towards a target a little beyond where it would come to a stop, and that has a
little more time than it needs, can neither keep its velocity nor brake to a slower one: two
separate changes of velocity would not fit into its time. It brakes once, but unevenly. Which of the
uneven ways is a matter of taste; these are the ones that Ruckig takes.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from envs.simpler.robots.batched.limits import Limits, last_below

Pieces = tuple[Tensor, ...]

TOLERANCE = 1e-9
"""Of what is covered, rad."""

# Signs of the jerk in the seven pieces, for a joint that moves forwards.
EARLY = (-1, 0, 1, 0, 1, 0, 0)
BUMP = (1, 0, -1, 0, 0, 0, 1)
WAVE = (-1, 0, 1, 0, -1, 0, 1)


def brake_in_time(
    v0: Tensor,
    distance: Tensor,
    time: Tensor,
    mirrored: Tensor,
    limits: Limits,
) -> tuple[Tensor, Tensor]:
    """Pieces of constant jerk from `v0` > 0 to rest.

    Args: velocity (rad/s), distance (rad) and time (s), each `(n,)`, of joints for which the
        planner found no cruising velocity; `mirrored` `(n,)` where they really move backwards.
    Returns: durations (s) and jerks `(n, 7)`.
    """
    late = distance >= v0 * time / 2
    bump, possible = _bump(v0, distance, time, limits)
    wave, also = _wave(v0, distance, time, limits)
    # Ruckig looks for the bump first going forwards, for the wave first going backwards.
    waves = late & also & (mirrored | ~possible)
    pieces = torch.where(late[:, None], bump, _early(v0, distance, time, limits))
    pieces = torch.where(waves[:, None], wave, pieces)
    signs = torch.tensor([EARLY, BUMP, WAVE], device=v0.device).to(v0)
    return pieces, signs[late.long() + waves.long()] * limits.jerk


def _solve(
    shape: Callable[[Tensor], Pieces],
    signs: tuple[int, ...],
    v0: Tensor,
    distance: Tensor,
    low: Tensor,
    high: Tensor,
    jerk: float,
) -> tuple[Tensor, Tensor]:
    """Pieces `shape(x)` with x between `low` and `high` that cover `distance`, and whether they do.

    What is covered must grow with x.
    """
    pieces = shape(last_below(lambda x: _covered(shape(x), signs, v0, jerk) <= distance, low, high))
    hit = (_covered(pieces, signs, v0, jerk) - distance).abs() < TOLERANCE
    return torch.stack(torch.broadcast_tensors(*pieces), -1), hit


def _covered(pieces: Pieces, signs: tuple[int, ...], v0: Tensor, jerk: float) -> Tensor:
    position, velocity, acceleration = torch.zeros_like(v0), v0, torch.zeros_like(v0)
    for time, sign in zip(pieces, signs, strict=True):
        step = sign * jerk
        position = position + time * (velocity + time * (acceleration / 2 + time * step / 6))
        velocity = velocity + time * (acceleration + time * step / 2)
        acceleration = acceleration + time * step
    return position


def _early(v0: Tensor, distance: Tensor, time: Tensor, limits: Limits) -> Tensor:
    """Brake hard first (held at the limit where it is reached), gently afterwards."""
    jerk, none = limits.jerk, torch.zeros_like(v0)
    ramp = torch.full_like(v0, limits.acceleration / jerk)
    even = (time - torch.sqrt((time**2 - 4 * v0 / jerk).clamp(min=0.0))) / 2
    hardest = torch.minimum(torch.sqrt(v0 / jerk), ramp)

    def below_limit(lack: Tensor) -> Pieces:
        peak = hardest - lack
        hold = time - 2 * peak
        gentle = (v0 - jerk * peak**2) / (hold * jerk)
        return peak, none, peak - gentle, hold, gentle, none, none

    def at_limit(gentle: Tensor) -> Pieces:
        rest = time - 2 * ramp
        hard = (v0 / jerk - ramp**2 - gentle * rest) / (ramp - gentle)
        return ramp, hard, ramp - gentle, rest - hard, gentle, none, none

    # The harder the braking begins the less is covered.
    soft, _ = _solve(below_limit, EARLY, v0, distance, none, hardest - even, jerk)
    hard = below_limit(none)
    held, _ = _solve(at_limit, EARLY, v0, distance, none, hard[4], jerk)
    return torch.where((_covered(hard, EARLY, v0, jerk) > distance)[:, None], held, soft)


def _bump(v0: Tensor, distance: Tensor, time: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
    """Speed up for a moment, then brake evenly; and where that is possible."""
    jerk, none = limits.jerk, torch.zeros_like(v0)

    def shape(bump: Tensor) -> Pieces:
        left = time - 2 * bump
        ramp = (left - torch.sqrt((left**2 - 4 * (v0 / jerk + bump**2)).clamp(min=0.0))) / 2
        return bump, none, bump + ramp, left - 2 * ramp, none, none, ramp

    # With the longest bump all that is left is one ramp down and one up.
    longest = (time / 4 - v0 / (jerk * time)).clamp(min=0.0)
    pieces, hit = _solve(shape, BUMP, v0, distance, none, longest, jerk)
    slow = v0 + jerk * pieces[:, 0] ** 2 <= limits.velocity
    return pieces, hit & slow & (pieces[:, 6] <= limits.acceleration / jerk)


def _wave(v0: Tensor, distance: Tensor, time: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
    """Brake, ease off, brake again: four ramps without a hold; and where that is possible."""
    jerk, half, none = limits.jerk, time / 2, torch.zeros_like(v0)

    def shape(last: Tensor) -> Pieces:
        # Twice (time left after the first ramp) x (time to ease off) makes up for v0.
        ease = (half**2 - v0 / jerk) / (2 * last)
        return half - last, none, ease, none, last, none, half - ease

    shortest = (half**2 - v0 / jerk) / (2 * half)
    pieces, hit = _solve(shape, WAVE, v0, distance, shortest, half, jerk)
    peaks = torch.maximum(pieces[:, 0], pieces[:, 6])
    return pieces, hit & (pieces >= 0).all(-1) & (peaks <= limits.acceleration / jerk)
