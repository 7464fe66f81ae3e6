"""Descriptions in plain data of what a worker process builds, where needed once for each task."""

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
    """Return `description` with the episode's task, variant, branch where it has None for them."""
    filled_in = {
        name: getattr(episode, name)
        for name in _OF_EPISODE
        if name in description and description[name] is None
    }
    return {**description, **filled_in}
