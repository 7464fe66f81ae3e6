"""An outside teacher for the arm `repa`: a frozen vision encoder of `transformers`.

It sees the clean future frames; its patch features are resampled to the grid of the video's tokens
(REPA, arXiv 2410.06940).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor

from experiment.errors import UserError, nearest
from experiment.extras import imported
from worldmodel.tokenizer import Tokenizer

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_MODELS = {
    "clip": ("CLIPVisionModel", _CLIP),
    "clip_vision_model": ("CLIPVisionModel", _CLIP),
    "dinov2": ("Dinov2Model", _IMAGENET),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", _IMAGENET),
    "siglip": ("SiglipVisionModel", _HALF),
    "siglip_vision_model": ("SiglipVisionModel", _HALF),
    "vit": ("ViTModel", _HALF),
}
"""Vision towers by `model_type`, all of them classes of `transformers` itself, and the mean and
standard deviation of the colours that each was trained with."""


@dataclass(frozen=True)
class VisionEncoder:
    """DINOv2, SigLIP, CLIP or ViT by hub name or folder `name`; `at_once` pictures a pass."""

    name: str
    at_once: int = 64

    def __post_init__(self) -> None:
        if self.at_once < 1:
            raise UserError(f"objective.outside.at_once={self.at_once} must be at least 1.")

    @property
    def width(self) -> int:
        """Channels of its features."""
        return int(self._settings.hidden_size)

    @torch.no_grad()
    def features(self, future: Tensor, tokenizer: Tokenizer) -> Tensor:
        """Return `(b, n, e)` float32 for the video tokens of frames uint8 `(b, t, h, w, 3)`.

        A token that covers several frames gets the mean of their features.
        """
        frames = rearrange(future, "b t h w c -> (b t) c h w")
        maps = torch.cat([self._map(part) for part in frames.split(self.at_once)])
        maps = F.interpolate(maps, tokenizer.grid, mode="bilinear", antialias=True)
        maps = reduce(maps, "(b t d) e h w -> b t e h w", "mean", b=len(future), d=tokenizer.depth)
        return rearrange(maps, "b t e h w -> b (t h w) e")

    def _map(self, pictures: Tensor) -> Tensor:
        settings, (mean, std) = self._settings, _MODELS[self._kind][1]
        size, patch = int(settings.image_size), int(settings.patch_size)
        values = F.interpolate(
            pictures.float() / 255, (size, size), mode="bilinear", antialias=True
        )
        shift, scale = (values.new_tensor(v).view(1, 3, 1, 1) for v in (mean, std))
        network = self._network.to(pictures.device)
        with torch.autocast(pictures.device.type, enabled=False):
            states = network(pixel_values=(values - shift) / scale).last_hidden_state.float()
        side = size // patch
        # The class token and registers, where there are any, come first.
        return rearrange(states[:, -side * side :], "b (h w) e -> b e h w", h=side)

    @property
    def _kind(self) -> str:
        return str(self._config.model_type)

    @property
    def _settings(self) -> Any:
        return getattr(self._config, "vision_config", self._config)

    @cached_property
    def _config(self) -> Any:
        try:
            config = _transformers().AutoConfig.from_pretrained(self.name, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"objective.outside.name={self.name}: no vision encoder there "
                f"({str(error).splitlines()[0]})."
            ) from error
        if config.model_type not in _MODELS:
            raise UserError(
                f"objective.outside.name={self.name} is a {config.model_type}, which is not "
                f"supported.{nearest(config.model_type, _MODELS)}"
            )
        return config

    @cached_property
    def _network(self) -> torch.nn.Module:
        try:
            network = getattr(_transformers(), _MODELS[self._kind][0]).from_pretrained(
                self.name, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"objective.outside.name={self.name} cannot be loaded "
                f"({str(error).splitlines()[0]})."
            ) from error
        return network.eval().requires_grad_(False).float()


def _transformers() -> Any:
    return imported("transformers", "objective=repa", "text")
