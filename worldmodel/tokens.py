"""Tokens of one sequence: their modality, values, times and positions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

TEXT = "text"
"""The modality that double-stream blocks give weights of its own."""


@dataclass(frozen=True)
class Modality:
    """A kind of token: `channels` values each; `predicted` ones are noised and denoised.

    `hidden` is the width of a hidden layer at the input, None for a linear input layer. With a
    `vocabulary`, tokens are whole numbers below it, each embedded in `channels` values. With a
    `grid` (rows, columns) the tokens are the patches of a picture, and convolutions of `stem`
    channels are added to what is read of each (`worldmodel.stem`).
    """

    name: str
    channels: int
    predicted: bool = True
    hidden: int | None = None
    vocabulary: int | None = None
    grid: tuple[int, int] | None = None
    stem: int = 0

    def __post_init__(self) -> None:
        if self.grid is not None:
            # Out of a file it comes as a list.
            object.__setattr__(self, "grid", tuple(self.grid))


@dataclass(frozen=True)
class Tokens:
    """Tokens of one modality.

    `values` `(b, n, c)`, or int64 `(b, n)` for a modality with a vocabulary. `levels` `(b, k)` are
    the times of a sample (0 is clean) and `index` int64 `(b, n)` says which of them a token has.
    `position` `(b, n, 3)` or `(1, n, 3)`: time in control steps, row and column in patches. `valid`
    bool `(b, n)` says which tokens count in a loss, None for all; every token is attended to.
    `null` `(1, n, c)` or `(1, n)`: the values of a sample without this condition, such as the empty
    instruction. `target` `(b, n, e)`: features of an outside teacher (arm `repa`). The tokens are
    of as many `draws` of times and noise, one after the other, which do not see each other.
    """

    values: Tensor
    levels: Tensor
    index: Tensor
    position: Tensor
    valid: Tensor | None = None
    null: Tensor | None = None
    target: Tensor | None = None
    draws: int = 1

    @classmethod
    def clean(cls, values: Tensor, position: Tensor, valid: Tensor | None = None) -> "Tokens":
        return cls.at(values, values.new_zeros(len(values), dtype=torch.float32), position, valid)

    @classmethod
    def at(
        cls, values: Tensor, time: Tensor, position: Tensor, valid: Tensor | None = None
    ) -> "Tokens":
        """Return tokens that all have their sample's `time` `(b,)`."""
        index = values.new_zeros(values.shape[:2], dtype=torch.int64)
        return cls(values, time[:, None], index, position, valid)

    def repeated(self, draws: int) -> "Tokens":
        """Return every sample `draws` times in a row."""

        def rows(values: Tensor) -> Tensor:
            return values.repeat_interleave(draws, 0)

        position = self.position if len(self.position) == 1 else rows(self.position)
        valid = None if self.valid is None else rows(self.valid)
        return replace(
            self, values=rows(self.values), levels=rows(self.levels), index=rows(self.index),
            position=position, valid=valid,
        )  # fmt: skip

    def folded(self, draws: int) -> "Tokens":
        """Return `draws` successive samples, noised apart, as one sequence of so many draws."""

        def joined(values: Tensor) -> Tensor:
            return values.unflatten(0, (-1, draws)).flatten(1, 2)

        position = self.position.repeat(1, draws, 1)
        if len(self.position) > 1:
            position = joined(self.position)
        first = torch.arange(draws, device=self.index.device) * self.levels.shape[1]
        index = self.index.unflatten(0, (-1, draws)) + first[:, None]
        return replace(
            self, values=joined(self.values), levels=joined(self.levels), index=index.flatten(1, 2),
            position=position, valid=None if self.valid is None else joined(self.valid),
            draws=draws,
        )  # fmt: skip

    @property
    def tau(self) -> Tensor:
        """The time of each token, `(b, n)`."""
        return self.levels.gather(1, self.index)


Batch = Mapping[str, Tokens]
"""Tokens by modality, those of one data sample at the same row of each."""


def samples_in(batch: Batch) -> int:
    return len(next(iter(batch.values())).values)


def times_as_positions(times: Sequence[float], device: torch.device | None = None) -> Tensor:
    """Return `(1, n, 3)` positions of tokens that have a time but no position in the picture."""
    position = torch.full((1, len(times), 3), -1.0)
    position[0, :, 0] = torch.tensor(times, dtype=torch.float32)
    return position.to(device)
