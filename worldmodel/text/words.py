"""Instructions as hashed words, whose embeddings are learned with the model: no vocabulary file."""

import re
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from experiment.errors import UserError
from worldmodel.registry import described
from worldmodel.tokens import Modality

_WORD = re.compile(r"[a-z0-9]+")
_warned: set["HashedWords"] = set()


def words_of(instruction: str) -> list[str]:
    """Return the words of an instruction; case and punctuation do not count."""
    return _WORD.findall(instruction.lower())


@dataclass(frozen=True)
class HashedWords:
    """`words` tokens an instruction, `vocabulary` hash buckets, embeddings of `width`.

    24 words hold every instruction of SIMPLER's 25 tasks and of the data sets in the tests; longer
    ones are cut, with one warning.
    """

    kind: ClassVar[str] = "words"

    words: int = 24
    vocabulary: int = 8192
    width: int = 32

    def __post_init__(self) -> None:
        if self.words < 1 or self.vocabulary < 2 or self.width < 1:
            raise UserError("text: words and width must be at least 1, vocabulary at least 2.")

    @property
    def modality(self) -> Modality:
        return Modality("text", self.width, predicted=False, vocabulary=self.vocabulary)

    def embed(self, instructions: Sequence[str], device: torch.device) -> Tensor:
        """Return word numbers int64 `(b, words)`, 0 after the end."""
        ids = torch.zeros(len(instructions), self.words, dtype=torch.int64)
        for row, instruction in enumerate(instructions):
            words = words_of(instruction)
            if len(words) > self.words and self not in _warned:
                _warned.add(self)
                warnings.warn(
                    f"the instruction '{instruction}' has {len(words)} words and is cut after "
                    f"text.words={self.words}; others may be too.",
                    stacklevel=2,
                )
            for column, word in enumerate(words[: self.words]):
                ids[row, column] = 1 + zlib.crc32(word.encode()) % (self.vocabulary - 1)
        return ids.to(device)

    def config(self) -> dict[str, Any]:
        return described(self)
