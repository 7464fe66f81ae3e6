"""What a client asks: an observation, and whether an episode begins with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiment.errors import UserError, nearest
from policies.contract import STATE_SIZE, Observation
from policies.serving.wire import LARGEST_SIDE

_LONGEST = 10_000

ACCEPTS = ("reset", "seed", "step")
"""Entries of an openpi observation that are for the session, named in the server's metadata."""


@dataclass  # not frozen: OmegaConf could not fill it inside of another
class Keys:
    """What the entries of an openpi observation and answer are called."""

    image: str = "observation/image"
    state: str = "observation/state"
    instruction: str = "prompt"
    actions: str = "actions"


@dataclass(frozen=True)
class Request:
    """`reset`: an episode begins; `seed` and `step` are None where the client does not say."""

    observation: Observation
    reset: bool = False
    seed: int | None = None
    step: int | None = None


def from_openpi(message: Mapping[str, Any], keys: Keys, with_state: bool) -> Request:
    """Return what an openpi observation asks; raises `UserError` naming the entry that is off.

    The picture may be missing, for policies that need none. Without `with_state` the state is
    zeros.
    """
    if not {keys.image, keys.state} & message.keys():
        known = [str(key) for key in message]
        raise UserError(
            f"the observation has neither '{keys.image}' nor '{keys.state}'."
            f"{nearest(keys.image, known[:20])}"
        )
    image = message.get(keys.image)
    state = message.get(keys.state) if with_state else np.zeros(STATE_SIZE, np.float32)
    reset = message.get("reset", False)
    if not isinstance(reset, bool):
        raise UserError("'reset' of the observation must be true or false.")
    return Request(
        Observation(
            image=None if image is None else _image(image, keys.image),
            state=_state(state, keys.state),
            instruction=_instruction(message.get(keys.instruction, ""), keys.instruction),
            step=_whole(message, "step") or 0,
            privileged={},
        ),
        reset,
        _whole(message, "seed"),
        _whole(message, "step"),
    )


def from_vla_eval(payload: Mapping[str, Any], keys: Keys, with_state: bool) -> Request:
    """Return what a vla-eval observation asks: `images` by camera, `states`, `task_description`.

    Raises `UserError` as `from_openpi` does, and for several cameras of which none is `keys.image`.
    """
    images = payload.get("images") or {}
    if not isinstance(images, dict):
        raise UserError("'images' of the observation must be a map of cameras.")
    name = keys.image if keys.image in images else next(iter(images), None)
    if len(images) > 1 and keys.image not in images:
        raise UserError(
            f"the observation has the cameras {', '.join(map(str, images))[:200]}: the server must "
            "be told which with keys.image=NAME."
        )
    message = {
        keys.image: images.get(name),
        keys.state: payload.get("states", payload.get("state")),
        keys.instruction: payload.get("task_description", ""),
    }
    return from_openpi(message, keys, with_state)


def _image(value: Any, name: str) -> np.ndarray:
    array: np.ndarray = value if isinstance(value, np.ndarray) else np.zeros(0)
    fits = array.ndim == 3 and array.shape[-1] == 3 and array.size > 0
    if array.dtype != np.uint8 or not fits or max(array.shape) > LARGEST_SIDE:
        raise UserError(
            f"'{name}' must be a picture, uint8 (h, w, 3) with sides up to {LARGEST_SIDE}; "
            f"{_found(value)}."
        )
    return array


def _state(value: Any, name: str) -> np.ndarray:
    try:
        state = np.asarray(value, dtype=np.float32).reshape(-1)
    except (TypeError, ValueError):
        state = np.zeros(0, np.float32)
    if state.shape != (STATE_SIZE,):
        raise UserError(f"'{name}' must be {STATE_SIZE} numbers; {_found(value)}.")
    if not np.isfinite(state).all():
        raise UserError(f"'{name}' contains NaN or infinity.")
    return state


def _instruction(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise UserError(f"'{name}' must be a text of at most {_LONGEST:,} characters.")
    return value


def _whole(message: Mapping[str, Any], name: str) -> int | None:
    value = message.get(name)
    if value is None or (type(value) is int and 0 <= value < 1 << 63):
        return value
    raise UserError(f"'{name}' of the observation must be a whole number of at least 0.")


def _found(value: Any) -> str:
    if value is None:
        return "it is missing"
    if isinstance(value, np.ndarray):
        return f"it is {value.dtype} {value.shape}"
    return f"it is of type {type(value).__name__}"
