"""Descriptions in plain data of what a worker process builds, where needed once for each task."""

from collections.abc import Mapping
from typing import Any

from envs.episode import Episode
from experiment.settings import Description, build

_OF_EPISODE = ("task", "variant", "branch")


class CachedFactory:
    """Builds what a description means for an episode; keeps it until an episode needs another."""

    def __init__(self, description: Description) -> None:
        self._description = description
        self._of: dict[str, Any] | None = None
        self._built: Any = None

    def __call__(self, episode: Episode) -> Any:
        needed = for_episode(self._description, episode)
        if needed != self._of:
            self.close()
            self._built = build(needed)
            self._of = needed
        return self._built

    def close(self) -> None:
        built, self._built, self._of = self._built, None, None
        if hasattr(built, "close"):
            built.close()


def for_episode(description: Description, episode: Episode) -> dict[str, Any]:
    """Return `description` with the episode's task, variant, branch where it has None for them.

    So are the descriptions in it, such as that of a wrapped environment.
    """
    return {name: _for_episode(name, value, episode) for name, value in description.items()}


def _for_episode(name: str, value: Any, episode: Episode) -> Any:
    if value is None and name in _OF_EPISODE:
        return getattr(episode, name)
    if isinstance(value, Mapping) and "_target_" in value:
        return for_episode(value, episode)
    return value
