"""Reading recordings of the original simulator (`.npz` without pickled objects)."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiment.errors import UserError


@dataclass(frozen=True)
class Golden:
    """One recorded episode: arrays by name, its description and the log of each control step."""

    path: Path
    meta: dict[str, Any]
    arrays: dict[str, NDArray[np.float64]]
    steps: list[dict[str, Any]]

    @property
    def advances(self) -> set[int]:
        """Steps before which the recorder advanced to the next subtask: one, several or none."""
        steps = self.meta.get("advance_before_step")
        if steps is None:
            return set()
        return {int(step) for step in (steps if isinstance(steps, list) else [steps])}

    def joints(self, name: str, step: int | None = None) -> dict[str, float]:
        """Joint positions (rad) by joint name, from array `name` (a row where `step` is given)."""
        values = self.arrays[name] if step is None else self.arrays[name][step]
        return dict(zip(self.meta["active_joints"], map(float, values), strict=True))


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{path} is not a readable recording ({error}); copy it again.") from error


def _json_rows(array: NDArray[Any]) -> list[dict[str, Any]]:
    return [json.loads(str(row)) for row in np.atleast_1d(array)]


def read_episode(path: Path) -> Golden:
    """Read `random/*.npz` or `oracle/*.npz`.

    Raises: `UserError` for a file that is truncated or lacks a needed array.
    """
    data = _load(path)
    try:
        meta = json.loads(str(data.pop("meta_json")))
        steps = _json_rows(data.pop("step_log_json"))
    except KeyError as error:
        raise UserError(f"{path} has no {error}; it is not a recording of an episode.") from error
    return Golden(path, meta, data, steps)


def read_resets(
    path: Path,
) -> tuple[list[dict[str, Any]], dict[str, NDArray[np.float64]], list[str]]:
    """Read `resets/*.npz`: description of each row, arrays stacked over rows, joint names."""
    data = _load(path)
    try:
        rows = _json_rows(data.pop("rows_json"))
        meta = json.loads(str(data.pop("meta_json")))
    except KeyError as error:
        raise UserError(f"{path} has no {error}; it is not a recording of resets.") from error
    if len(rows) == 1 and isinstance(rows[0], list):
        rows = rows[0]
    return rows, data, meta["active_joints"]


def reset_options(described: Mapping[str, Any], base: NDArray[np.float64]) -> dict[str, Any]:
    """Return the options that a recorded reset was made with, in SimplerEnv's words.

    Args: `described` what was recorded with it; `base` pose `(7,)` of the robot's base after it.
    The prepackaged environments overwrite the robot's options: what the recorded robot does not
    stand at is left out.
    """
    options = {k: v for k, v in (described.get("options") or {}).items() if k != "reconfigure"}
    asked = (options.get("robot_init_options") or {}).get("init_xy")
    if asked is None or not np.allclose(asked, base[:2], atol=1e-3):
        options.pop("robot_init_options", None)
    return options


def goldens_of(folder: Path, simpler_name: str, kind: str) -> list[Path]:
    """Files of one task in `folder/kind`, sorted.

    Raises: `UserError` when the folder does not exist.
    """
    if not folder.is_dir():
        raise UserError(f"goldens folder {folder} does not exist; name the recordings' folder.")
    return sorted((folder / kind).glob(f"{simpler_name}__*.npz"))
