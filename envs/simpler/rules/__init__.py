"""SIMPLER's success rules on plain numbers, for a batch of environments `(b,)`.

They know nothing of the simulator, so recorded states of the original can be fed to them.
"""

from envs.simpler.rules.base import CONTACT_IMPULSE, REST_SPEED, Rule
from envs.simpler.rules.drawer import DrawerState, MoveDrawer, PlaceInDrawer, PlaceState
from envs.simpler.rules.grasp import GraspState, LiftObject
from envs.simpler.rules.near import MoveNear, NearState
from envs.simpler.rules.put import PutOn, PutState

__all__ = [
    "CONTACT_IMPULSE",
    "REST_SPEED",
    "DrawerState",
    "GraspState",
    "LiftObject",
    "MoveDrawer",
    "MoveNear",
    "NearState",
    "PlaceInDrawer",
    "PlaceState",
    "PutOn",
    "PutState",
    "Rule",
]
