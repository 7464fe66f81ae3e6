"""What every data set looks like to the rest of the package: episodes with named columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from experiment.errors import UserError

ColumnKind = Literal["image", "array", "text"]


class DamagedRecord(UserError):  # noqa: N818 - the record is damaged, not the error
    """One episode cannot be read; the message names its file and record.

    Readers raise it and never skip: the caller may skip the episode and count it.
    """


@dataclass(frozen=True)
class Column:
    """What one step holds: pictures `(h, w, c)`, numbers of `shape`, or a text (shape `()`).

    A dimension is None where it varies. `dtype` is numpy's name, "uint8" for pictures, "str" for
    texts. `names` are those of the numbers, where the data set gives them.
    """

    kind: ColumnKind
    shape: tuple[int | None, ...]
    dtype: str
    names: tuple[str, ...] = ()


class Episode(Protocol):
    """One episode as its data set stores it; pictures are decoded when asked for.

    Every method raises `UserError` for an unknown column or one of another kind, and
    `DamagedRecord` for what cannot be read.
    """

    @property
    def name(self) -> str:
        """Return file and record, for messages and lists of what was skipped."""
        ...

    def __len__(self) -> int:
        """Return the number of steps, at least one."""
        ...

    def array(self, column: str) -> np.ndarray:
        """Return the numbers `(t, ...)` of all steps."""
        ...

    def text(self, column: str) -> list[str]:
        """Return one text a step."""
        ...

    def images(self, column: str, steps: np.ndarray | None = None) -> np.ndarray:
        """Return uint8 RGB pictures `(n, h, w, 3)` of the steps numbered `steps`, or of all."""
        ...


class Episodes(Protocol):
    """Random access to the episodes of a data set; what it holds is small enough to pickle."""

    @property
    def source(self) -> str:
        """Return the folder or address, for messages."""
        ...

    @property
    def columns(self) -> Mapping[str, Column]:
        """Return the columns of a step by path, such as "observation/image"."""
        ...

    @property
    def lengths(self) -> np.ndarray:
        """Return the number of steps of each episode, int64 `(episodes,)`."""
        ...

    @property
    def fps(self) -> float | None:
        """Return the steps a second where the data set gives them."""
        ...

    @property
    def robot(self) -> str | None:
        """Return the robot's name where the data set gives it (LeRobot's `robot_type`)."""
        ...

    def __getitem__(self, number: int) -> Episode:
        """Return an episode; raises `IndexError` outside `range(len(lengths))`."""
        ...
