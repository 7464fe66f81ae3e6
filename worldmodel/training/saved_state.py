"""The state of a run on disk, through `torch.distributed.checkpoint`: one format at every size.

`state/<step>/` holds a safetensors file for each process that saved and, last of all,
`progress.json`: a folder without it is what a kill left behind, and is not read. Any number of
processes reads what any other number wrote. Nothing is unpickled: DCP's usual `.metadata` is, so
its safetensors storage is used, where shapes and offsets are in the headers of the files.
"""

import json
import shutil
import uuid
import warnings
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from safetensors import SafetensorError
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.storage import WriteResult

from experiment.errors import UserError
from experiment.files import disk_error, write_bytes
from worldmodel.training.parallel import Ranks
from worldmodel.training.state import TrainingState

FOLDER, PROGRESS = "state", "progress.json"
RESULTS = (f"{FOLDER}/*/{PROGRESS}",)
"""What a run folder has once a state is saved, for `experiment.run_folder.open_run`."""

# DCP warns that there is one process, which is what one process means.
warnings.filterwarnings("ignore", "torch.distributed is disabled")


class _Writer(HuggingFaceStorageWriter):
    """Writes the shards of all processes; `finish` is called in the first once all have."""

    def __init__(self, folder: Path, progress: bytes) -> None:
        super().__init__(str(folder), save_distributed=True)
        self._folder, self._progress = folder, progress

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        super().finish(metadata, results)
        write_bytes(self._folder / PROGRESS, self._progress)
        _delete_others(self._folder)


class SavedStates:
    """The states of the run in `folder`: the newest one is kept."""

    def __init__(self, folder: Path, ranks: Ranks) -> None:
        self._folder, self._ranks = folder / FOLDER, ranks
        self._writing: Future[Any] | None = None

    def newest(self) -> Path | None:
        """Return the folder of the newest whole state."""
        whole = [path.parent for path in self._folder.glob(f"*/{PROGRESS}")]
        return max(whole, key=lambda path: path.name, default=None)

    def save(self, step: int, tensors: Mapping[str, Tensor], progress: Mapping[str, Any]) -> None:
        """Copy the tensors, and write them while training continues.

        Raises `UserError` of the state that is still being written, as `wait` does.
        """
        self.wait()
        folder = self._folder / f"{step:010d}"
        # What a kill left there, perhaps of another number of processes.
        self._ranks.first_before_others(lambda: _made_anew(folder, self._ranks.first))
        alone = self._ranks.world == 1
        self._writing = dcp.async_save(
            dict(tensors),
            storage_writer=_Writer(folder, json.dumps(progress).encode() + b"\n"),
            process_group=self._ranks.background,
            no_dist=alone,
        )  # type: ignore[assignment]

    def wait(self) -> None:
        """Return once nothing is being written; raises `UserError` if a process could not."""
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        try:
            writing.result()
        except CheckpointException as error:
            rank, (cause, _) = next(iter(error.failures.items()))
            if isinstance(cause, UserError):
                raise cause from error
            if isinstance(cause, OSError):
                raise disk_error(cause, self._folder) from error
            raise UserError(
                f"process {rank} could not write {self._folder} ({cause}): check the disk, and "
                "start the same command again."
            ) from error

    def read(self, state: TrainingState[Any]) -> dict[str, Any] | None:
        """Restore the newest state, if there is one, and return its progress.

        Raises `UserError` for one that is damaged or belongs to another model.
        """
        folder = self.newest()
        if folder is None:
            return None
        progress, shapes = _described(folder)
        try:
            places = state.places(shapes)
            _read_into(places, folder, alone=self._ranks.world == 1)
            state.restore(places, int(progress["step"]), float(progress["seconds"]))
        except (KeyError, ValueError, RuntimeError, CheckpointException) as error:
            raise UserError(
                f"{folder} does not fit this run ({str(error).splitlines()[0]}): give another "
                "out=FOLDER."
            ) from error
        return progress


def read_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of the newest state of a run folder, whole, and its progress."""
    newest = SavedStates(folder, Ranks()).newest()
    if newest is None:
        raise UserError(f"{folder} holds no saved state.")
    progress, shapes = _described(newest)
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    _read_into(tensors, newest, alone=True)
    return tensors, progress


def _read_into(tensors: dict[str, Tensor], folder: Path, alone: bool) -> None:
    dcp.load(tensors, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=alone)


def _described(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Size]]:
    """Return progress and shapes of a saved state, from headers alone."""
    try:
        progress = json.loads((folder / PROGRESS).read_bytes())
        if not isinstance(progress, dict):
            raise ValueError(f"{PROGRESS} is not a JSON object")
        metadata = HuggingFaceStorageReader(str(folder)).read_metadata()
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{folder} is truncated or damaged ({error}): delete it to start anew, or give another "
            "out=FOLDER."
        ) from error
    described = metadata.state_dict_metadata.items()
    return progress, {n: m.size for n, m in described if isinstance(m, TensorStorageMetadata)}


def _made_anew(folder: Path, empty: bool) -> None:
    """Make the folder; raise `UserError` where this process cannot write."""
    try:
        if empty:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise disk_error(error, folder) from error


def _delete_others(folder: Path) -> None:
    for other in folder.parent.iterdir():
        if other != folder and other.is_dir():
            # Its mark goes first: what a kill leaves of it is not read.
            (other / PROGRESS).unlink(missing_ok=True)
            shutil.rmtree(other, ignore_errors=True)
