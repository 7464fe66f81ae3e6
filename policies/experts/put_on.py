"""The scripted closed-loop expert of the WidowX's tasks: put one object onto another.

What to do next is decided from what is there (hand, fingers, both objects), so the expert tries
again after a failure. Poses are planned in the world frame; each action moves the target pose a
part of the way towards one goal pose.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policies.contract import Observation
from policies.experts.drawer_state import Vector, rotation_between, shortened
from policies.experts.put_on_state import EMPTY, LOOSE, STALLED, PutScene, downward, nearest_turn
from policies.experts.target_pose import TargetPose, turned

OPEN, SHUT = 1.0, -1.0
"""Gripper commands."""

TIP = 0.0156
"""How far the fingers reach beyond the gripper point (m)."""
TABLE = 0.87
# Room between finger tips and table.
TIP_ROOM = 0.003
# From the gripper point to the outside of an open finger, and to a finger's side.
OUTSIDE, SIDE = 0.040, 0.013
# The sink's basin between its walls: smallest and largest x and y.
BASIN = ((-0.198, 0.117), (-0.0625, 0.2905))


@dataclass(frozen=True)
class Way:
    """How a pair of objects is handled (m).

    along: where the source is grasped, from its centre of mass along its longest axis. depth:
    gripper point above its centre. room: between both when it is let go. carry: the same on the
    way. aside: largest horizontal error of the place. slack: gap between both that still counts.
    square: sides are made parallel. walls: where the open fingers must stay when they grasp.
    """

    along: float = 0.0
    depth: float = 0.002
    room: float = 0.003
    carry: float = 0.05
    aside: float = 0.012
    slack: float = 0.02
    square: bool = False
    walls: tuple[tuple[float, float], tuple[float, float]] | None = None


WAYS = {
    "spoon": Way(along=0.012),
    "carrot": Way(),
    "cube": Way(room=0.002, aside=0.0025, square=True),
    # The basket's walls stand 45 mm above the plane that counts as its bottom.
    "eggplant": Way(depth=0.005, room=0.02, carry=0.085, aside=0.015, slack=0.06, walls=BASIN),
}


def way_of(model: str) -> Way:
    """How to handle a model."""
    return next((way for name, way in WAYS.items() if name in model), Way())


class Goal(NamedTuple):
    """A gripper pose in the world, the gripper command, and what it is for."""

    position: Vector
    rotation: Vector
    gripper: float
    phase: str


@dataclass(frozen=True)
class Habits:
    """One episode's random choices, all around what works."""

    ready: float
    yaw: float
    tilt: float
    along: float
    carry: float
    place: Vector
    retreat: float
    speed: float


class PutOnExpert:
    """Grasps the source from above, puts it onto the target, lets go and retreats upwards.

    `done` is set after the retreat, or when the source fell from the table. `phase` names what the
    last action was for.
    """

    name = "oracle"

    def __init__(
        self, max_translation: float = 0.035, max_rotation: float = 0.30, jitter: float = 1.0
    ) -> None:
        """Set how the expert moves.

        Args: `max_translation` (m) and `max_rotation` (rad) bound one action; `jitter` scales the
            random waypoints of an episode (0: none).
        """
        self.max_translation = max_translation
        self.max_rotation = max_rotation
        self.jitter = jitter
        self.reset("", 0)

    def reset(self, instruction: str, seed: int) -> None:  # noqa: ARG002
        """Draw this episode's habits from `seed`."""
        self.done = False
        self.phase = ""
        self._target: TargetPose | None = None
        self._last_fingers = np.inf
        self._last_hand = np.full(3, np.inf)
        self._generator = np.random.default_rng(seed)
        draw = self._generator.uniform
        scale = self.jitter
        self._habits = Habits(
            ready=0.05 + scale * draw(-0.01, 0.02),
            yaw=scale * draw(-0.08, 0.08),
            tilt=scale * draw(-0.05, 0.05),
            along=scale * draw(-0.004, 0.004),
            carry=scale * draw(0.0, 0.025),
            place=scale * draw(-1.0, 1.0, 2),
            retreat=0.09 + scale * draw(-0.01, 0.03),
            speed=1.0 + scale * draw(-0.15, 0.15),
        )
        self._sway = np.zeros(3)

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """One action `(1, 7)` towards the goal of the present state."""
        scene = PutScene(observation.privileged)
        way = way_of(observation.privileged["source"])
        if self._target is None:
            self._target = TargetPose(scene.hand, scene.rotation)
        self._target.observe(scene.hand, scene.rotation)
        goal = self._swayed(scene, self._goal(scene, way))
        self.phase = goal.phase
        self.done = goal.phase in ("rest", "lost")
        self._last_fingers, self._last_hand = scene.fingers, scene.hand
        step = shortened(
            goal.position - self._target.position, self.max_translation * self._habits.speed
        )
        turn = rotation_between(self._target.rotation, goal.rotation)
        arm = self._target.move(step, shortened(turn, self.max_rotation))
        to_base = scene.base_rotation.T
        action = np.concatenate([to_base @ arm[:3], to_base @ arm[3:], [goal.gripper]])
        return action[None].astype(np.float32)

    # ---- what to do -----------------------------------------------------------------------

    def _goal(self, scene: PutScene, way: Way) -> Goal:
        if scene.lost():
            return Goal(scene.hand, scene.rotation, OPEN, "lost")
        if scene.holds(self._last_fingers):
            return self._carry(scene, way)
        if scene.on_target(way.slack) and not scene.told_to_shut:
            return self._retreat(scene)
        return self._pick(scene, way)

    def _pick(self, scene: PutScene, way: Way) -> Goal:
        rotation = self._grasp_rotation(scene)
        grasp = scene.source + (way.along + self._habits.along) * scene.long_axis
        grasp[2] = max(scene.source[2] + way.depth, TABLE + TIP + TIP_ROOM)
        if way.walls is not None:
            room = OUTSIDE * np.abs(rotation[:2, 1]) + SIDE * np.abs(rotation[:2, 2])
            grasp[:2] = np.clip(grasp[:2], way.walls[0] + room, way.walls[1] - room)
        off = scene.hand - grasp
        aside = float(np.linalg.norm(off[:2]))
        tilt = scene.turn_to(rotation)
        if scene.told_to_shut and scene.fingers > EMPTY and aside < 0.02 and abs(off[2]) < 0.02:
            return self._still(SHUT, "grasp")
        there = aside < 0.007 and abs(off[2]) < 0.005 and tilt < 0.12 and scene.fingers > LOOSE
        # Something holds the hand up, but the source is already between the fingers.
        held_up = aside < 0.012 and abs(off[2]) < 0.018 and self._stands(scene)
        if there or held_up:
            return self._still(SHUT, "grasp")
        if scene.told_to_shut and aside < 0.03:
            return self._still(OPEN, "grasp again")
        if aside < 0.012 and tilt < 0.2 and off[2] > -0.01:
            return Goal(grasp, rotation, OPEN, "approach")
        height = grasp[2] + self._habits.ready
        low = aside > 0.03 and scene.hand[2] < height - 0.02
        ready = np.array([*(scene.hand if low else grasp)[:2], height])
        return Goal(ready, rotation, OPEN, "rise" if low else "go to object")

    def _carry(self, scene: PutScene, way: Way) -> Goal:
        hold = scene.hand - scene.source
        error = scene.yaw_error() if way.square else 0.0
        closing = turned(np.array([0.0, 0.0, error])) @ scene.rotation[:, 1]
        rotation = downward(closing, self._habits.tilt)
        place = scene.target.copy()
        place[:2] += 0.8 * way.aside * self._habits.place
        off = scene.source[:2] - place[:2]
        aside = float(np.linalg.norm(off))
        level = scene.source[2] - scene.gap
        high = level + way.carry + self._habits.carry
        over = aside < way.aside and abs(error) < 0.06
        if over:
            touches = self._stands(scene) and scene.gap < way.room + 0.004
            if scene.gap < way.room + 0.0015 or touches:
                return self._still(OPEN, "release")
            return Goal(np.array([*place[:2], level + way.room]) + hold, rotation, SHUT, "lower")
        if aside < 0.025:
            # Near enough to correct where it is.
            height = min(high, max(float(scene.source[2]), level + way.room + 0.01))
            return Goal(np.array([*place[:2], height]) + hold, rotation, SHUT, "align")
        if scene.source[2] < high - 0.02:
            return Goal(np.array([*scene.source[:2], high]) + hold, rotation, SHUT, "lift")
        return Goal(np.array([*place[:2], high]) + hold, rotation, SHUT, "carry")

    def _retreat(self, scene: PutScene) -> Goal:
        if scene.hand[2] < scene.source[2] + self._habits.retreat - 0.02:
            opening = scene.fingers - self._last_fingers > STALLED
            if scene.fingers < LOOSE and opening:
                return self._still(OPEN, "open hand")
            up = np.array([*scene.hand[:2], scene.source[2] + self._habits.retreat])
            return Goal(up, scene.rotation, OPEN, "retreat")
        phase = "rest" if scene.source_speed < 0.02 else "wait"
        return self._still(OPEN, phase)

    # ---- how to hold and move ---------------------------------------------------------------

    def _grasp_rotation(self, scene: PutScene) -> Vector:
        """The hand downwards, closing across the source, by the smaller turn from now."""
        axis = scene.long_axis
        wanted = np.arctan2(axis[0], -axis[1])
        now = float(np.arctan2(scene.rotation[1, 1], scene.rotation[0, 1]))
        cube = bool(np.ptp(scene.source_size) < 0.002)
        turn = nearest_turn(float(wanted) - now, np.pi / 2 if cube else np.pi)
        yaw = now + turn + self._habits.yaw
        return downward(np.array([np.cos(yaw), np.sin(yaw), 0.0]), self._habits.tilt)

    def _stands(self, scene: PutScene) -> bool:
        """Whether the hand hardly moved in the last control step."""
        return float(np.linalg.norm(scene.hand - self._last_hand)) < 0.0015

    def _still(self, gripper: float, phase: str) -> Goal:
        assert self._target is not None
        return Goal(self._target.position, self._target.rotation, gripper, phase)

    def _swayed(self, scene: PutScene, goal: Goal) -> Goal:
        """The goal, led astray by a slowly changing offset while it is still far away."""
        if self.jitter == 0.0:
            return goal
        self._sway = 0.8 * self._sway + self._generator.normal(size=3) * 0.006 * self.jitter
        away = float(np.linalg.norm(goal.position - scene.hand))
        if goal.phase not in ("go to object", "carry") or away < 0.05:
            return goal
        return goal._replace(position=goal.position + min(1.0, (away - 0.05) / 0.05) * self._sway)
