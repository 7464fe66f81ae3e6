"""Latents of Wan's causal video autoencoder (Wan2.2: 48 channels, 16x in space, 4x in time).

A clip of 1 + 4 m frames, the condition frame and the future, becomes 1 + m latents: the first one,
which sees the condition frame alone, is the condition, the others are the video (Self-Flow, App.
A.3). The autoencoder is frozen and never part of a checkpoint, which names it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor

from experiment.errors import UserError
from experiment.extras import imported
from worldmodel.registry import described
from worldmodel.tokens import Modality


@dataclass(frozen=True)
class WanTokenizer:
    """The `AutoencoderKLWan` of diffusers in a folder or on the hub.

    Pictures of `height` by `width`; `at_once` clips are encoded or decoded together, in `precision`
    (float32 or bfloat16).
    """

    kind: ClassVar[str] = "wan22"

    name: str
    subfolder: str = ""
    height: int = 192
    width: int = 256
    at_once: int = 4
    precision: str = "bfloat16"

    def __post_init__(self) -> None:
        for field in ("height", "width", "at_once"):
            if getattr(self, field) < 1:
                raise UserError(f"tokenizer.{field}={getattr(self, field)} must be at least 1.")
        if self.precision not in ("float32", "bfloat16"):
            raise UserError(f"tokenizer.precision={self.precision!r} must be float32 or bfloat16.")

    @property
    def depth(self) -> int:
        return int(self._settings["scale_factor_temporal"])

    @property
    def picture(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def grid(self) -> tuple[int, int]:
        scale = int(self._settings["scale_factor_spatial"])
        if self.height % scale or self.width % scale:
            raise UserError(
                f"tokenizer.height={self.height} and tokenizer.width={self.width} must be "
                f"multiples of {scale} for {self.name}."
            )
        return self.height // scale, self.width // scale

    @property
    def modalities(self) -> tuple[Modality, Modality]:
        channels = int(self._settings["z_dim"])
        return Modality("frame", channels, predicted=False), Modality("video", channels)

    @property
    def start(self) -> "WanTokenizer":
        return self

    def encode_frame(self, frame: Tensor) -> Tensor:
        return self._each(self._encode, frame[:, None])

    def encode(self, frame: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self._each(self._encode, torch.cat([frame[:, None], future], 1))
        return self._split(tokens)

    def decode(self, frame: Tensor, video: Tensor) -> Tensor:
        """Return the future frames uint8 `(b, t, h, w, 3)`; the decoder is causal too."""
        return self._each(self._decode, torch.cat([frame, video], 1))[:, 1:]

    def decode_frame(self, frame: Tensor) -> Tensor:
        return self._each(self._decode, frame)[:, 0]

    def config(self) -> dict[str, Any]:
        return described(self)

    def _split(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = self.grid
        return tokens[:, : rows * columns], tokens[:, rows * columns :]

    @torch.no_grad()
    def _each(self, apply: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        with torch.autocast(batch.device.type, enabled=False):
            return torch.cat([apply(clips) for clips in batch.split(self.at_once)])

    def _encode(self, clips: Tensor) -> Tensor:
        pixels = rearrange(clips, "b t h w c -> b c t h w").to(self._dtype) / 127.5 - 1.0
        network = self._network.to(clips.device)
        latents = network.encode(pixels).latent_dist.mode().float()
        mean, std = self._scale(latents)
        return rearrange((latents - mean) / std, "b c t h w -> b (t h w) c")

    def _decode(self, tokens: Tensor) -> Tensor:
        rows, columns = self.grid
        latents = rearrange(tokens.float(), "b (t h w) c -> b c t h w", h=rows, w=columns)
        mean, std = self._scale(latents)
        network = self._network.to(tokens.device)
        pixels = network.decode((latents * std + mean).to(self._dtype)).sample.float()
        levels = ((pixels + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return rearrange(levels, "b c t h w -> b t h w c")

    def _scale(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents' mean and deviation by channel, `(c, 1, 1, 1)`."""
        both = (self._settings[name] for name in ("latents_mean", "latents_std"))
        mean, std = (torch.tensor(v, device=latents.device)[:, None, None, None] for v in both)
        return mean, std

    @property
    def _dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    @cached_property
    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = self._read(_autoencoder().load_config)
        if settings.get("_class_name") != "AutoencoderKLWan":
            raise UserError(
                f"tokenizer.name={self.name} is a {settings.get('_class_name')}, not an "
                "AutoencoderKLWan."
            )
        return settings

    @cached_property
    def _network(self) -> Any:
        load = partial(
            _autoencoder().from_pretrained, use_safetensors=True, torch_dtype=self._dtype
        )
        return self._read(load).eval().requires_grad_(False)

    def _read(self, load: Callable[..., Any]) -> Any:
        try:
            return load(self.name, subfolder=self.subfolder or None)
        except (OSError, ValueError) as error:
            raise UserError(
                f"tokenizer.name={self.name} holds no Wan autoencoder "
                f"({str(error).splitlines()[0]}): give its folder, or its name on the hub and "
                "tokenizer.subfolder."
            ) from error


def _autoencoder() -> Any:
    return imported("diffusers", "tokenizer=wan22", "wan").AutoencoderKLWan
