"""A list of episodes as text: a line an episode, then how many there are of each task."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from envs.episode import Episode


def lines(protocol: str, episodes: Sequence[Episode]) -> Iterator[str]:
    """Yield the lines: task, index, seed, variant, options; then the totals."""
    tasks = max([len(episode.task) for episode in episodes] + [len("task")])
    variants = max([len(episode.variant) for episode in episodes] + [len("variant")])
    yield f"{'task':{tasks}}  index        seed  {'variant':{variants}}  options"
    for episode in episodes:
        options = "  ".join(f"{k}={_text(v)}" for k, v in episode.reset_options().items())
        yield (
            f"{episode.task:{tasks}}  {episode.index:5d}  {episode.seed:10d}  "
            f"{episode.variant:{variants}}  {options or 'from the seed'}"
        )
    yield ""
    for task, count in Counter(episode.task for episode in episodes).items():
        yield f"{task:{tasks}}  {count:5d}"
    yield f"{'in all':{tasks}}  {len(episodes):5d} episodes of protocol {protocol}"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_text(part) for part in value) + ")"
    if isinstance(value, float):
        # Rounding of the grids' last bits only; 0 without a sign.
        return f"{value:.5g}"
    return str(value) if value != "" else "unchanged"
