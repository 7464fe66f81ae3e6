"""What the scripted experts share: the robot's state, goals, and the action that leads to one.

Everything is decided from the true state in the world frame (m, rad). Rotations are matrices
(3, 3), turns are rotation vectors (3,).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from envs.episode import EXECUTED
from experiment.errors import UserError
from policies.contract import Observation

Vector = NDArray[np.float64]
IDLE = 0.01, 0.05
"""Below this translation (m) and rotation (rad) an action asks the hand to stay where it is."""


def matrix_of(pose: Any) -> Vector:
    """Rotation (3, 3) of a pose (7,): position, quaternion w x y z."""
    return np.asarray(Rotation.from_quat(pose[3:], scalar_first=True).as_matrix())


def turned(turn: Vector) -> Vector:
    return np.asarray(Rotation.from_rotvec(turn).as_matrix())


def rotation_between(current: Vector, goal: Vector) -> Vector:
    """Rotation vector (3,) that multiplied from the left turns `current` into `goal`."""
    return np.asarray(Rotation.from_matrix(goal @ current.T).as_rotvec())


def shortened(vector: Vector, limit: float) -> Vector:
    length = float(np.linalg.norm(vector))
    return vector if length <= limit else vector * (limit / length)


def share_of(value: float, low: float, high: float) -> float:
    """How far `value` is from `low` to `high`: 0 below, 1 above, in between by degrees."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


def check_steps(name: str, steps: object) -> None:
    """Raise `UserError` unless the setting `name` is a number of steps, 0 or more."""
    if type(steps) is not int or steps < 0:
        raise UserError(f"{name}={steps}: give a whole number, 0 or more.")


def idle(action: Any) -> bool:
    """Whether an action `(7,)` asks for no movement; None, of which nothing is known, does not."""
    if action is None:
        return False
    return bool(np.linalg.norm(action[:3]) < IDLE[0] and np.linalg.norm(action[3:6]) < IDLE[1])


class Goal(NamedTuple):
    """A gripper pose in the world, the gripper command of its environment, and what it is for."""

    position: Vector
    rotation: Vector
    fingers: float
    phase: str


class RobotState:
    """The robot's true state in the world frame: base, hand (the gripper point) and fingers."""

    def __init__(self, privileged: Mapping[str, Any]) -> None:
        self.base_rotation = matrix_of(privileged["base_pose"])
        self.hand = np.asarray(privileged["gripper_pose_world"][:3], dtype=np.float64)
        self.rotation = matrix_of(privileged["gripper_pose_world"])
        self.fingers = float(privileged["finger_angle"])
        self.finger_target = float(privileged["gripper_target"])

    def turn_to(self, rotation: Vector) -> float:
        """Angle (rad) between the hand and `rotation`."""
        return float(np.linalg.norm(rotation_between(self.rotation, rotation)))

    def stay(self, fingers: float, phase: str) -> Goal:
        return Goal(self.hand, self.rotation, fingers, phase)


S = TypeVar("S", bound=RobotState)


class Drift(NamedTuple):
    """A slowly changing offset of far goals: `decay` and `kick` (m) of its walk, a step each.

    It is added in `phases` only, from `near` (m) to the goal on, in full after `ramp` (m) more.
    """

    phases: tuple[str, ...]
    kick: float
    decay: float = 0.85
    near: float = 0.08
    ramp: float = 0.1
    axes: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass
class Expert(ABC, Generic[S]):
    """A closed-loop expert; `phase` names what its last action was for.

    `max_translation` (m) and `max_rotation` (rad) bound one action; `gain` multiplies the remaining
    error, as only a part of a commanded step is realised within it; `jitter` scales the random
    variation of an episode (0: the action follows from the state alone).
    """

    max_translation: float = 0.09
    max_rotation: float = 0.30
    gain: float = 1.6
    jitter: float = 1.0

    name: ClassVar[str] = "oracle"
    variation: ClassVar[Mapping[str, Any]] = {}
    """Bounds of what an episode draws, by name: (low, high), or such a pair for each axis."""
    drift: ClassVar[Drift]

    def __post_init__(self) -> None:
        self.reset("", 0)

    def reset(self, instruction: str, seed: int) -> None:  # noqa: ARG002
        """Draw this episode's variation from `seed`."""
        self.done = False
        self.phase = ""
        self._generator = np.random.default_rng(seed)
        draw = self._generator.uniform
        self._varied: dict[str, Any] = {
            name: self.jitter * draw(*np.transpose(bounds))
            for name, bounds in self.variation.items()
        }
        self._speed = 1.0 + self.jitter * draw(-0.15, 0.15)
        self._offset = np.zeros(3)
        self._last_fingers = np.inf
        self._last_hand = np.full(3, np.inf)
        self._idle = False

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """One action `(1, 7)` towards the goal of the present state."""
        state = self._state(observation.privileged)
        # A learner that drives may stand still by itself, which is not for want of a way.
        self._idle = idle(observation.privileged.get(EXECUTED))
        goal = self._with_drift(state, self._goal(state))
        self.phase = goal.phase
        self._finish_step(state, observation)
        self._last_fingers, self._last_hand = state.fingers, state.hand
        return self._towards(state, goal)[None].astype(np.float32)

    @staticmethod
    @abstractmethod
    def _state(privileged: Mapping[str, Any]) -> S:
        """Return what the expert sees."""

    @abstractmethod
    def _goal(self, state: S) -> Goal:
        """Return where to go from `state`, and how."""

    def _finish_step(self, state: S, observation: Observation) -> None:  # noqa: ARG002
        """Decide whether all is done; the last state is still the one before."""
        self.done = self.phase in ("rest", "hold", "lost")

    def _with_drift(self, state: S, goal: Goal) -> Goal:
        """The goal, with the drift added while it is still far away."""
        if self.jitter == 0.0:
            return goal
        drift = self.drift
        kick = self._generator.normal(size=3) * drift.kick * self.jitter
        self._offset = drift.decay * self._offset + kick
        away = float(np.linalg.norm(goal.position - state.hand))
        if goal.phase not in drift.phases or away < drift.near:
            return goal
        share = min(1.0, (away - drift.near) / drift.ramp)
        return goal._replace(position=goal.position + share * self._offset * drift.axes)

    def _towards(self, state: S, goal: Goal) -> Vector:
        """The action (7,) towards `goal`, bounded by one step."""
        step, turn = self._step(state.hand, state.rotation, goal)
        to_base = state.base_rotation.T
        return np.concatenate([to_base @ step, to_base @ turn, [goal.fingers]])

    def _step(self, position: Vector, rotation: Vector, goal: Goal) -> tuple[Vector, Vector]:
        """Step (m) and turn (rad) from a pose towards `goal`, in the world."""
        step = shortened(self.gain * (goal.position - position), self.max_translation * self._speed)
        turn = self.gain * rotation_between(rotation, goal.rotation)
        return step, shortened(turn, self.max_rotation)
