"""Pixel patches: frames <-> tokens without loss and without a decoder.

Pictures are uint8 `(h, w, 3)` outside the model and float in [-1, 1] inside; this module owns that
convention. A frame is cut into patches, a clip into tubelets of `tubelet` frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.nn import functional

from experiment.errors import UserError
from worldmodel.model import Modality, Tokens


@dataclass(frozen=True)
class PixelTokenizer:
    """Patches of `patch` pixels square of pictures of `height` by `width`, `tubelet` frames deep.

    `hidden` is the width of the hidden layer with which the model reads a patch.
    """

    height: int = 96
    width: int = 96
    patch: int = 16
    tubelet: int = 2
    hidden: int = 256

    def __post_init__(self) -> None:
        if self.height % self.patch or self.width % self.patch:
            raise UserError(
                f"tokenizer.patch={self.patch} must divide tokenizer.height={self.height} and "
                f"tokenizer.width={self.width}."
            )

    @property
    def modalities(self) -> tuple[Modality, Modality]:
        """Return the condition `frame`, which is given, and the `video`, which is predicted."""
        values = 3 * self.patch**2
        return (
            Modality("frame", values, predicted=False, hidden=self.hidden),
            Modality("video", values * self.tubelet, hidden=self.hidden),
        )

    def resize(self, frames: np.ndarray) -> np.ndarray:
        """Return frames uint8 `(t, h, w, 3)` of any size at the tokenizer's, antialiased."""
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            raise ValueError(
                f"frames must be uint8 (t, h, w, 3), not {frames.dtype} {frames.shape}"
            )
        if frames.shape[1:3] == (self.height, self.width):
            return frames
        if not len(frames):
            return np.zeros((0, self.height, self.width, 3), np.uint8)
        # Pillow's filter in a fifth of its time: of 1,000 values one differs by one grey level.
        pictures = torch.from_numpy(np.require(frames, requirements=["C", "W"])).permute(0, 3, 1, 2)
        size = (self.height, self.width)
        resized = functional.interpolate(pictures, size=size, mode="bilinear", antialias=True)
        return np.ascontiguousarray(resized.permute(0, 2, 3, 1).numpy())

    def frame_tokens(self, frames: np.ndarray) -> Tokens:
        """Return the condition tokens, `(b, n, c)`, of frames uint8 `(b, h, w, 3)` at time 0."""
        values = self._encode(frames[:, None], depth=1)
        return Tokens.clean(values, self.frame_position())

    def frame_position(self) -> Tensor:
        """Return `(1, n, 3)`, the positions of the tokens of the condition frame."""
        return self._position(torch.zeros(1))

    def video_tokens(
        self, frames: np.ndarray, times: Sequence[float], valid: np.ndarray | None = None
    ) -> Tokens:
        """Return the tokens of clips uint8 `(b, t, h, w, 3)`, t a multiple of `tubelet`.

        `times` are the frames' distances from the condition frame in control steps; `valid` bool
        `(b, t)`: a tubelet counts if all its frames do.
        """
        position = self.video_position(times)
        counted = None
        if valid is not None:
            whole = reduce(torch.from_numpy(valid), "b (t p) -> b t", "min", p=self.tubelet)
            counted = whole.repeat_interleave(position.shape[1] // whole.shape[1], dim=1)
        return Tokens.clean(self._encode(frames, self.tubelet), position, counted)

    def video_position(self, times: Sequence[float]) -> Tensor:
        """Return `(1, n, 3)`, the positions of the tokens of a clip with frames at `times`."""
        if len(times) % self.tubelet:
            raise UserError(
                f"{len(times)} future frames do not fill tubelets of {self.tubelet}: "
                "change data.windows.future or tokenizer.tubelet."
            )
        steps = torch.tensor(times, dtype=torch.float32)
        return self._position(reduce(steps, "(t p) -> t", "mean", p=self.tubelet))

    def decode(self, values: Tensor) -> np.ndarray:
        """Return the frames uint8 `(b, t, h, w, 3)` of video tokens `(b, n, c)`."""
        return self._decode(values, self.tubelet)

    def decode_frame(self, values: Tensor) -> np.ndarray:
        """Return the frames uint8 `(b, h, w, 3)` of condition tokens `(b, n, c)`."""
        return self._decode(values, 1)[:, 0]

    def _encode(self, frames: np.ndarray, depth: int) -> Tensor:
        p = self.patch
        patches = rearrange(
            torch.from_numpy(frames),
            "b (t d) (h p) (w q) c -> b (t h w) (d p q c)",
            d=depth,
            p=p,
            q=p,
        )
        return patches.float().div_(127.5).sub_(1.0)

    def _decode(self, values: Tensor, depth: int) -> np.ndarray:
        p = self.patch
        pixels = ((values + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
        frames = rearrange(
            pixels,
            "b (t h w) (d p q c) -> b (t d) (h p) (w q) c",
            d=depth, p=p, q=p, h=self.height // p, w=self.width // p,
        )  # fmt: skip
        return frames.cpu().numpy()

    def _position(self, times: Tensor) -> Tensor:
        rows = torch.arange(self.height // self.patch, dtype=torch.float32)
        columns = torch.arange(self.width // self.patch, dtype=torch.float32)
        axes = torch.meshgrid(times, rows, columns, indexing="ij")
        return rearrange(torch.stack(axes, -1), "t h w a -> 1 (t h w) a")
