"""The extra `serve`: websockets and msgpack."""

import importlib

from experiment.errors import UserError


def require_packages() -> None:
    """Raise `UserError` if a package of the extra is missing."""
    for name in ("websockets", "msgpack"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(
                f"serving needs the package {name}, which is not installed: "
                "pip install -e '.[serve]' in the clone."
            ) from error
