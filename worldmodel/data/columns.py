"""Parts of an episode's columns, as an adapter names them."""

import re
from dataclasses import dataclass

import numpy as np

from experiment.errors import UserError
from worldmodel.data.formats.episode import DamagedRecord, Episode

_PART = re.compile(r"^(?P<column>[^\[\]]+?)(\[(?P<first>-?\d+)?(?P<colon>:)?(?P<last>-?\d+)?\])?$")


@dataclass(frozen=True)
class Part:
    """A column or some of its numbers: `action/world_vector`, `action[3:6]`, `action[6]`."""

    column: str
    where: slice

    @classmethod
    def of(cls, text: str) -> "Part":
        """Read the text; raises `UserError`."""
        match = _PART.match(text.strip())
        if match is None:
            raise UserError(f"adapter: {text!r} names no column; write column or column[3:6].")
        first, last = (None if (v := match[n]) is None else int(v) for n in ("first", "last"))
        if match[2] and not match["colon"]:
            if first is None:
                raise UserError(f"adapter: {text!r} has empty brackets; write column[6].")
            return cls(match["column"], slice(first, first + 1 if first != -1 else None))
        return cls(match["column"], slice(first, last))

    def read(self, episode: Episode) -> np.ndarray:
        """Return `(t, n)` float64."""
        values = episode.array(self.column)
        return values.reshape(len(values), -1)[:, self.where].astype(np.float64)


def spelled(rows: np.ndarray, episode: Episode) -> list[str]:
    """Return the text of each row of bytes `(t, n)`; raises `DamagedRecord`."""
    if rows.size and not (rows.min() >= 0 and rows.max() <= 255):
        raise DamagedRecord(f"{episode.name}: its instruction holds numbers that are no bytes.")
    written = [row.tobytes().split(b"\0")[0] for row in rows.astype(np.uint8)]
    try:
        return [text.decode() for text in written]
    except UnicodeDecodeError as error:
        raise DamagedRecord(f"{episode.name}: its instruction is no UTF-8.") from error
