"""Where each episode lies, from one pass over the shards that skips what it does not need.

The pass reads the framing of each record and the one list in it that says how many steps there
are. What it finds is kept, a JSON file for each shard, so that an interrupted pass goes on where
it was; the file's name holds the shard's size, so that another shard is read anew.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from tqdm import tqdm

from experiment.errors import UserError
from experiment.files import write_bytes
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.formats.rlds import example
from worldmodel.data.formats.rlds.manifest import NAME, Manifest
from worldmodel.data.formats.rlds.schema import Field
from worldmodel.data.formats.rlds.tfrecord import (
    FOOTER_BYTES,
    HEADER_BYTES,
    Malformed,
    data_length,
    unframe,
)
from worldmodel.data.formats.storage import REQUESTS_AT_ONCE, Storage, in_parallel

OnDamage = Literal["stop", "keep"]
_FORMAT = 1
_READ_AHEAD_BYTES = 1 << 16
_HEAD_BYTES = 1 << 10  # holds the name of any list


@dataclass
class ShardIndex:
    """Beginning of each record, its bytes with framing, its steps; why some cannot be read."""

    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Index:
    """For each episode: number of its shard, of its record there, first byte, bytes, steps.

    All int64 `(episodes,)`. `problems` says of a damaged episode what is wrong with it.
    """

    shard: np.ndarray
    record: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    steps: np.ndarray
    problems: Mapping[int, str]


def record_name(storage: Storage, shard: str, record: int) -> str:
    """Return what a record is called in messages."""
    return f"{storage.where(shard)}, record {record}"


def build(
    storage: Storage, manifest: Manifest, counter: Field, folder: Path | None, on_damage: OnDamage
) -> Index:
    """Return the index, read from `folder` (if given) as far as it lies there, and kept there.

    A record that is damaged or empty is a `DamagedRecord` now ("stop") or an episode of no steps
    with a problem ("keep"). A shard that is missing is a `UserError`.
    """
    sizes = storage.sizes(manifest.shards)

    def one(number: int) -> ShardIndex:
        name = manifest.shards[number]
        kept = folder / f"{name}-{sizes[name]}.json" if folder else None
        found = _kept(kept, counter, manifest.records[number]) if kept else None
        if found is None:
            records = manifest.records[number]
            try:
                found = scan(storage, name, sizes[name], records, counter, on_damage)
            except OSError as error:
                raise UserError(f"{storage.where(name)} could not be read ({error}).") from error
            # With problems it is read again next time: they may have been mended meanwhile.
            if kept and not found.problems:
                write_bytes(kept, _as_json(found, counter))
        return found

    # Streamed shards are many short waits for the network.
    workers = 1 if storage.is_local or storage.cache else REQUESTS_AT_ONCE
    numbers = range(len(manifest.shards))
    found = in_parallel(one, numbers, workers)
    shown = f"indexing {storage.address}"
    return _joined(list(tqdm(found, total=len(numbers), desc=shown, unit="shard", delay=2)))


def scan(
    storage: Storage, name: str, size: int, records: int, counter: Field, on_damage: OnDamage
) -> ShardIndex:
    """Return the index of one shard of `size` bytes that should hold `records` records."""
    found = ShardIndex()
    with storage.open(name, _READ_AHEAD_BYTES) as file:
        offset = 0
        for record in range(records):
            length, steps, problem = 0, 0, None
            if offset >= 0:
                try:
                    length = _length(file, offset, size)
                except Malformed as error:
                    # Where the next record begins is not known either.
                    problem, offset = str(error), -1
                else:
                    try:
                        steps = _steps(file, offset, length, counter)
                    except Malformed as error:
                        problem = str(error)
            else:
                problem = "follows one whose end is not known"
            if problem is None and steps == 0:
                problem = "is an episode without steps"
            if problem is not None:
                if on_damage == "stop":
                    raise DamagedRecord(_sentence(storage, name, record, records, problem))
                found.problems[record] = problem
            found.offsets.append(max(offset, 0))
            found.sizes.append(length)
            found.steps.append(steps if problem is None else 0)
            offset = offset + length if offset >= 0 else offset
        if 0 <= offset < size:
            raise UserError(
                f"{storage.where(name)} goes on after the {records} records that {NAME} lists: it "
                "is of another version of the data set; copy both again."
            )
    return found


def _sentence(storage: Storage, name: str, record: int, records: int, problem: str) -> str:
    return (
        f"{record_name(storage, name, record)} (of {records} that {NAME} lists) {problem}: copy "
        "the file again or skip damaged episodes."
    )


def _length(file: BinaryIO, offset: int, size: int) -> int:
    """Return the bytes of the record at `offset`, framing included."""
    if offset >= size:
        raise Malformed("is missing, the file being truncated")
    file.seek(offset)
    length = HEADER_BYTES + data_length(file.read(HEADER_BYTES)) + FOOTER_BYTES
    if offset + length > size:
        raise Malformed(f"goes on {offset + length - size} bytes after the file's end")
    return length


def _steps(file: BinaryIO, offset: int, length: int, counter: Field) -> int:
    """Return the steps of a record; one that is not laid out as usual is read whole."""
    first = offset + HEADER_BYTES
    try:
        wire = _find(file, first, offset + length - FOOTER_BYTES, counter.key.encode())
        return count_steps(example.parse_feature(wire), counter)
    except Malformed:
        file.seek(offset)
        features = example.parse(unframe(file.read(length)))
        if counter.key not in features:
            raise Malformed(f"has no {counter.key!r}, which features.json lists") from None
        return count_steps(features[counter.key], counter)


def count_steps(feature: example.Feature, counter: Field) -> int:
    """Return how many steps a list of the field `counter` is for. Raises `Malformed`."""
    if feature.kind == "bytes_list":
        count = len(feature.strings())
    else:
        floats = feature.kind == "float_list"
        count = len(feature.floats() if floats else feature.integers())
    if counter.coding != "numbers" and counter.coding != "text":
        return count
    each = int(np.prod([side or 0 for side in counter.shape], dtype=np.int64))
    if each == 0 or count % each:
        raise Malformed(f"has {count} numbers in {counter.key!r}, no multiple of {each}")
    return count // each


def _find(file: BinaryIO, at: int, end: int, name: bytes) -> memoryview:
    """Return the Feature called `name` of the Example from `at` to `end`, past all others.

    Raises `Malformed` wherever a name does not come before its list.
    """
    at, end = _enter(file, at, end)
    while at < end:
        start, stop = _enter(file, at, end)
        file.seek(start)
        head = file.read(min(_HEAD_BYTES, stop - start))
        if head[:1] != b"\x0a":
            raise Malformed("has an entry that does not begin with its name")
        length, first = example.varint(head, 1)
        if head[first : first + length] == name and head[first + length : first + length + 1]:
            first, last = _enter(file, start + first + length, stop, b"\x12")
            file.seek(first)
            return memoryview(file.read(last - first))
        at = stop
    raise Malformed(f"has no {name.decode()!r}")


def _enter(file: BinaryIO, at: int, end: int, tag: bytes = b"\x0a") -> tuple[int, int]:
    """Return where the part that begins at `at` has its content, and where that ends."""
    file.seek(at)
    head = file.read(11)
    length, first = example.varint(head, 1)
    if head[:1] != tag or at + first + length > end:
        raise Malformed("is not laid out as usual")
    return at + first, at + first + length


def _joined(shards: list[ShardIndex]) -> Index:
    counts = [len(shard.offsets) for shard in shards]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def column(name: str) -> np.ndarray:
        return np.asarray([v for shard in shards for v in getattr(shard, name)], np.int64)

    problems = {int(starts[n]) + k: v for n, s in enumerate(shards) for k, v in s.problems.items()}
    return Index(
        shard=np.repeat(np.arange(len(shards)), counts),
        record=np.concatenate([np.arange(count) for count in counts]).astype(np.int64),
        offset=column("offsets"),
        size=column("sizes"),
        steps=column("steps"),
        problems=problems,
    )


def _as_json(found: ShardIndex, counter: Field) -> bytes:
    kept = {"format": _FORMAT, "counter": counter.key, "offsets": found.offsets}
    return json.dumps({**kept, "sizes": found.sizes, "steps": found.steps}).encode()


def _kept(path: Path, counter: Field, records: int) -> ShardIndex | None:
    """Return what an earlier pass wrote, or None: what is damaged or of old is made anew."""
    try:
        kept = json.loads(path.read_bytes())
        if kept["format"] != _FORMAT or kept["counter"] != counter.key:
            return None
        columns = [[int(v) for v in kept[name]] for name in ("offsets", "sizes", "steps")]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    offsets, lengths, steps = columns
    if not len(offsets) == len(lengths) == len(steps) == records:
        return None
    return ShardIndex(offsets, lengths, steps)
