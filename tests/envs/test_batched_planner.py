"""Batched joint paths against Ruckig, which plans one environment at a time."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import ruckig
import torch
from numpy.typing import NDArray

from envs.simpler.robots.batched.limits import Limits
from envs.simpler.robots.batched.planner import plan

Array = NDArray[np.float64]
Problem = tuple[Array, Array, Array]
Problems = Callable[[int, int, Limits], Iterator[Problem]]

ARM = Limits(velocity=1.5, acceleration=2.0, jerk=50.0)
FINGERS = Limits(velocity=1.0, acceleration=7.0, jerk=50.0)
STEPS, TIMESTEP = 171, 1.0 / 513


def reference(problem: Problem, limits: Limits, times: Array | None = None) -> tuple[float, Array]:
    """Ruckig's duration and states `(s, 2, j)` at `times`, by default 25 over the whole path."""
    start, velocity, target = problem
    joints = len(start)
    given = ruckig.InputParameter(joints)
    given.current_position = start.tolist()
    given.current_velocity = np.clip(velocity, -limits.velocity, limits.velocity).tolist()
    given.current_acceleration = [0.0] * joints
    given.target_position = target.tolist()
    given.target_velocity = given.target_acceleration = [0.0] * joints
    given.max_velocity = [limits.velocity] * joints
    given.max_acceleration = [limits.acceleration] * joints
    given.max_jerk = [limits.jerk] * joints
    path = ruckig.Trajectory(joints)
    assert ruckig.Ruckig(joints).calculate(given, path).value >= 0
    if times is None:
        times = np.linspace(0.0, path.duration, 25)
    states = [path.at_time(min(time, path.duration))[:2] for time in times]
    return path.duration, np.array(states)


def stacked(problems: list[Problem]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    start, velocity, target = (
        torch.tensor(np.array(parts)) for parts in zip(*problems, strict=True)
    )
    return start, velocity, target


def check(problems: list[Problem], limits: Limits) -> None:
    """One batched plan of all `problems` against Ruckig's plans of each."""
    path = plan(*stacked(problems), limits)
    times = np.linspace(0.0, float(path.duration.max()), 60)
    positions, velocities = (x.numpy() for x in path.at(torch.tensor(times)))
    for number, problem in enumerate(problems):
        duration, states = reference(problem, limits, times)
        # A distance that is rounding alone takes microseconds, and Ruckig rounds those away.
        assert abs(path.duration[number].item() - duration) < (1e-9 if duration > 1e-5 else 1e-5)
        np.testing.assert_allclose(positions[:, number], states[:, 0], rtol=0, atol=1e-7)
        np.testing.assert_allclose(velocities[:, number], states[:, 1], rtol=0, atol=1e-6)


def anywhere(count: int, joints: int, limits: Limits) -> Iterator[Problem]:
    """Any start velocity, distances from 10 micro-rad to several rad."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        start = rng.uniform(-1, 1, joints)
        far = rng.normal(size=joints) * 10.0 ** rng.uniform(-5, 0.5, joints)
        yield start, rng.uniform(-1, 1, joints) * limits.velocity, start + far


def near_the_stop(count: int, joints: int, limits: Limits) -> Iterator[Problem]:
    """Targets about where braking at once would end: a cruise, an overshoot or uneven braking."""
    rng = np.random.default_rng(1)
    for _ in range(count):
        start = rng.uniform(-1, 1, joints)
        velocity = rng.uniform(-1, 1, joints) * limits.velocity
        stop = limits.change_time(torch.tensor(np.abs(velocity))).numpy() * velocity / 2
        yield start, velocity, start + stop * rng.uniform(0.9, 1.5, joints)


def control(count: int, joints: int, limits: Limits) -> Iterator[Problem]:
    """What control asks: a target moves, and the last path is cut off after a third of a second."""
    rng = np.random.default_rng(2)
    start = velocity = target = np.zeros(joints)
    for number in range(count):
        if number % 50 == 0:
            start = target = rng.uniform(-1, 1, joints)
            velocity = np.zeros(joints)
        size = rng.choice([0.0, 1e-4, 0.02, 0.2], p=[0.2, 0.1, 0.4, 0.3])
        target = target + rng.normal(size=joints) * size
        yield start, velocity, target
        _, states = reference((start, velocity, target), limits, np.array([STEPS * TIMESTEP]))
        start, velocity = states[0]


@pytest.mark.parametrize(("limits", "joints"), [(ARM, 9), (FINGERS, 2), (FINGERS, 7)])
@pytest.mark.parametrize("problems", [anywhere, near_the_stop, control])
def test_paths_are_ruckigs(limits: Limits, joints: int, problems: Problems) -> None:
    check(list(problems(300, joints, limits)), limits)


def test_no_way_to_go_takes_no_time_and_holds() -> None:
    start = torch.tensor([[0.3, -0.2], [0.1, 0.0]])
    path = plan(start, torch.zeros(2, 2), start, ARM)
    positions, velocities = path.sample(STEPS, TIMESTEP)
    assert positions.shape == velocities.shape == (STEPS + 1, 2, 2)
    assert (path.duration == 0).all()
    assert (positions == start.double()).all()
    assert (velocities == 0).all()


def test_the_target_is_held_after_the_end() -> None:
    target = torch.tensor([[0.01, 0.0]])
    path = plan(torch.zeros(1, 2), torch.zeros(1, 2), target, FINGERS)
    positions, velocities = path.sample(STEPS, TIMESTEP)
    ended = torch.arange(STEPS + 1) * TIMESTEP >= path.duration
    assert 10 < int(ended.sum()) < STEPS
    assert (positions[ended] == target.double()).all()
    assert (velocities[ended] == 0).all()


def test_limits_are_kept_and_a_start_velocity_beyond_them_is_clipped() -> None:
    generator = torch.Generator().manual_seed(0)
    start, target = torch.randn(2, 200, 5, generator=generator, dtype=torch.float64)
    velocity = 3 * torch.randn(200, 5, generator=generator, dtype=torch.float64)
    path = plan(start, velocity, target, ARM)
    _, velocities = path.at(torch.linspace(0, 4, 400, dtype=torch.float64))
    assert velocities.abs().max() <= ARM.velocity + 1e-9
    accelerations = (path.jerks * path.pieces).cumsum(-1)
    assert accelerations.abs().max() <= ARM.acceleration + 1e-9
    assert (path.pieces.sum(-1) - path.duration[:, None]).abs().max() < 1e-9


def test_an_environment_is_planned_the_same_in_any_company() -> None:
    problems = list(control(40, 9, ARM))
    together = plan(*stacked(problems), ARM)
    for number, problem in enumerate(problems[:10]):
        alone = plan(*stacked([problem]), ARM)
        torch.testing.assert_close(alone.pieces[0], together.pieces[number], rtol=0, atol=1e-12)
