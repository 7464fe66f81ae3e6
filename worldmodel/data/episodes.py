"""What a reader of data sets offers: random access to episodes, column by column."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from worldmodel.errors import UserError

ColumnKind = Literal["image", "array", "text"]


class DamagedRecord(UserError):  # noqa: N818
    """An episode that cannot be read; the message names file and record, a caller may skip it."""


@dataclass(frozen=True)
class Column:
    """What one step holds in a column.

    `shape` is that of one step, images `(h, w, c)`, None where it varies; `dtype` is numpy's name,
    "uint8" for images, "str" for text.
    """

    kind: ColumnKind
    shape: tuple[int | None, ...]
    dtype: str


class Episode(Protocol):
    """One episode as its data set stores it; pictures are decoded when asked for.

    `name` is file and record, for error messages and lists of what was skipped. Every method may
    raise `DamagedRecord`.
    """

    name: str

    def __len__(self) -> int:
        """Return the number of steps."""

    def array(self, column: str) -> np.ndarray:
        """Return a column of numbers `(t, ...)`."""

    def text(self, column: str) -> list[str]:
        """Return a column of text, a string a step."""

    def images(self, column: str, steps: np.ndarray | None = None) -> np.ndarray:
        """Return the pictures of `steps` (all by default), uint8 `(n, h, w, 3)`."""


class Episodes(Protocol):
    """Random access to the episodes of a data set.

    `source` is its folder or address, `columns` what there is by path, `lengths` int64
    `(episodes,)` from an index that is made once, `fps` steps a second where the data set says so.
    """

    source: str
    columns: Mapping[str, Column]
    lengths: np.ndarray
    fps: float | None

    def __getitem__(self, number: int) -> Episode:
        """Return an episode; raises `DamagedRecord` where it cannot be read."""
