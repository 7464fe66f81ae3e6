"""SimplerEnv's simulator (SAPIEN 2) as a second back end, in a separate interpreter."""

import os
from typing import Any

import gymnasium

from envs.simpler.tasks.registry import task_spec
from envs.simpler.tasks.variants import VISUAL_MATCHING, variant_of
from experiment.errors import UserError

PYTHON_VARIABLE = "SIMPLER_ORIGINAL_PYTHON"


def make(
    task: str,
    python: str | None = None,
    resolution: tuple[int, int] | list[int] | None = None,
    variant: str | None = VISUAL_MATCHING,
) -> gymnasium.Env[Any, Any]:
    """Make a task in the original simulator, run by the interpreter `python`.

    Args: `python` has SimplerEnv's ManiSkill2_real2sim installed (docs/original.md), None for the
        one that SIMPLER_ORIGINAL_PYTHON names; `resolution` (width, height), to which the
        original's picture is scaled, None for physics without any renderer.
    Raises: `UserError` for a missing interpreter or one that cannot simulate, for an unknown task
        or variant.
    """
    from envs.original.client import OriginalEnv
    from envs.original.pipe import Pipe

    python = python or os.environ.get(PYTHON_VARIABLE)
    if not python:
        raise UserError(
            "backend=original needs original.python=/path/to/python (or the variable "
            f"{PYTHON_VARIABLE}): an interpreter that has SimplerEnv, see docs/original.md."
        )
    spec = task_spec(task)
    variant = variant or VISUAL_MATCHING
    variant_of(spec, variant)
    size = None if resolution is None else (int(resolution[0]), int(resolution[1]))
    pipe = Pipe(python)
    try:
        return OriginalEnv(spec, pipe, size, variant)
    except BaseException:
        pipe.close()
        raise
