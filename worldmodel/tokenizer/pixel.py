"""Pixel patches: frames <-> tokens without loss and without a decoder.

A frame is cut into patches, the future into tubelets; values are in [-1, 1], or, where video is
told as differences from the condition frame, multiples of those.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor

from experiment.errors import UserError
from worldmodel.registry import described
from worldmodel.tokens import Modality


@dataclass(frozen=True)
class PixelTokenizer:
    """Patches of `patch` pixels square of pictures of `height` by `width`, `tubelet` frames deep.

    `hidden` is the width of the hidden layer with which the model reads a patch. With `stem`
    channels, convolutions over the whole condition frame are added to it (`worldmodel.stem`).
    With `difference` video tokens are so many times the difference between their pictures and the
    condition frame, so that what stands still is zero and need not be copied; 0: the pictures.
    """

    kind: ClassVar[str] = "pixel"

    height: int = 96
    width: int = 96
    patch: int = 16
    tubelet: int = 2
    hidden: int = 256
    stem: int = 0
    difference: float = 0.0

    def __post_init__(self) -> None:
        for name in ("height", "width", "patch", "tubelet", "hidden"):
            if getattr(self, name) < 1:
                raise UserError(f"tokenizer.{name}={getattr(self, name)} must be at least 1.")
        if self.height % self.patch or self.width % self.patch:
            raise UserError(
                f"tokenizer.patch={self.patch} must divide tokenizer.height={self.height} and "
                f"tokenizer.width={self.width}."
            )
        if not self.difference >= 0:
            raise UserError(
                f"tokenizer.difference={self.difference} must be positive, or 0 for whole pictures."
            )
        if self.stem < 0 or (self.stem and self.patch.bit_count() != 1):
            raise UserError(
                f"tokenizer.stem={self.stem} must be at least 0, and with one "
                f"tokenizer.patch={self.patch} must be a power of two: each layer halves the "
                "picture."
            )

    @property
    def depth(self) -> int:
        return self.tubelet

    @property
    def picture(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def grid(self) -> tuple[int, int]:
        return self.height // self.patch, self.width // self.patch

    @property
    def modalities(self) -> tuple[Modality, Modality]:
        values = 3 * self.patch**2
        grid = self.grid if self.stem else None
        return (
            Modality("frame", values, False, self.hidden, grid=grid, stem=self.stem),
            Modality("video", values * self.tubelet, hidden=self.hidden),
        )

    @property
    def start(self) -> "PixelTokenizer":
        """Patches twice as wide, if they divide the picture: a quarter of the tokens."""
        fits = not (self.height % (2 * self.patch) or self.width % (2 * self.patch))
        return replace(self, patch=2 * self.patch) if fits else self

    def encode_frame(self, frame: Tensor) -> Tensor:
        return self._encode(frame[:, None], depth=1)

    def encode(self, frame: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
        now, video = self.encode_frame(frame), self._encode(future, self.tubelet)
        if self.difference:
            video = (video - self._repeated(now, video)) * self.difference
        return now, video

    def decode(self, frame: Tensor, video: Tensor) -> Tensor:
        """Return the future frames uint8 `(b, t, h, w, 3)`."""
        if self.difference:
            video = self._repeated(frame, video) + video / self.difference
        return self._decode(video, self.tubelet)

    def decode_frame(self, frame: Tensor) -> Tensor:
        return self._decode(frame, 1)[:, 0]

    def config(self) -> dict[str, Any]:
        return described(self)

    def _encode(self, frames: Tensor, depth: int) -> Tensor:
        p = self.patch
        patches = rearrange(
            frames, "b (t d) (h p) (w q) c -> b (t h w) (d p q c)", d=depth, p=p, q=p
        )
        return patches.float().div_(127.5).sub_(1.0)

    def _repeated(self, frame: Tensor, video: Tensor) -> Tensor:
        """Return tokens like `video` of a future in which nothing moves."""
        tubelets = video.shape[1] // frame.shape[1]
        return frame.to(video).repeat(1, tubelets, self.tubelet)

    def _decode(self, values: Tensor, depth: int) -> Tensor:
        p, (rows, columns) = self.patch, self.grid
        pixels = ((values + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return rearrange(
            pixels,
            "b (t h w) (d p q c) -> b (t d) (h p) (w q) c",
            d=depth, p=p, q=p, h=rows, w=columns,
        )  # fmt: skip
