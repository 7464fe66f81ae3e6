"""A game on disk: a video of both pictures side by side, and what was done."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiment.files import disk_error, write_bytes
from policies.playing.session import View
from worldmodel.imagination.pictures import video


class Recording:
    """Keeps the views it is shown; `write` makes `NAME.mp4` and `NAME.json` of them."""

    def __init__(self, about: dict[str, Any]) -> None:
        """Args: `about` is what the game was: task, checkpoint, seed."""
        self._about, self._views = about, list[View]()

    def __call__(self, view: View) -> None:
        self._views.append(view)

    def __len__(self) -> int:
        return len(self._views)

    def write(self, folder: Path) -> Path | None:
        """Write what was recorded into `folder`, under the next free number; None for nothing.

        Raises `UserError` where it cannot be written.
        """
        if not self._views:
            return None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, folder) from error
        taken = [path.stem for path in folder.glob("play_*.json")]
        number = 1 + max((int(name[5:]) for name in taken if name[5:].isdigit()), default=0)
        path = folder / f"play_{number:04d}.mp4"
        size = self._views[0].dreamed.shape[:2]
        scene = {
            "simulator": np.stack([_fitted(view.real, size) for view in self._views]),
            "dream": np.stack([view.dreamed for view in self._views]),
        }
        times = [view.step for view in self._views]
        video(path, [scene], [self._views[-1].instruction], times)
        turns = [
            {"step": v.step, "action": v.action, "difference": v.difference, "success": v.success}
            for v in self._views
        ]
        text = json.dumps(self._about | {"turns": turns}, indent=1)
        write_bytes(path.with_suffix(".json"), text.encode() + b"\n")
        return path


def _fitted(picture: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    resized = Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(resized)
