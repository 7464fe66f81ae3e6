"""The extra `serve`: websockets and msgpack."""

from experiment.extras import imported


def require_packages() -> None:
    """Raise `UserError` if a package of the extra is missing."""
    for name in ("websockets", "msgpack"):
        imported(name, "serving", "serve")
