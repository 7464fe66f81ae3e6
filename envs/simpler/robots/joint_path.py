"""Jerk-limited joint paths, planned by Ruckig, and the rotation that an action means."""

import numpy as np
import ruckig
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def rotation_vector_to_quaternion(rotation: Vector) -> Vector:
    """Axis-angle `(3,)` in radians to a unit quaternion `(4,)`, w x y z."""
    angle = float(np.linalg.norm(rotation))
    if angle < 1e-12:
        return np.array([1.0, *(0.5 * rotation)])
    return np.array([np.cos(angle / 2), *(np.sin(angle / 2) / angle * rotation)])


def plan_path(
    start: Vector,
    start_velocity: Vector,
    target: Vector,
    limits: tuple[float, float, float],
    steps: int,
    timestep: float,
) -> tuple[Vector, Vector]:
    """Time-optimal synchronised path from `start` to rest at `target`.

    Args: joint positions and velocities `(j,)` in rad and rad/s; `limits` are velocity,
        acceleration and jerk; `steps` simulation steps of `timestep` seconds are sampled.
    Returns: positions and velocities `(steps + 1, j)`; the target is held after the end.
    Raises: `RuntimeError` when Ruckig refuses the problem.
    """
    velocity, acceleration, jerk = limits
    problem = ruckig.InputParameter(len(start))
    problem.current_position = start.tolist()
    problem.current_velocity = np.clip(start_velocity, -velocity, velocity).tolist()
    problem.current_acceleration = [0.0] * len(start)
    problem.target_position = target.tolist()
    problem.target_velocity = [0.0] * len(start)
    problem.target_acceleration = [0.0] * len(start)
    problem.max_velocity = [velocity] * len(start)
    problem.max_acceleration = [acceleration] * len(start)
    problem.max_jerk = [jerk] * len(start)
    trajectory = ruckig.Trajectory(len(start))
    result = ruckig.Ruckig(len(start)).calculate(problem, trajectory)
    if result.value < 0:
        raise RuntimeError(f"no joint path from {start} to {target}: Ruckig answered {result}")
    times = np.minimum(np.arange(steps + 1) * timestep, trajectory.duration)
    samples = [trajectory.at_time(t) for t in times]
    return np.array([s[0] for s in samples]), np.array([s[1] for s in samples])
