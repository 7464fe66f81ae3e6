"""What a policy is: `reset(instruction, seed)`, then `act(observation) -> actions (k, 7)`.

The contract lives with the episode loop that relies on it; this module is its name on the
policies' side. Conventions: translation (m) and rotation (axis-angle, rad) in the robot's
base-aligned frame at the gripper, then the gripper, +1 closes and -1 opens.
"""

from envs.actions import validated_chunk
from envs.episode import Observation, Policy

__all__ = ["ACTION_SIZE", "STATE_SIZE", "Observation", "Policy", "validated_chunk"]

ACTION_SIZE = 7
STATE_SIZE = 10
