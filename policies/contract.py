"""What a policy is: `reset(instruction, seed)`, then `act(observation) -> actions (k, 7)`.

The contract lives with the episode loop that relies on it; this module is its name on the
policies' side.

Canonical action `(7,)`: translation (m) and rotation (axis-angle, rad) in the robot's base-aligned
frame at the gripper, then the gripper, +1 closes and -1 opens. This is what models learn. A data
set's adapter (`worldmodel.data.adapter`) turns recorded actions into it, and the robot's codec
(`worldmodel.data.gripper`) turns it into what `act` returns: the action of the robot's environment.
They differ in the gripper alone: SIMPLER's Google robot takes +1 to close, relative to where its
fingers are; SIMPLER's WidowX takes +1 to open, absolute.
"""

from envs.actions import ACTION_SIZE, STATE_SIZE, validated_chunk
from envs.episode import Observation, Policy, checked_policy, policy_name

__all__ = [
    "ACTION_SIZE",
    "STATE_SIZE",
    "Observation",
    "Policy",
    "checked_policy",
    "policy_name",
    "validated_chunk",
]
