"""Whether an interpreter can run the original simulator."""

from dataclasses import dataclass

import numpy as np

from envs.original import make
from experiment.errors import UserError

TASK = "open_top_drawer"  # all of its files are always there


@dataclass(frozen=True)
class Found:
    """What was tried, in words, and whether the back end can be used so."""

    good: bool
    text: str


def check(python: str) -> list[Found]:
    """Simulate a step without and with pictures; without them experts and physics still work."""
    physics, drawn = _tried(python, None), _tried(python, (64, 64))
    if physics is not None:
        return [Found(False, physics)]
    text = f"{python} simulates" + (" and draws" if drawn is None else f", no pictures: {drawn}")
    return [Found(True, text)]


def _tried(python: str, resolution: tuple[int, int] | None) -> str | None:
    """What went wrong, None if nothing did."""
    try:
        env = make(TASK, python, resolution)
    except UserError as error:
        return str(error)
    try:
        env.reset(seed=0)
        env.step(np.zeros(7, dtype=np.float32))
    except UserError as error:
        return str(error)
    finally:
        env.close()
    return None
