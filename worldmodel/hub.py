"""Checkpoints from and to the Hugging Face hub.

    model = PretrainedWorldModel.from_pretrained("USER/NAME").load().model
    PretrainedWorldModel("runs/pretrain").push_to_hub("USER/NAME")

What is there is what a checkpoint folder is: weights as safetensors, settings as JSON, and a model
card. Nothing is unpickled, and settings name nothing that is imported. Commands read the same as
`checkpoint=hf://USER/NAME`, or `hf://USER/NAME@REVISION`.
"""

import shutil
from pathlib import Path
from typing import Any, Self

from huggingface_hub import ModelHubMixin, snapshot_download

from experiment.errors import UserError
from worldmodel.training.checkpoint import (
    CONFIG,
    WEIGHTS,
    Checkpoint,
    checkpoint_folder,
    load,
    read_config,
)

CARD = "README.md"
_FILES = (CONFIG, WEIGHTS, CARD)


class PretrainedWorldModel(
    ModelHubMixin,
    library_name="self-flow-robotics",
    license="apache-2.0",
    tags=["robotics", "world-model", "self-flow"],
):
    """A checkpoint folder; `load()` reads it.

    `from_pretrained(name)` takes a folder or a name on the hub, `save_pretrained(folder)` copies,
    `push_to_hub(name)` uploads; all from huggingface_hub's mixin, with its arguments.
    """

    def __init__(self, folder: str | Path) -> None:
        """Raises `UserError` for a folder that is no checkpoint."""
        self.folder = checkpoint_folder(str(folder))
        self.sections = read_config(self.folder)

    def load(self) -> Checkpoint:
        """Return the model and all that its `config.json` says; raises `UserError`."""
        return load(self.folder)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **settings: Any) -> Self:
        """See the mixin; raises `UserError` for what does not exist or is damaged."""
        name = str(pretrained_model_name_or_path)
        if Path(name).is_dir():
            return cls(name)
        return cls(downloaded(name, **settings))

    def _save_pretrained(self, save_directory: Path) -> None:
        for name in _FILES:
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, save_directory / name)


def downloaded(name: str, revision: str | None = None, **settings: Any) -> Path:
    """Return the folder in the hub's cache with the checkpoint `name`.

    Only the files of a checkpoint are fetched. `settings` are `snapshot_download`'s. Raises
    `UserError` for a name that does not exist, that may not be read, or that is no checkpoint, and
    where the hub does not answer and nothing is in the cache.
    """
    try:
        folder = snapshot_download(name, revision=revision, allow_patterns=list(_FILES), **settings)
    except (OSError, ValueError) as error:  # of which the hub's own errors are kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{name} could not be had from the hub ({reason}): is the name right, and may this "
            "machine read it (HF_TOKEN)?"
        ) from error
    lacking = [file for file in (CONFIG, WEIGHTS) if not (Path(folder) / file).is_file()]
    if lacking:
        raise UserError(f"{name} on the hub is no checkpoint of ours: it has no {lacking[0]}.")
    return Path(folder)
