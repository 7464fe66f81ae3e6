"""Packages that only some commands need."""

import importlib
from typing import Any

from experiment.errors import UserError


def imported(module: str, needed_by: str, extra: str | None = None) -> Any:
    """Import an optional `module`; raises `UserError` saying how to install what is missing.

    `extra` is the extra of this package that brings it, None for a package of its own.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        name = error.name or module
        fix = (
            f"pip install {name}" if extra is None else f"pip install -e '.[{extra}]' in the clone"
        )
        raise UserError(f"{needed_by} needs {name}, which is not installed: {fix}.") from error
