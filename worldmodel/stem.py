"""Convolutions over a whole picture, beside the layer that reads each of its patches alone.

A linear layer has to learn an edge anew for every place within a patch, a convolution learns it
once (arXiv 2106.14881). What it computes is added to the patches' embeddings; its output layer
starts at zero, so that a model without it is the same model until it learns.
"""

import itertools

import torch
from einops import rearrange
from torch import Tensor, nn

from worldmodel.tokens import Modality

KERNEL = 3
_WIDEST = 4


def patch_width(modality: Modality, depth: int = 1) -> int:
    """Return the pixels along a patch of a modality of pictures, `depth` of them in a token."""
    return round((modality.channels / depth / 3) ** 0.5)


def layer_channels(modality: Modality) -> list[int]:
    """Return the channels of the picture and of each layer: each halves height and width."""
    halvings = patch_width(modality).bit_length() - 1
    return [3, *(modality.stem * min(2**layer, _WIDEST) for layer in range(halvings))]


class ConvolutionalStem(nn.Module):
    """Patches `(b, n, 3 p²)` of pictures -> `(b, n, width)`."""

    def __init__(self, modality: Modality, width: int) -> None:
        super().__init__()
        if modality.grid is None:
            raise ValueError(f"modality {modality.name!r} has no grid: it is no picture")
        self.rows, self.columns = modality.grid
        self.patch = patch_width(modality)
        channels = layer_channels(modality)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv2d(before, after, KERNEL, stride=2, padding=1), nn.GELU()]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(channels[-1], width)

    def forward(self, patches: Tensor) -> Tensor:
        picture = rearrange(
            patches, "b (h w) (p q c) -> b c (h p) (w q)", h=self.rows, p=self.patch, q=self.patch
        )
        # The order in which convolutions are fastest, on CPUs as well.
        picture = picture.contiguous(memory_format=torch.channels_last)
        return self.out(rearrange(self.layers(picture), "b c h w -> b (h w) c"))
