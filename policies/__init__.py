"""Robot policies: the joint video-action model, its baselines, fine-tuning and evaluation.

The Python way, nothing of which takes a command line:

>>> import policies
>>> policy = policies.load_policy(task="move_near")
>>> policy.name
'video_action'

`policies.evaluate("task=move_near", "episodes=20")` runs episodes as `python -m policies.eval` does
and returns their records, `policies.table(records)` makes a pandas table of them. Policies of one's
own: `policies.contract`; tasks: `envs.make`.
"""

# What is heavy is imported when it is first used.
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

    from envs.episode import EpisodeRecord
    from policies.chunking import ChunkedPolicy

__all__ = ["evaluate", "load_policy", "table"]


def load_policy(
    checkpoint: str | None = None, task: str | None = None, **settings: Any
) -> "ChunkedPolicy":
    """Return the policy in a folder, or the one that this package brings for `task`.

    It has `reset(instruction, seed)` and `act(observation) -> (k, 7)`. `settings` are `device`,
    `precision` and what changes how it acts, such as `execute=6`. Raises `UserError` naming what is
    wrong.
    """
    from policies.checkpoint import load_policy as load

    return load(checkpoint, task=task, **settings)


def evaluate(*settings: str) -> list["EpisodeRecord"]:
    """Run episodes and return their records; `settings` are those of `python -m policies.eval`.

    Call it under `if __name__ == "__main__":` in a script: episodes run in processes of their own.
    Raises `UserError` naming the setting that is wrong.
    """
    from policies.eval import run

    return run(*settings)


def table(records: "Iterable[EpisodeRecord] | str | Path") -> "DataFrame":
    """Return records, or those of a run's folder, as a pandas table with a row an episode.

    Statistics of the episode are columns `statistics.NAME`, what was fixed at its start
    `options.NAME`, positions (m) `start.object` and `start.target`. Raises `UserError` for a folder
    without records, and where pandas is not installed.
    """
    from policies.evaluation.table_of_records import table_of

    return table_of(records)
