"""Windows -> tokens: pictures and instructions are tokenised on the device of the model."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from einops import rearrange
from torch import Tensor

from experiment.errors import UserError
from worldmodel.data.encoded import EncodedBatch
from worldmodel.data.normalisation import Normalisation
from worldmodel.data.pictures import resized
from worldmodel.data.windows import WindowBatch, WindowConfig
from worldmodel.text import Instructions, TextEncoder
from worldmodel.tokenizer import Tokenizer
from worldmodel.tokenizer.positions import (
    coarse_position,
    frame_position,
    start_position,
    video_position,
    video_valid,
)
from worldmodel.tokens import Batch, Modality, Tokens, times_as_positions
from worldmodel.vision_encoder import VisionEncoder


@dataclass(frozen=True)
class Assembler:
    """Makes `text`, `frame` and `video`, and with a normalisation `state` and `action`.

    Where the windows have the `start` of their episode or pictures of its `past`, it makes those as
    well.

    With an `outside` teacher the video tokens carry its features as their target.
    """

    tokenizer: Tokenizer
    text: TextEncoder
    windows: WindowConfig
    normalisation: Normalisation | None = None
    with_state: bool = True
    outside: VisionEncoder | None = None
    _instructions: Instructions = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Whether the future fills its tokens is better known now than at the first batch.
        video_position(self.tokenizer, self.windows.future, torch.device("cpu"))
        object.__setattr__(self, "_instructions", Instructions(self.text))

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Text, frame and video, and perhaps start and past, in the model's order."""
        coarse = self.tokenizer.start.modalities[0]
        asked = {"start": self.windows.start, "past": bool(self.windows.past)}
        optional = [replace(coarse, name=name) for name, wanted in asked.items() if wanted]
        return (self.text.modality, *self.tokenizer.modalities, *optional)

    def __call__(self, windows: WindowBatch | EncodedBatch) -> Batch:
        """Return the clean tokens of windows in the model's units, on their device."""
        device, target = windows.frame.device, None
        if isinstance(windows, EncodedBatch):
            if self.outside is not None:
                raise UserError(
                    "objective=repa needs pictures, data=tokens has none: take the data set itself."
                )
            frame, video, valid = windows.frame.float(), windows.video.float(), windows.video_valid
        else:
            frame, video = self.tokenizer.encode(windows.frame, windows.future)
            valid = video_valid(self.tokenizer, windows.future_valid)
            if self.outside is not None:
                target = self.outside.features(windows.future, self.tokenizer)
        state = windows.state
        if self._reads_grip and isinstance(windows, WindowBatch):
            state = _with_grip(state, windows.grip)
        tokens = self._known(frame, state, windows.instructions)
        if self.windows.start and isinstance(windows, WindowBatch):
            tokens["start"] = self._start(windows.frame, windows.start)
        if self.windows.past and isinstance(windows, WindowBatch):
            tokens["past"] = self._past(windows.frame, windows.past)
        clean = Tokens.clean(video, self.video_position(device), valid)
        tokens["video"] = replace(clean, target=target)
        if self.normalisation is not None:
            position = action_position(windows.action.shape[1], device)
            tokens["action"] = Tokens.clean(windows.action, position, windows.action_valid)
        return tokens

    def known(self, windows: WindowBatch) -> Batch:
        """Return what is known at inference: text, frame and state, as they were observed."""
        device = windows.frame.device
        frame = self._resized(windows.frame)
        encoded, state = self.tokenizer.encode_frame(frame), windows.state
        if self.normalisation is not None and self.with_state:
            state = torch.from_numpy(self.normalisation.state(state.cpu().numpy())).to(device)
            if self._reads_grip:
                grip = windows.grip
                if grip is not None:
                    grip = torch.from_numpy(self.normalisation.grip(grip.cpu().numpy())).to(device)
                state = _with_grip(state, grip)
        tokens = self._known(encoded, state, windows.instructions)
        if self.windows.start:
            start = None if windows.start is None else self._resized(windows.start)
            tokens["start"] = self._start(frame, start)
        if self.windows.past:
            past = windows.past
            if past is not None:
                alike = self._resized(past.flatten(0, 1))
                past = alike.unflatten(0, past.shape[:2])
            tokens["past"] = self._past(frame, past)
        return tokens

    @property
    def _reads_grip(self) -> bool:
        return self.windows.grip and self.with_state and self.normalisation is not None

    def video_position(self, device: torch.device) -> Tensor:
        return video_position(self.tokenizer, self.windows.future, device)

    def _resized(self, pictures: Tensor) -> Tensor:
        arrays = resized(pictures.cpu().numpy(), self.tokenizer.picture)
        return torch.from_numpy(arrays).to(pictures.device)

    def _start(self, frame: Tensor, start: Tensor | None) -> Tokens:
        """Return the tokens of the first pictures; a clip without begins at its frame."""
        values = self.tokenizer.start.encode_frame(frame if start is None else start)
        return Tokens.clean(values, start_position(self.tokenizer, frame.device))

    def _past(self, frame: Tensor, past: Tensor | None) -> Tokens:
        """Return the tokens of earlier pictures; in a clip without any nothing moved before."""
        steps = self.windows.past
        # A planner's world model may remember other steps than the policy that it is asked by.
        if past is None or past.shape[1] != len(steps):
            past = frame[:, None].expand(-1, len(steps), *frame.shape[1:])
        values = self.tokenizer.start.encode_frame(past.flatten(0, 1))
        values = rearrange(values, "(b p) n c -> b (p n) c", p=len(steps))
        position = coarse_position(self.tokenizer, [-float(step) for step in steps], frame.device)
        return Tokens.clean(values, position)

    def _known(
        self, frame: Tensor, state: Tensor, instructions: Sequence[str]
    ) -> dict[str, Tokens]:
        device = frame.device
        tokens = {
            "text": self._instructions.tokens(instructions, device),
            "frame": Tokens.clean(frame, frame_position(self.tokenizer, device)),
        }
        if self.normalisation is not None and self.with_state:
            tokens["state"] = Tokens.clean(state[:, None], times_as_positions([0.0], device))
        return tokens


def _with_grip(state: Tensor, grip: Tensor | None) -> Tensor:
    """Return states `(b, s + 1)`; where it is not known, the fingers have not been shut yet."""
    return torch.cat([state, state.new_zeros(len(state), 1) if grip is None else grip], -1)


def action_position(chunk: int, device: torch.device | None = None) -> Tensor:
    """Return `(1, chunk, 3)`: action i begins i control steps after the condition frame."""
    return times_as_positions(range(chunk), device)
