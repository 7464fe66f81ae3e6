"""Instructions -> tokens of the conditioning modality `text`."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from worldmodel.registry import restored
from worldmodel.text.pretrained import MiniLM, Transformers
from worldmodel.text.words import HashedWords
from worldmodel.tokens import Modality, Tokens

TEXT_ENCODERS: dict[str, type[Any]] = {
    encoder.kind: encoder for encoder in (HashedWords, MiniLM, Transformers)
}
"""All that a checkpoint can name, by `kind`."""

_MEMORY = 1 << 30


@runtime_checkable
class TextEncoder(Protocol):
    """Turns instructions into a fixed number of tokens; frozen, so never among the weights."""

    @property
    def modality(self) -> Modality:
        """The conditioning modality `text` as the model reads it."""

    def embed(self, instructions: Sequence[str], device: torch.device) -> Tensor:
        """Return `(b, n, d)`, or int64 `(b, n)` for a modality with a vocabulary."""

    def config(self) -> dict[str, Any]:
        """Return what `restore` needs, as plain values."""


def restore(section: Any) -> TextEncoder:
    """Rebuild an encoder from a checkpoint's section; raises `UserError`."""
    encoder: TextEncoder = restored(section, TEXT_ENCODERS, "text")
    return encoder


class Instructions:
    """Text tokens of instructions, each embedded once: a data set has few that differ."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder
        self._known: OrderedDict[tuple[str, torch.device], Tensor] = OrderedDict()

    def tokens(self, instructions: Sequence[str], device: torch.device) -> Tokens:
        """Return clean tokens on `device`; word i is in column i, outside every picture.

        Their `null` are those of the empty instruction.
        """
        wanted = dict.fromkeys([*instructions, ""])
        new = [text for text in wanted if (text, device) not in self._known]
        if new:
            for text, embedded in zip(new, self.encoder.embed(new, device), strict=True):
                self._known[text, device] = embedded
        values = torch.stack([self._known[text, device] for text in instructions])
        null = self._known["", device][None]
        each = values[0].numel() * values.element_size()
        while len(self._known) * each > _MEMORY:
            self._known.popitem(last=False)
        position = torch.full((1, values.shape[1], 3), -1.0, device=device)
        position[0, :, 2] = torch.arange(values.shape[1], device=device)
        return replace(Tokens.clean(values, position), null=null)
