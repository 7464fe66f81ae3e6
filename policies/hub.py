"""Policies from and to the Hugging Face hub.

policy = PretrainedPolicy.from_pretrained("USER/NAME").policy()
PretrainedPolicy("runs/finetune").push_to_hub("USER/NAME")
"""

from pathlib import Path
from typing import Any

from experiment.errors import UserError
from policies.checkpoint import load_policy, robot_of
from policies.chunking import ChunkedPolicy
from worldmodel.hub import PretrainedWorldModel


class PretrainedPolicy(PretrainedWorldModel):
    """A policy's checkpoint folder; see `PretrainedWorldModel`.

    `python -m policies.export` makes one with a model card of what was measured.
    """

    def __init__(self, folder: str | Path) -> None:
        """Raises `UserError` for a folder that is no policy's checkpoint."""
        super().__init__(folder)
        if self.sections.get("kind") is None:
            raise UserError(
                f"{self.folder} is a world model, no policy: take PretrainedWorldModel, or "
                "fine-tune it."
            )
        self.robot = robot_of(self.folder, self.sections)

    def policy(self, **settings: Any) -> ChunkedPolicy:
        """Return the policy; `settings` are those of `load_policy`."""
        return load_policy(str(self.folder), **settings)
