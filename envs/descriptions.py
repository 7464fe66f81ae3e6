"""Things described in plain data, so that any process can build them, also one for each task."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from envs.episode import Episode
from experiment.errors import UserError, nearest

Description = Mapping[str, Any]
"""`{"_target_": "module.Name", **arguments}`."""

_OF_EPISODE = ("task", "variant")


def build(description: Description) -> Any:
    """Build the object that `description` names, telling apart the user's slips and our own.

    Raises `UserError` when the target cannot be imported or does not take the given arguments.
    """
    target = description.get("_target_")
    if not isinstance(target, str):
        raise UserError(f"{dict(description)} names no '_target_' to build, such as module.Name.")
    found = locate(target)
    arguments = {key: value for key, value in description.items() if not key.startswith("_")}
    try:
        inspect.signature(found).bind(**arguments)
    except TypeError as error:
        raise UserError(f"'{target}' does not take these settings: {error}.") from error
    try:
        return hydra.utils.instantiate(dict(description), _convert_="all")
    except InstantiationException as error:
        raise (error.__cause__ or error) from None


def locate(target: str) -> Any:
    """Import what `module.Name` says; raises `UserError` with the nearest names otherwise."""
    module, _, name = target.rpartition(".")
    try:
        found = importlib.import_module(module)
    except (ImportError, ValueError) as error:
        raise UserError(f"'{target}' could not be imported: {error}.") from error
    if not hasattr(found, name):
        public = [known for known in vars(found) if not known.startswith("_")]
        raise UserError(f"'{module}' has no '{name}'.{nearest(name, public)}")
    return getattr(found, name)


class Latest:
    """The thing that a description means for an episode, kept until an episode needs another."""

    def __init__(self, description: Description) -> None:
        self._description = description
        self._of: dict[str, Any] | None = None
        self._built: Any = None

    def __call__(self, episode: Episode) -> Any:
        wanted = for_episode(self._description, episode)
        if wanted != self._of:
            self.close()
            self._built = build(wanted)
            self._of = wanted
        return self._built

    def close(self) -> None:
        built, self._built, self._of = self._built, None, None
        if hasattr(built, "close"):
            built.close()


def for_episode(description: Description, episode: Episode) -> dict[str, Any]:
    """Return `description` with the episode's task and variant where it has None for them."""
    own = {
        name: getattr(episode, name)
        for name in _OF_EPISODE
        if name in description and description[name] is None
    }
    return {**description, **own}
