"""Pictures <-> tokens of the modalities `frame` (the condition) and `video` (what follows it).

Pictures are uint8 `(h, w, 3)` outside the model; everything here runs on the device of the tensors
that are given.
"""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from worldmodel.registry import restored
from worldmodel.tokenizer.pixel import PixelTokenizer
from worldmodel.tokenizer.wan import WanTokenizer
from worldmodel.tokens import Modality

TOKENIZERS: dict[str, type[Any]] = {
    tokenizer.kind: tokenizer for tokenizer in (PixelTokenizer, WanTokenizer)
}
"""All that a checkpoint can name, by `kind`."""


@runtime_checkable
class Tokenizer(Protocol):
    """Cuts a clip, the frame now and the future frames, into tokens and back.

    A token of the video covers `depth` successive future frames.
    """

    @property
    def depth(self) -> int:
        """Future frames a video token covers."""

    @property
    def picture(self) -> tuple[int, int]:
        """Height and width of the pictures it takes."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens in a picture."""

    @property
    def modalities(self) -> tuple[Modality, Modality]:
        """The condition `frame`, which is given, and the `video`, which is predicted."""

    @property
    def start(self) -> "Tokenizer":
        """How the first picture of an episode is read: as this tokenizer's frame."""

    def encode_frame(self, frame: Tensor) -> Tensor:
        """Return `(b, n, c)` of frames uint8 `(b, h, w, 3)`."""

    def encode(self, frame: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens of `frame` and of `future` uint8 `(b, t, h, w, 3)`."""

    def decode(self, frame: Tensor, video: Tensor) -> Tensor:
        """Return the future frames uint8 `(b, t, h, w, 3)` of `(b, n, c)` and `(b, m, c)`."""

    def decode_frame(self, frame: Tensor) -> Tensor:
        """Return the frames uint8 `(b, h, w, 3)` of condition tokens `(b, n, c)`."""

    def config(self) -> dict[str, Any]:
        """Return what `restore` needs, as plain values."""


def restore(section: Any) -> Tokenizer:
    """Rebuild a tokenizer from a checkpoint's section; raises `UserError`."""
    tokenizer: Tokenizer = restored(section, TOKENIZERS, "tokenizer")
    return tokenizer
