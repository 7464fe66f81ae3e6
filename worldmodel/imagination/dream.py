"""Dreams: video from a frame, with or without actions, window after window."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiment.errors import UserError
from worldmodel.assembler import Assembler, action_position
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.pictures import resized
from worldmodel.data.windows import WindowBatch, WindowConfig, last_known
from worldmodel.device import Compute
from worldmodel.model import WorldModel
from worldmodel.sampler import Sampling, sample
from worldmodel.tokens import Batch, Tokens
from worldmodel.training.checkpoint import Checkpoint, load, restored_encoders

_AT_ONCE = 32


@dataclass(frozen=True)
class Dreamer:
    """A world model with what it needs to dream; `with_state` gives it the robot's state.

    The state is known for the first window alone: a dream that continues has none.
    """

    model: WorldModel
    assembler: Assembler
    sampling: Sampling
    compute: Compute
    gripper: tuple[str, str] | None = None
    with_state: bool = True

    @property
    def takes_actions(self) -> bool:
        return "action" in self.model.modalities and self.assembler.normalisation is not None

    @property
    def reach(self) -> int:
        """Control steps of one window."""
        return max(self.assembler.windows.future)

    def times(self, horizon: int) -> list[int]:
        """Return the steps at which frames are dreamed, up to `horizon` or a window further."""
        windows = -(-horizon // self.reach)
        return [w * self.reach + t for w in range(windows) for t in self.assembler.windows.future]

    def actions_needed(self, horizon: int) -> int:
        """Return how many actions a dream with actions reads."""
        start = self.times(horizon)[-1] - self.reach
        return max(start + self.assembler.windows.chunk, horizon)

    def __call__(
        self, clips: WindowBatch, horizon: int, generator: torch.Generator, actions: bool
    ) -> np.ndarray:
        """Return the dreamed frames uint8 `(b, t, h, w, 3)` at `times(horizon)`.

        `clips` hold the first frame, state and instruction, and with `actions` those `(b, n, 7)` in
        robot units that follow. Every window but the first begins at the last frame of the one
        before. Raises `UserError` where the model does not read actions.
        """
        if actions and not self.takes_actions:
            raise UserError(
                "the checkpoint was not trained with actions, so it cannot be asked what they lead "
                "to: set actions=false, or give a checkpoint of policies.finetune."
            )
        parts = []
        for start in range(0, clips.samples, _AT_ONCE):
            rows = clips.rows(slice(start, start + _AT_ONCE)).to(self.compute.device)
            parts.append(self._dreamed(rows, horizon, generator, actions))
        return np.concatenate(parts)

    def _dreamed(
        self, clips: WindowBatch, horizon: int, generator: torch.Generator, actions: bool
    ) -> np.ndarray:
        device, parts = self.compute.device, []
        unknown = {"video": self.assembler.video_position(device)}
        for window in range(-(-horizon // self.reach)):
            known = self.known(clips, with_state=window == 0)
            if actions:
                known["action"] = self.action_tokens(clips, window * self.reach)
            video = sample(self.model, known, unknown, self.sampling, generator, self.compute)
            frames = self.assembler.tokenizer.decode(known["frame"].values, video["video"])
            parts.append(frames.cpu().numpy())
            clips = replace(clips, frame=frames[:, -1], past=self._past(clips, frames))
        return np.concatenate(parts, 1)

    def _past(self, clips: WindowBatch, frames: Tensor) -> Tensor | None:
        """Return `(b, p, h, w, 3)`: the past of a dream that goes on from the last of `frames`."""
        steps, future = self.assembler.windows.past, self.assembler.windows.future
        if not steps:
            return None
        seen = {0: clips.frame, **dict(zip(future, frames.unbind(1), strict=True))}
        if clips.past is not None and clips.past.shape[1] == len(steps):
            seen |= {-step: clips.past[:, place] for place, step in enumerate(steps)}
        found = [last_known(seen, self.reach - step) for step in steps]
        pictures = [seen[time].cpu().numpy() for time in found]
        size = (frames.shape[2], frames.shape[3])
        return torch.from_numpy(np.stack([resized(each, size) for each in pictures], 1)).to(
            frames.device
        )

    def known(self, clips: WindowBatch, with_state: bool) -> dict[str, Tokens]:
        """Return the tokens of frame, instruction and, where it is read and given, the state."""
        give = with_state and self.with_state and clips.state.shape[1] > 0
        if not give and self.assembler.normalisation is not None:
            # Data without a state, or a dream that continues: nothing to normalise.
            blank = torch.zeros(clips.samples, len(self.assembler.normalisation.mean))
            clips = replace(clips, state=blank.to(clips.frame.device))
        tokens: Batch = self.assembler.known(clips)
        return {name: value for name, value in tokens.items() if name != "state" or give}

    def action_tokens(self, clips: WindowBatch, start: int) -> Tokens:
        """Return the clean tokens of the chunk that begins at step `start` of the clips."""
        assert self.assembler.normalisation is not None
        chunk = self.assembler.windows.chunk
        given = clips.action[:, start : start + chunk].cpu().numpy()
        values = torch.from_numpy(self.assembler.normalisation.action(given))
        device = self.compute.device
        position = action_position(chunk, device)[:, : values.shape[1]]
        return Tokens.clean(values.to(device), position)


def load_dreamer(
    folder: Path, sampling: Sampling, compute: Compute, with_state: bool = True
) -> Dreamer:
    """Load a checkpoint of worldmodel.pretrain or policies.finetune; raises `UserError`."""
    loaded: Checkpoint = load(folder)
    sections = loaded.sections
    tokenizer, text = restored_encoders(sections, folder)
    try:
        windows = WindowConfig(**sections["windows"])
        section = sections.get("normalisation")
        normalisation = None if section is None else Normalisation.from_section(section)
        with_state = with_state and bool(sections.get("with_state", False))
        gripper = None if section is None else (str(sections["robot"]), str(sections["gripper"]))
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder}: config.json is damaged or too old ({error!r}).") from error
    assembler = Assembler(tokenizer, text, windows, normalisation, with_state)
    model = loaded.model.to(compute.device)
    for modality in assembler.modalities:
        if model.modalities.get(modality.name) != modality:
            raise UserError(
                f"{folder}: the model reads {model.modalities.get(modality.name)}, the settings "
                f"beside it make {modality}."
            )
    return Dreamer(model, assembler, sampling, compute, gripper, with_state)
