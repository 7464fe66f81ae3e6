"""Observation and action spaces, and what a policy's answer must be: actions `(k, 7)`."""

from typing import Any

import gymnasium
import numpy as np

from experiment.errors import UserError

STATE_SIZE, ACTION_SIZE = 10, 7
ACTION_LIMIT = np.array([1.0] * 3 + [np.pi / 2] * 3 + [1.0], dtype=np.float32)
"""Bounds of SIMPLER's action space: translation (m), rotation (rad), gripper."""

MAX_TRANSLATION = 1.0
"""Largest translation (m) of one action; more is a defect of the policy."""
MAX_ROTATION = float(np.pi)
"""Largest rotation (rad) of one action."""
MAX_GRIPPER = 10.0
"""Largest gripper command of one action (+-1 is the full stroke)."""


def spaces(
    resolution: tuple[int, int] | None,
) -> tuple[gymnasium.spaces.Dict, gymnasium.spaces.Box]:
    """Observation and action space of one environment; `resolution` is (width, height)."""
    observations: dict[str, gymnasium.Space[Any]] = {
        "state": gymnasium.spaces.Box(-np.inf, np.inf, (STATE_SIZE,), np.float32)
    }
    if resolution is not None:
        width, height = resolution
        observations["image"] = gymnasium.spaces.Box(0, 255, (height, width, 3), np.uint8)
    limits = gymnasium.spaces.Box(-ACTION_LIMIT, ACTION_LIMIT, dtype=np.float32)
    return gymnasium.spaces.Dict(observations), limits


def validated_action(action: Any, step: int, dtype: type = np.float32) -> np.ndarray:
    """Return an action `(7,)` for a simulator; raises `UserError` naming the step."""
    action = np.asarray(action, dtype=dtype)
    if action.shape != (ACTION_SIZE,) or not np.isfinite(action).all():
        raise UserError(
            f"the action at step {step} must be {ACTION_SIZE} finite numbers; "
            f"got shape {action.shape}, values {action.tolist()}."
        )
    return action


def validated_chunk(answer: Any, policy: str, step: int) -> np.ndarray:
    """Return the policy's answer as float32 `(k, 7)`.

    `answer` is anything that numpy makes an array of, or a Torch tensor on any device, with or
    without gradients. `step` is the control step at which its first action would be executed.
    Raises `UserError` naming the policy, the step and what is wrong.
    """
    try:
        if hasattr(answer, "detach"):
            answer = answer.detach().cpu().float()
        chunk = np.asarray(answer)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"policy '{policy}' returned no array of actions at step {step} ({error}): "
            "act() must return (k, 7) with k >= 1."
        ) from error
    if chunk.ndim != 2 or chunk.shape[1] != ACTION_SIZE or chunk.shape[0] < 1:
        raise UserError(
            f"policy '{policy}' returned actions of shape {chunk.shape} at step {step}: "
            "act() must return (k, 7) with k >= 1."
        )
    if not (np.issubdtype(chunk.dtype, np.floating) or np.issubdtype(chunk.dtype, np.integer)):
        raise UserError(
            f"policy '{policy}' returned actions of type {chunk.dtype} at step {step}: "
            "act() must return float32."
        )
    chunk = chunk.astype(np.float32)
    for offset, action in enumerate(chunk):
        if not np.isfinite(action).all():
            raise UserError(
                f"policy '{policy}' returned NaN or infinity in the action for step "
                f"{step + offset}: {np.array2string(action, precision=4)}."
            )
        for what, size, limit, unit in (
            ("moves", float(np.linalg.norm(action[:3])), MAX_TRANSLATION, "m"),
            ("turns", float(np.linalg.norm(action[3:6])), MAX_ROTATION, "rad"),
            ("closes the gripper", abs(float(action[6])), MAX_GRIPPER, "units"),
        ):
            if size > limit * (1 + 1e-6):
                raise UserError(
                    f"policy '{policy}' returned an action for step {step + offset} that {what} "
                    f"by {size:.3g} {unit}, more than {limit:.3g}: check its units and its "
                    "normalisation statistics."
                )
    return chunk
