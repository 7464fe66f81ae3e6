"""Instruction -> tokens, without a vocabulary to download: words are hashed to embeddings."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class TextConfig:
    """`words` tokens an instruction (longer ones are cut), `vocabulary` hash buckets of `width`."""

    words: int = 6
    vocabulary: int = 8192
    width: int = 32


@dataclass(frozen=True)
class TextTokens:
    """Word numbers int64 `(b, words)`, 0 where an instruction has ended."""

    ids: Tensor

    def to(self, device: torch.device | str) -> "TextTokens":
        """Return the tokens on `device`."""
        return TextTokens(self.ids.to(device))


def tokenize(instructions: Sequence[str], config: TextConfig) -> TextTokens:
    """Return the word numbers of `instructions`; case and punctuation do not count."""
    ids = torch.zeros(len(instructions), config.words, dtype=torch.int64)
    for row, instruction in enumerate(instructions):
        for column, word in enumerate(_WORD.findall(instruction.lower())[: config.words]):
            ids[row, column] = 1 + zlib.crc32(word.encode()) % (config.vocabulary - 1)
    return TextTokens(ids)


class TextEmbedding(nn.Module):
    """Word numbers `(b, words)` -> tokens `(b, words, width)` of the transformer."""

    def __init__(self, config: TextConfig, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(config.vocabulary, config.width)
        self.out = nn.Linear(config.width, width)

    def forward(self, text: TextTokens) -> Tensor:
        """Return `(b, words, width)`."""
        return self.out(self.table(text.ids))
