"""What a policy's own world model expected, beside what then happened: a picture an episode.

From a few moments of the episode on the model dreams what the executed actions lead to. Where the
simulator does something else is what the model does not know; `worldmodel.imagine` has figures.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from envs.episode import Episode, EpisodeRecord, Observation
from experiment.errors import UserError
from policies.checkpoint import robot_of, shipped
from worldmodel.data.grip import last_grips
from worldmodel.data.gripper import codec_of, learned_of_executed
from worldmodel.data.pictures import resized
from worldmodel.data.windows import WindowBatch
from worldmodel.device import CPU
from worldmodel.imagination.dream import Dreamer, load_dreamer
from worldmodel.imagination.pictures import contact_sheet
from worldmodel.sampler import Sampling
from worldmodel.training.checkpoint import checkpoint_folder, read_config

HORIZON = 12
"""Control steps of a dream."""
_STEPS = 6


def dreams_path(folder: Path, task: str, index: int) -> Path:
    return folder / f"{task}_{index:04d}.png"


class DreamRecorder:
    """Writes `folder/open_and_place_0007.png`: from `moments` steps on, real above dreamed."""

    def __init__(self, folder: str | Path, checkpoint: str | None, moments: int) -> None:
        """Args: `checkpoint` None for the shipped policy of each episode's task.

        Raises `UserError` for a policy that has no world model."""
        self._folder, self._checkpoint, self._moments = Path(folder), checkpoint, moments
        self._dreamers: dict[Path, Dreamer] = {}
        if checkpoint is not None:
            self._dreamer(checkpoint_folder(checkpoint))

    def start(self, episode: Episode, observation: Observation) -> None:  # noqa: ARG002
        self._seen, self._actions = [observation], list[np.ndarray]()

    def step(
        self,
        before: Observation,  # noqa: ARG002
        action: np.ndarray,
        info: Mapping[str, Any],  # noqa: ARG002
        after: Observation,
    ) -> None:
        self._seen.append(after)
        self._actions.append(np.asarray(action, dtype=np.float32))

    def end(self, record: EpisodeRecord) -> None:
        given = self._checkpoint
        folder = shipped(record.task) if given is None else checkpoint_folder(given)
        dreamer = self._dreamer(folder)
        last = len(self._actions) - dreamer.actions_needed(HORIZON)
        if last < 0:
            return
        moments = sorted({*np.linspace(0, last, self._moments).round().astype(int).tolist()})
        times = dreamer.times(HORIZON)
        generator = torch.Generator().manual_seed(record.seed)
        frames = dreamer(self._clips(dreamer, moments), HORIZON, generator, actions=True)
        rows = []
        for moment, dreamed in zip(moments, frames, strict=True):
            real = [self._picture(moment + time) for time in (0, *times)]
            rows.append((f"step {moment}", np.stack(real)))
            first = _resized(real[0], dreamed.shape[1:3])
            rows.append(("dreamed", np.concatenate([first[None], dreamed])))
        contact_sheet(dreams_path(self._folder, record.task, record.index), rows, (0, *times), None)

    def _clips(self, dreamer: Dreamer, moments: list[int]) -> WindowBatch:
        """Return the episode from each moment on, as the model reads it."""
        assert dreamer.gripper is not None
        robot, name = dreamer.gripper
        learned = learned_of_executed(np.stack(self._actions), robot, codec_of(robot, name))
        needed = dreamer.actions_needed(HORIZON)
        seen = [self._seen[moment] for moment in moments]
        pictures = torch.from_numpy(np.stack([self._picture(moment) for moment in moments]))
        start = torch.from_numpy(self._picture(0)).expand_as(pictures)
        past = [
            np.stack(
                [self._picture(max(moment - step, 0)) for step in dreamer.assembler.windows.past]
            )
            for moment in moments
            if dreamer.assembler.windows.past
        ]
        grips = last_grips(float(each.state[-1]) for each in self._seen)
        return WindowBatch(
            frame=pictures,
            future=pictures[:, None][:, :0],
            future_valid=torch.zeros(len(moments), 0, dtype=torch.bool),
            action=torch.from_numpy(np.stack([learned[m : m + needed] for m in moments])),
            action_valid=torch.ones(len(moments), needed, dtype=torch.bool),
            state=torch.from_numpy(np.stack([each.state for each in seen])),
            instructions=[each.instruction for each in seen],
            start=start,
            grip=torch.from_numpy(grips[moments]),
            past=torch.from_numpy(np.stack(past)) if past else None,
        )

    def _picture(self, step: int) -> np.ndarray:
        picture = self._seen[min(step, len(self._seen) - 1)].image
        if picture is None:
            raise UserError("dreams need pictures: give a resolution such as resolution=[160,128].")
        return picture

    def _dreamer(self, folder: Path) -> Dreamer:
        if folder not in self._dreamers:
            sections = read_config(folder)
            if sections.get("kind") != "video_action":
                raise UserError(
                    f"dreams={self._moments}: the policy in {folder} has no world model, set "
                    "dreams=0."
                )
            robot_of(folder, sections)
            sampling = Sampling(steps=_STEPS)
            self._dreamers[folder] = load_dreamer(folder, sampling, CPU)
        return self._dreamers[folder]


def _resized(picture: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    return resized(picture[None], (size[0], size[1]))[0]
