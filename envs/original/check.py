"""Whether an interpreter can run the original simulator."""

import numpy as np

from envs.original import make
from experiment.errors import UserError

TASK = "open_top_drawer"  # all of its files are always there


def check(python: str) -> str:
    """Simulate a step without and with pictures, and report what works.

    Raises: `UserError` where not even physics does (which is all that experts need).
    """
    _step(python, None)
    try:
        _step(python, (64, 64))
    except UserError as error:
        return f"{python} simulates, no pictures: {error}"
    return f"{python} simulates and draws"


def _step(python: str, resolution: tuple[int, int] | None) -> None:
    env = make(TASK, python, resolution)
    try:
        env.reset(seed=0)
        env.step(np.zeros(7, dtype=np.float32))
    finally:
        env.close()
