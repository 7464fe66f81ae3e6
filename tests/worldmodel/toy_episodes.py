"""Data sets in memory, for tests of what reads them."""

from collections.abc import Mapping

import numpy as np

from worldmodel.data.action_map import ActionMap
from worldmodel.data.adapter import Adapter
from worldmodel.data.formats.episode import Column, DamagedRecord


class ToyEpisode:
    """Frame t of episode e is grey level 10 e + t; so every picture says where it is from."""

    def __init__(self, number: int, length: int, damaged: bool, owner: "ToyEpisodes"):
        self.name = f"toy record {number}"
        self._number, self._length, self._damaged = number, length, damaged
        self._columns, self._owner = owner.values, owner

    def __len__(self) -> int:
        return self._length

    def array(self, column: str) -> np.ndarray:
        if self._damaged:
            raise DamagedRecord(f"{self.name} is damaged.")
        if column in self._columns:
            return self._columns[column]
        rows = np.zeros((self._length, 7), dtype=np.float32)
        rows[:, 0] = 0.01 * self._number
        rows[:, 1] = 0.001 * np.arange(self._length)
        return rows

    def text(self, column: str) -> list[str]:  # noqa: ARG002
        return [f" do {self._number} "] * self._length

    def images(self, column: str, steps: np.ndarray | None = None) -> np.ndarray:  # noqa: ARG002
        steps = np.arange(self._length) if steps is None else steps
        self._owner.decoded += len(steps)
        levels = (10 * self._number + steps).astype(np.uint8)
        return np.broadcast_to(levels[:, None, None, None], (len(steps), 32, 32, 3)).copy()


class ToyEpisodes:
    """Episodes of the given lengths, some damaged; counts what is read and decoded."""

    def __init__(
        self,
        lengths: tuple[int, ...],
        damaged: tuple[int, ...] = (),
        fps: float | None = None,
        values: Mapping[str, np.ndarray] | None = None,
        columns: Mapping[str, Column] | None = None,
    ) -> None:
        self.source = "toy"
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.fps = fps
        self.robot: str | None = None
        self.opened = self.decoded = 0
        self.numbers: set[int] = set()
        self._damaged, self.values = damaged, values or {}
        self.columns: Mapping[str, Column] = columns or {
            "image": Column("image", (32, 32, 3), "uint8"),
            "action": Column("array", (7,), "float32"),
            "text": Column("text", (), "str"),
        }

    def __getitem__(self, number: int) -> ToyEpisode:
        self.opened += 1
        self.numbers.add(number)
        length = int(self.lengths[number])
        return ToyEpisode(number, length, number in self._damaged, self)


def toy_adapter(**changes: object) -> Adapter:
    settings: dict[str, object] = {
        "name": "toy",
        "robot": "none",
        "rate": 6.0,
        "image": "image",
        "instruction": "text",
        "action": ActionMap("action[0:3]", "action[3:6]", "axis_angle", "action[6]", "closing"),
        "state": ("action[0:2]",),
    }
    return Adapter(**(settings | changes))  # type: ignore[arg-type]
