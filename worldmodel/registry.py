"""Names in closed tables: what a checkpoint's `config.json` may choose, and how it is rebuilt.

A checkpoint may come from elsewhere: it names a `kind` that we know and plain settings, never
something to import.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from experiment.errors import UserError, nearest

T = TypeVar("T")


def described(built: Any) -> dict[str, Any]:
    """Return the `kind` and the settings of a dataclass, as plain values."""
    return {"kind": built.kind} | asdict(built)


def restored(section: Any, table: Mapping[str, type[T]], label: str) -> T:
    """Build what `described` wrote; raises `UserError` naming `label` and the field."""
    if not isinstance(section, Mapping):
        raise UserError(f"{label} must be an object with a kind and its settings.")
    settings = dict(section)
    kind = settings.pop("kind", None)
    if not isinstance(kind, str) or kind not in table:
        raise UserError(f"{label}.kind={kind!r} is unknown.{nearest(str(kind), table)}")
    known = {field.name: field for field in fields(table[kind])}  # type: ignore[arg-type]
    for name, value in settings.items():
        if name not in known:
            raise UserError(f"{label}.{name}: {kind} has no such setting.{nearest(name, known)}")
        default = known[name].default
        if type(default) in (int, str, bool) and type(value) is not type(default):
            raise UserError(f"{label}.{name}={value!r} must be like {default!r}.")
    try:
        return table[kind](**settings)
    except TypeError as error:
        raise UserError(f"{label} is incomplete ({error}).") from error


def compare(here: Mapping[str, Any], there: Mapping[str, Any], section: str, source: str) -> None:
    """Raise `UserError` for the first field that differs: which, and the two values."""
    for name in (*there, *here):
        if here.get(name) != there.get(name):
            raise UserError(
                f"{source} has {section}.{name}={there.get(name)}, these settings have "
                f"{here.get(name)}: leave {section} out, or set it to the same."
            )
