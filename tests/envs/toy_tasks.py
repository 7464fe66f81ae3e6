"""The toy world as several tasks and variants; says which ones were built and not yet closed."""

from typing import Any

from tests.envs.toy import BrokenPolicy, ToyEnv, ToyPolicy

built: list[tuple[str, str]] = []
alive: list["ToyTask"] = []


class ToyTask(ToyEnv):
    """A toy world with a task and a variant, which its observation of options shows."""

    def __init__(self, task: str, variant: str = "visual_matching") -> None:
        super().__init__()
        self.task, self.variant = task, variant
        built.append((task, variant))
        alive.append(self)

    def close(self) -> None:
        super().close()
        alive.remove(self)

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
