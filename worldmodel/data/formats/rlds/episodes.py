"""RLDS data sets as Open X-Embodiment publishes them: TFRecord shards written by TFDS."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiment.errors import UserError
from worldmodel.data.formats.episode import Column
from worldmodel.data.formats.rlds import decode, example
from worldmodel.data.formats.rlds.example import Malformed
from worldmodel.data.formats.rlds.index import OnDamage, RldsIndex, build, damaged, record_name
from worldmodel.data.formats.rlds.pictures import decode_rgb
from worldmodel.data.formats.rlds.schema import Field, Schema, read_schema
from worldmodel.data.formats.storage import Storage

_FEATURES = "features.json"


class RldsEpisode:
    """One record, checked against its checksum; lists are decoded when they are asked for."""

    def __init__(self, name: str, steps: int, record: bytes, schema: Schema) -> None:
        """Parse a `record` with its framing. Raises `DamagedRecord`."""
        self.name, self._steps, self._schema = name, steps, schema
        self._coded: dict[str, list[memoryview]] = {}
        with self._named():
            self._features = example.parse(example.unframe(record))

    def __len__(self) -> int:
        return self._steps

    def array(self, column: str) -> np.ndarray:
        """Return the numbers `(t, ...)`. Raises `DamagedRecord` for NaN and infinity."""
        field = self._field(column, "array")
        with self._named():
            values = decode.numbers(self._features, field, self._count(field))
        if field.per_step:
            return values
        return np.broadcast_to(values, (self._steps, *values.shape[1:]))

    def text(self, column: str) -> list[str]:
        """Return one text a step. Raises `DamagedRecord` for what is no UTF-8."""
        field = self._field(column, "text")
        with self._named():
            values = decode.texts(self._features, field, self._count(field))
        return values if field.per_step else values * self._steps

    def images(self, column: str, steps: np.ndarray | None = None) -> np.ndarray:
        """Return uint8 `(n, h, w, 3)`. Raises `DamagedRecord` for one that does not decode."""
        field = self._field(column, "image")
        steps = np.arange(self._steps) if steps is None else np.asarray(steps, np.int64)
        if len(steps) and not 0 <= steps.min() <= steps.max() < self._steps:
            raise IndexError(f"{self.name} has {self._steps} steps, not all of {steps.tolist()}")
        with self._named():
            if column not in self._coded:
                self._coded[column] = decode.strings(self._features, field, self._steps)
            if None not in field.column.shape or not len(steps):
                shape = (side or 0 for side in field.column.shape)
                pixels = np.empty((len(steps), *shape), np.uint8)
                for target, step in zip(pixels, steps.tolist(), strict=True):
                    self._picture(column, field, step, target)
                return pixels
            pictures = [self._picture(column, field, step) for step in steps.tolist()]
        if len({picture.shape for picture in pictures}) > 1:
            raise UserError(f"{self.name}: the pictures of {column!r} differ in size.")
        return np.stack(pictures)

    def _picture(
        self, column: str, field: Field, step: int, out: np.ndarray | None = None
    ) -> np.ndarray:
        try:
            return decode_rgb(self._coded[column][step], field.column.shape[:2], out)
        except Malformed as error:
            raise Malformed(f"has a picture in {field.key!r}, step {step}, that {error}") from error

    def _count(self, field: Field) -> int:
        return self._steps if field.per_step else 1

    def _field(self, column: str, kind: str) -> Field:
        field = self._schema.field(column, self.name)
        if field.column.kind != kind:
            raise UserError(
                f"{self.name}: {column!r} is of the kind {field.column.kind}, not {kind}."
            )
        return field

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except Malformed as error:
            raise damaged(self.name, str(error)) from error


@dataclass(frozen=True)
class RldsEpisodes:
    """One split of an RLDS data set; open one with `RldsEpisodes.open`."""

    storage: Storage
    schema: Schema
    index: RldsIndex

    @classmethod
    def open(
        cls,
        storage: Storage,
        split: str = "train",
        index_folder: Path | None = None,
        on_damage: OnDamage = "stop",
    ) -> "RldsEpisodes":
        """Open the version of a data set at `storage`, such as ".../bridge_dataset/1.0.0".

        The index is kept in `index_folder`, or in the storage's cache; with neither it is made
        each time. With `on_damage` "stop" a damaged record is a `DamagedRecord` now; with "keep" it
        is an episode of length 0 that raises when it is asked for.
        """
        if not storage.exists(_FEATURES):
            raise UserError(
                f"{storage.address} holds no {_FEATURES}: give the folder of one version of an "
                "RLDS data set, which has a name like 0.1.0."
            )
        schema = read_schema(storage.read(_FEATURES), storage.where(_FEATURES))
        folder = index_folder or storage.cache
        kept = folder / "index" / storage.digest if folder else None
        return cls(storage, schema, build(storage, split, schema.counter(), kept, on_damage))

    @property
    def source(self) -> str:
        return self.storage.address

    @property
    def columns(self) -> Mapping[str, Column]:
        return {name: field.column for name, field in self.schema.fields.items()}

    @property
    def lengths(self) -> np.ndarray:
        # 0 of a damaged one.
        return self.index.steps

    # RLDS names neither the control rate nor the robot.
    fps = None
    robot = None

    def __len__(self) -> int:
        return len(self.index.steps)

    def __getitem__(self, number: int) -> RldsEpisode:
        """Return an episode. Raises `DamagedRecord`, or `UserError` if its file is missing."""
        if not 0 <= number < len(self):
            raise IndexError(f"{self.source} has {len(self)} episodes, not {number + 1}")
        index = self.index
        shard = index.shards[int(index.shard[number])]
        name = record_name(self.storage, shard, int(index.record[number]))
        if number in index.problems:
            raise damaged(name, index.problems[number])
        record = self.storage.read_range(shard, int(index.offset[number]), int(index.size[number]))
        return RldsEpisode(name, int(index.steps[number]), record, self.schema)
