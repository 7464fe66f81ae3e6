"""The toy world as several tasks and variants; says in a file which ones were built and closed."""

from pathlib import Path
from typing import Any

from tests.envs.toy import BrokenPolicy, ToyEnv, ToyPolicy


class ToyTask(ToyEnv):
    """A toy world with a task and a variant; appends to the file `log` when it begins and ends."""

    def __init__(self, task: str, variant: str = "visual_matching", log: str | None = None) -> None:
        super().__init__()
        self.task, self.variant, self.log = task, variant, log
        self._note("built")

    def close(self) -> None:
        super().close()
        self._note("closed")

    def _note(self, event: str) -> None:
        if self.log is not None:
            with Path(self.log).open("a") as file:
                file.write(f"{event} {self.task} {self.variant}\n")

    def _info(self) -> dict[str, Any]:
        return super()._info() | {
            "assets": "toy",
            "stand_ins": ["table.glb"],
            "episode_stats": {"task": self.task, "variant": self.variant},
        }


class TaskPolicy(ToyPolicy):
    """A policy that is made for one task."""

    def __init__(self, task: str) -> None:
        super().__init__()
        self.name = f"toy of {task}"


class BrokenTaskPolicy(BrokenPolicy):
    """A policy for one task that answers NaN in the episode with this seed."""

    def __init__(self, task: str, seed: int) -> None:
        super().__init__("nan", seed)
        self.name = f"toy of {task}"
