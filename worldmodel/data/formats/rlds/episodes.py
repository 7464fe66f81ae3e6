"""RLDS data sets as Open X-Embodiment publishes them: TFRecord shards written by TFDS."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from experiment.errors import UserError
from worldmodel.data.formats.episode import Column, DamagedRecord
from worldmodel.data.formats.rlds import decode, example
from worldmodel.data.formats.rlds.index import Index, OnDamage, build, record_name
from worldmodel.data.formats.rlds.manifest import Manifest, read_manifest
from worldmodel.data.formats.rlds.pictures import decode_depth, decode_rgb
from worldmodel.data.formats.rlds.schema import Field, Schema, read_schema
from worldmodel.data.formats.rlds.tfrecord import Malformed, unframe
from worldmodel.data.formats.storage import Storage

_FEATURES = "features.json"
_RECENT = 4  # episodes: windows are cut from few at a time


class RldsEpisode:
    """One record, checked against its checksum; lists are decoded when asked for."""

    def __init__(self, name: str, steps: int, data: memoryview, schema: Schema) -> None:
        """Parse a record's `data`. Raises `DamagedRecord`."""
        self.name, self._steps, self._schema = name, steps, schema
        self._coded: dict[str, list[memoryview]] = {}
        with self._sentence():
            self._features = example.parse(data)

    def __len__(self) -> int:
        return self._steps

    def array(self, column: str) -> np.ndarray:
        """Return the numbers `(t, ...)`, read-only where they did not have to be converted.

        Raises `DamagedRecord` for NaN and infinity, `UserError` where sizes vary between steps.
        """
        found = self._field(column, "array", "array")
        with self._sentence():
            if found.coding == "numbers" and not found.ragged:
                values = decode.numbers(self._features, found, self._count(found))
            else:
                rows = self._rows(found, None)
                if len({np.shape(row) for row in rows}) != 1 or found.ragged > 1:
                    raise UserError(
                        f"{self.name}: {column!r} varies in size from step to step; read it by "
                        "`rows`."
                    )
                values = np.stack(rows)
            decode.finite(values, column)
        return (
            values if found.per_step else np.broadcast_to(values, (self._steps, *values.shape[1:]))
        )

    def text(self, column: str) -> list[str]:
        """Return one text a step. Raises `DamagedRecord` for what is no UTF-8."""
        found = self._field(column, "text", "text")
        if found.column.shape:
            raise UserError(f"{self.name}: {column!r} has many texts a step; read it by `rows`.")
        with self._sentence():
            values = self._rows(found, None)
        return values if found.per_step else values * self._steps

    def images(self, column: str, steps: np.ndarray | None = None) -> np.ndarray:
        """Return uint8 `(n, h, w, 3)`. Raises `DamagedRecord` for one that does not decode."""
        found = self._field(column, "image", "images")
        wanted = np.arange(self._steps) if steps is None else np.asarray(steps, np.int64)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < self._steps):
            raise IndexError(f"{self.name} has {self._steps} steps, not {wanted.max() + 1}")
        size = [side or 0 for side in found.column.shape]
        if found.per_step and found.coding == "picture" and all(size):
            pixels = np.empty((len(wanted), *size), np.uint8)
            with self._sentence():
                coded = self._pictures(found)
                for place, step in zip(pixels, wanted.tolist(), strict=True):
                    place[:] = _picture(coded[step], found, step)
            return pixels
        with self._sentence():
            rows = self._rows(found, wanted)
        if len({row.shape for row in rows}) > 1:
            raise UserError(
                f"{self.name}: the pictures of {column!r} differ in size; read them by `rows`."
            )
        if not rows:
            return np.zeros((0, *(side or 0 for side in found.column.shape)), np.uint8)
        return np.stack(rows)

    def rows(self, column: str) -> list[Any]:
        """Return the value of each step by itself: for columns whose sizes vary.

        Arrays, texts or pictures `(h, w, 3)`; lists of them where sequences are nested.
        """
        found = self._schema.field(column, self.name)
        with self._sentence():
            values = self._rows(found, None)
        return values if found.per_step else values * self._steps

    def _rows(self, found: Field, steps: np.ndarray | None) -> list[Any]:
        features, count = self._features, self._count(found)
        if found.ragged:
            return decode.ragged(features, found, count)
        if found.coding == "numbers":
            return list(decode.numbers(features, found, count))
        if found.coding == "text":
            return decode.texts(features, found, count)
        if found.coding in ("raw", "zlib"):
            return decode.arrays(features, found, count)
        chosen = list(range(count)) if steps is None else steps.tolist() if found.per_step else [0]
        coded = self._pictures(found)
        pictures = {step: _picture(coded[step], found, step) for step in dict.fromkeys(chosen)}
        return [pictures[step] for step in chosen]

    def _pictures(self, found: Field) -> list[memoryview]:
        """Return the coded pictures of all steps; where they lie is looked up once."""
        if found.key not in self._coded:
            self._coded[found.key] = decode.strings(self._features, found, self._count(found))
        return self._coded[found.key]

    def _count(self, found: Field) -> int:
        return self._steps if found.per_step else 1

    def _field(self, column: str, kind: str, method: str) -> Field:
        found = self._schema.field(column, self.name)
        if found.column.kind != kind:
            raise UserError(
                f"{self.name}: {column!r} is a column of the kind {found.column.kind!r}, which "
                f"`{method}` does not read."
            )
        return found

    @contextmanager
    def _sentence(self) -> Iterator[None]:
        try:
            yield
        except Malformed as error:
            raise _damaged(self.name, str(error)) from error


def _picture(data: memoryview, found: Field, step: int) -> np.ndarray:
    size = found.column.shape[:2]
    try:
        if found.coding == "depth":
            return decode_depth(data, np.dtype(found.column.dtype), size)
        return decode_rgb(data, found.channels, size)
    except Malformed as error:
        raise Malformed(f"has a picture in {found.key!r}, step {step}, that {error}") from error


def _damaged(name: str, problem: str) -> DamagedRecord:
    return DamagedRecord(f"{name} {problem}: copy the file again or skip damaged episodes.")


@dataclass(frozen=True)
class RldsEpisodes:
    """One split of an RLDS data set; open one with `RldsEpisodes.open`."""

    storage: Storage
    manifest: Manifest
    schema: Schema
    index: Index
    _recent: "_Recent" = field(default_factory=lambda: _Recent(_RECENT), repr=False, compare=False)

    @classmethod
    def open(
        cls,
        storage: Storage,
        split: str = "train",
        index_folder: Path | None = None,
        on_damage: OnDamage = "stop",
    ) -> "RldsEpisodes":
        """Open the version of a data set at `storage`, such as ".../bridge_dataset/1.0.0".

        The index lies in `index_folder`, or in the storage's cache; with neither it is made
        each time. With `on_damage` "stop" a damaged record ends this with a `DamagedRecord`; with
        "keep" it is an episode of length 0 and raises when it is asked for.
        """
        if not storage.exists(_FEATURES):
            raise UserError(
                f"{storage.address} holds no {_FEATURES}: give the folder of one version of an "
                "RLDS data set, which has a name like 0.1.0."
            )
        schema = read_schema(storage.read(_FEATURES), storage.where(_FEATURES))
        manifest = read_manifest(storage, split)
        folder = index_folder or storage.cache
        kept = folder / "index" / storage.digest if folder else None
        index = build(storage, manifest, schema.counter(), kept, on_damage)
        return cls(storage, manifest, schema, index)

    @property
    def source(self) -> str:
        """Return the address."""
        return self.storage.address

    @property
    def columns(self) -> Mapping[str, Column]:
        """Return the columns that can be read, by path."""
        return {name: found.column for name, found in self.schema.fields.items()}

    @property
    def lengths(self) -> np.ndarray:
        """Return the steps of each episode, int64 `(episodes,)`; 0 of a damaged one."""
        return self.index.steps

    @property
    def fps(self) -> float | None:
        """Return None: RLDS does not say how fast a robot was controlled."""
        return None

    @property
    def robot(self) -> str | None:
        """Return None: RLDS does not name the robot."""
        return None

    def __len__(self) -> int:
        return len(self.index.steps)

    def __getitem__(self, number: int) -> RldsEpisode:
        """Return an episode. Raises `DamagedRecord`, or `UserError` where its file is gone."""
        if not 0 <= number < len(self):
            raise IndexError(f"{self.source} has {len(self)} episodes, not {number + 1}")
        episode = self._recent.get(number)
        if episode is None:
            episode = self._read(number)
            self._recent.put(number, episode)
        return episode

    def _read(self, number: int) -> RldsEpisode:
        index = self.index
        shard = self.manifest.shards[int(index.shard[number])]
        name = record_name(self.storage, shard, int(index.record[number]))
        if number in index.problems:
            raise _damaged(name, index.problems[number])
        offset, size = int(index.offset[number]), int(index.size[number])
        try:
            data = unframe(self.storage.read_range(shard, offset, size))
        except Malformed as error:
            raise _damaged(name, str(error)) from error
        return RldsEpisode(name, int(index.steps[number]), data, self.schema)


class _Recent:
    """The last episodes that were read, in this process: a copy in another begins empty."""

    def __init__(self, size: int) -> None:
        self._size, self._lock = size, threading.Lock()
        self._episodes: OrderedDict[int, RldsEpisode] = OrderedDict()

    def __reduce__(self) -> Any:
        return _Recent, (self._size,)

    def get(self, number: int) -> RldsEpisode | None:
        with self._lock:
            if number in self._episodes:
                self._episodes.move_to_end(number)
            return self._episodes.get(number)

    def put(self, number: int, episode: RldsEpisode) -> None:
        with self._lock:
            self._episodes[number] = episode
            while len(self._episodes) > self._size:
                self._episodes.popitem(last=False)
