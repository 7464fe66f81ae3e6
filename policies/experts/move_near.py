"""The scripted closed-loop expert of moving one object near another."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from policies.experts.from_above import OPEN, SHUT, Item, item_of
from policies.experts.motion import Goal, Vector, share_of
from policies.experts.tabletop import PickingExpert, TableState

CARRY = 0.05
"""How high above where it stood the source is carried (m)."""
GAP = 0.05
"""Distance between the two objects' circles (m); SIMPLER allows 0.10."""
ROOM = 0.10
"""Distance that the place should keep from the third object's circle (m)."""
TABLE_LOW, TABLE_HIGH = np.array([-0.42, 0.0]), np.array([-0.08, 0.42])
LOWER = (0.018, 0.036)
"""Up to the former of these distances (m) from its place the source is lowered, from the latter on
carried high."""
LET_GO, ASKEW = 0.004, 0.025
STANDS = 0.015
"""Higher than this above where it stood (m), the source is not set down."""
MOVED = 0.04
"""The source was moved if it is this far (m) from where it stood; SIMPLER asks for 0.03."""
NEAR, CLOSEST_SLACK = 0.095, 0.005
"""Distance of the two objects' circles (m) at which they are left there, and how much nearer than
that the third object may be. Just inside SIMPLER's own 0.10 and 0.01: to put down once more what
counts already teaches to undo it."""
UP, BACK = np.array([0.0, 0.0, 0.06]), np.array([0.035, 0.0, 0.06])
CLEAR, AWAY = 0.07, 0.20
"""How high above a grasp (m) the hand, leaving straight up, may draw back to the robot as well, and
how high it rests: higher than any hand that is about to grasp, and out of the picture of what it
has put down. Where one pose could mean both, a learner comes to rest before it has begun."""


class MoveNearExpert(PickingExpert):
    """Moves the source beside the target; `done` once the hand has let go and is away."""

    def reset(self, instruction: str, seed: int) -> None:
        super().reset(instruction, seed)
        self._place: Vector | None = None
        self._touching = 0
        self._start: Vector | None = None

    def _goal(self, state: TableState) -> Goal:
        risen = self.risen(state.item)
        if self._start is None:
            self._start = state.item.centre[:2]
        if self.holds(state):
            return self._carry(state, risen)
        self._place = None
        # Whoever put it there: what a learner has done well is left alone, and a bad place is not.
        moved = float(np.linalg.norm(state.item.centre[:2] - self._start))
        if risen < STANDS and moved > MOVED and beside(state.privileged):
            return self._leave(state)
        return self.grasp(state)

    def _carry(self, state: TableState, risen: float) -> Goal:
        if self._place is None:
            self._place = place_beside(state.item, state.privileged)
        way = self._place - state.item.centre[:2]
        distance = float(np.linalg.norm(way))
        grasped = self._from_above.rotation
        rotation = grasped if grasped is not None else state.rotation
        down = float(np.clip(LET_GO / 2 - risen, -0.03, -0.015))
        if distance < 0.02:
            # What hangs askew touches down before its frame says so.
            lower = state.hand[2] < self._last_hand[2] - 0.002
            self._touching = 0 if lower or risen > ASKEW else self._touching + 1
            if risen < LET_GO or self._touching > 1:
                return self._leave(state)
        # By degrees up, aside and down again: what a learner cannot see exactly has no border.
        high = CARRY + self._varied["lift"]
        off = share_of(distance, *LOWER)
        free = max(1.0 - off, share_of(risen, 0.4 * high, 0.8 * high))
        up = off * (high - risen + 0.02 * (1.0 - free)) + (1.0 - off) * down
        at = np.array([*(state.hand[:2] + free * way), state.hand[2] + up])
        if off < 0.5:
            return Goal(at, rotation, SHUT, "lower")
        return Goal(at, rotation, SHUT, "carry" if free > 0.5 else "lift")

    def _leave(self, state: TableState) -> Goal:
        if state.fingers > 0.35:
            return state.stay(OPEN, "let go")
        risen = state.hand[2] - state.item.grasp[2]
        if risen < AWAY and self._frozen < 3:
            way = UP if risen < CLEAR else BACK
            return Goal(state.hand + way, state.rotation, OPEN, "leave")
        return state.stay(OPEN, "rest")


def beside(privileged: Mapping[str, Any]) -> bool:
    """Whether the source is near the target, and nearer to it than to the third object."""
    objects = {name: item_of(each) for name, each in privileged["objects"].items()}
    source, target = objects.pop(privileged["source"]), objects.pop(privileged["target"])
    distance = float(np.linalg.norm(target.centre[:2] - source.centre[:2]))
    others = [float(np.linalg.norm(o.centre[:2] - source.centre[:2])) for o in objects.values()]
    closest = distance < min(others, default=np.inf) + CLOSEST_SLACK
    return closest and distance < source.reach + target.reach + NEAR


def place_beside(source: Item, privileged: Mapping[str, Any]) -> Vector:
    """Where to set the source down `(2,)`: by the target, clear of the third object, not far."""
    target = item_of(privileged["objects"][privileged["target"]])
    named = (privileged["source"], privileged["target"])
    obstacles = [item_of(v) for k, v in privileged["objects"].items() if k not in named]
    distance = source.reach + target.reach + GAP
    best, least = source.centre[:2], np.inf
    for angle in np.arange(0.0, 2 * np.pi, np.pi / 18):
        ahead = np.array([np.cos(angle), np.sin(angle)])
        place = target.centre[:2] + distance * ahead
        cost = float(np.linalg.norm(place - source.centre[:2]))
        cost += 2.0 * float(np.maximum(0, [TABLE_LOW - place, place - TABLE_HIGH]).sum())
        for obstacle in obstacles:
            distance_to = float(np.linalg.norm(place - obstacle.centre[:2]))
            cost += 5.0 * max(0.0, ROOM - (distance_to - source.reach - obstacle.reach))
            cost += 5.0 * max(0.0, 0.03 - _passing(source.centre[:2], place, obstacle))
        if cost < least:
            best, least = place, cost
    return best


def _passing(start: Vector, end: Vector, obstacle: Item) -> float:
    """How far from an object's circle the straight way passes (m)."""
    way = end - start
    share = np.clip((obstacle.centre[:2] - start) @ way / max(float(way @ way), 1e-9), 0.0, 1.0)
    return float(np.linalg.norm(start + share * way - obstacle.centre[:2])) - 2 * obstacle.reach
