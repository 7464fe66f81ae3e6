"""Jerk-limited joint paths for many environments at once.

Every joint goes v0 -> vc, cruises, vc -> 0 with vc as fast as its distance allows; the slowest
joint of an environment sets the time, and the others lower their vc until they need exactly as
long. That is Ruckig's time-synchronised path (Berscheid & Kröger, "Jerk-limited real-time
trajectory generation with arbitrary target states", 2021) for what the robots ask of it: from any
velocity without acceleration to rest. `braking` has the paths for the times no vc gives.

All of it is torch in float64: no loop over environments, joints or simulation steps.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.simpler.robots.batched.braking import brake_in_time
from envs.simpler.robots.batched.limits import Limits, last_below


@dataclass(frozen=True)
class JointTrajectory:
    """Joint paths in pieces of constant jerk; all tensors float64.

    start: positions `(b, j)`, rad. velocity: at the start `(b, j)`. pieces: durations `(b, j, 7)`,
    s. jerks: `(b, j, 7)`. target: `(b, j)`, held after the end. duration: `(b,)`.
    """

    start: Tensor
    velocity: Tensor
    pieces: Tensor
    jerks: Tensor
    target: Tensor
    duration: Tensor

    def at(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Positions and velocities `(s, b, j)` at `times` `(s,)`, s."""
        states = [(self.start, self.velocity, torch.zeros_like(self.start))]
        for duration, jerk in zip(self.pieces.unbind(-1), self.jerks.unbind(-1), strict=True):
            states.append(_advance(*states[-1], jerk, duration))
        position, velocity, acceleration = (
            torch.stack(rows[:-1], -1) for rows in zip(*states, strict=True)
        )
        ends = self.pieces.cumsum(-1)
        begins = ends - self.pieces
        sampled = times.to(self.start).expand(*self.start.shape, -1).contiguous()
        piece = torch.searchsorted(ends[..., :-1].contiguous(), sampled, right=True)

        def there(values: Tensor) -> Tensor:
            return values.gather(-1, piece)

        positions, velocities, _ = _advance(
            there(position),
            there(velocity),
            there(acceleration),
            there(self.jerks),
            sampled - there(begins),
        )
        over = sampled >= self.duration[:, None, None]
        positions = torch.where(over, self.target[..., None], positions)
        velocities = torch.where(over, torch.zeros_like(velocities), velocities)
        return positions.movedim(-1, 0), velocities.movedim(-1, 0)

    def sample(self, steps: int, timestep: float) -> tuple[Tensor, Tensor]:
        """Positions and velocities `(steps + 1, b, j)` at simulation steps 0 to `steps`."""
        times = torch.arange(steps + 1, device=self.start.device, dtype=torch.float64)
        return self.at(times * timestep)


def plan(start: Tensor, velocity: Tensor, target: Tensor, limits: Limits) -> JointTrajectory:
    """The fastest paths to rest at `target` on which all joints of an environment end together.

    Args: all `(b, j)` (rad, rad/s), on one device; a start velocity beyond the limit is clipped.
    """
    start, velocity, target = (x.to(torch.float64) for x in (start, velocity, target))
    velocity = velocity.clamp(-limits.velocity, limits.velocity)
    # Braking at once ends at `stop`; where the target lies beyond decides which way to cruise.
    # Seen from there (`side`) every cruising velocity is positive.
    distance = target - start
    stop = velocity * limits.change_time(velocity.abs()) / 2
    side = torch.where(distance >= stop, 1.0, -1.0).to(start)
    v0, distance = side * velocity, side * distance
    fastest, time = _fastest(v0, distance, limits)
    duration = time.amax(-1)
    allowed = duration[:, None].expand_as(time)
    cruise, narrow = _in_time(v0, distance, fastest, allowed, limits)
    pieces, jerks = _pieces(v0, cruise, allowed, limits)
    if bool(narrow.any()):
        pieces[narrow], jerks[narrow] = brake_in_time(
            v0[narrow], distance[narrow], allowed[narrow], velocity[narrow] < 0, limits
        )
    return JointTrajectory(start, velocity, pieces, jerks * side[..., None], target, duration)


def _advance(
    position: Tensor, velocity: Tensor, acceleration: Tensor, jerk: Tensor, time: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """State after `time` of constant jerk."""
    return (
        position + time * (velocity + time * (acceleration / 2 + time * jerk / 6)),
        velocity + time * (acceleration + time * jerk / 2),
        acceleration + time * jerk,
    )


def _changing(v0: Tensor, cruise: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
    """Seconds of both changes of velocity, v0 -> cruise and cruise -> 0."""
    return limits.change_time((cruise - v0).abs()), limits.change_time(cruise)


def _distance(v0: Tensor, cruise: Tensor, limits: Limits) -> Tensor:
    """What v0 -> cruise -> 0 covers without cruising: a change goes at its mean velocity."""
    first, last = _changing(v0, cruise, limits)
    return (v0 + cruise) * first / 2 + cruise * last / 2


def _fastest(v0: Tensor, distance: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
    """Cruising velocity of the fastest path and its time (s)."""
    top = torch.full_like(v0, limits.velocity)
    cruise = last_below(
        lambda cruise: _distance(v0, cruise, limits) <= distance, v0.clamp(min=0.0), top
    )
    spare = distance - _distance(v0, top, limits)
    first, last = _changing(v0, torch.where(spare >= 0, top, cruise), limits)
    return torch.where(spare >= 0, top, cruise), first + last + spare.clamp(min=0.0) / top


def _in_time(
    v0: Tensor, distance: Tensor, fastest: Tensor, time: Tensor, limits: Limits
) -> tuple[Tensor, Tensor]:
    """Cruising velocity of the path that takes exactly `time`, and where there is none.

    What is covered in `time` grows with the cruising velocity as long as both changes of velocity
    fit into it. Between 0 and v0 they may not fit, around v0 / 2 longest: there the velocities
    below and above are searched each on their own, and distances in between have no cruise.
    """

    def covered(cruise: Tensor) -> Tensor:
        first, last = _changing(v0, cruise, limits)
        return (v0 + cruise) * first / 2 + cruise * last / 2 + cruise * (time - first - last)

    def fits(cruise: Tensor) -> Tensor:
        first, last = _changing(v0, cruise, limits)
        return first + last <= time

    half = v0.clamp(min=0.0) / 2
    split = ~fits(half)
    slow = half
    if bool(split.any()):
        slow = torch.where(split, last_below(fits, torch.zeros_like(v0), half), half)
    quick = 2 * half - slow
    upper = split & (distance >= covered(quick))
    lower = split & (distance <= covered(slow))
    zero = torch.zeros_like(v0)
    cruise = last_below(
        lambda cruise: covered(cruise) <= distance,
        torch.where(upper, quick, zero),
        torch.where(lower, slow, fastest),
    )
    return cruise, split & ~upper & ~lower


def _pieces(v0: Tensor, cruise: Tensor, time: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
    """Durations and jerks `(b, j, 7)` of v0 -> cruise, cruise, cruise -> 0."""
    ramps = []
    for change in (cruise - v0, cruise):
        ramp = torch.sqrt(change.abs() / limits.jerk).clamp(max=limits.acceleration / limits.jerk)
        ramps.append((ramp, limits.change_time(change.abs()) - 2 * ramp))
    (up, hold), (down, coast) = ramps
    rest = (time - 2 * up - hold - 2 * down - coast).clamp(min=0.0)
    pieces = torch.stack([up, hold, up, rest, down, coast, down], -1).clamp(min=0.0)
    sign = torch.where(cruise >= v0, limits.jerk, -limits.jerk).to(v0)
    zero, jerk = torch.zeros_like(v0), torch.full_like(v0, limits.jerk)
    return pieces, torch.stack([sign, zero, -sign, zero, -jerk, zero, jerk], -1)
