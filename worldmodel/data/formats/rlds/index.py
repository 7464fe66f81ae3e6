"""Where each episode of a split lies, from dataset_info.json and one pass over the shards.

The pass reads the framing of each record and the one list in it that says how many steps there
are. Its results are kept, one JSON file for each shard, so that an interrupted pass resumes; the
file's name holds the shard's size, so that another shard is read again.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from experiment import progress
from experiment.errors import UserError, nearest
from experiment.files import write_bytes
from worldmodel.data.formats.episode import DamagedRecord
from worldmodel.data.formats.rlds import example
from worldmodel.data.formats.rlds.decode import count_steps
from worldmodel.data.formats.rlds.example import FOOTER_BYTES, HEADER_BYTES, Malformed
from worldmodel.data.formats.rlds.schema import Field
from worldmodel.data.formats.storage import REQUESTS_AT_ONCE, Storage, in_parallel

OnDamage = Literal["stop", "keep"]
_MANIFEST = "dataset_info.json"
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_MOST_RECORDS = 10_000_000  # of a shard: more is damage
_FORMAT = 1
_READ_AHEAD_BYTES = 1 << 16
_HEAD_BYTES = 1 << 10  # holds the name of any list


@dataclass
class _ShardIndex:
    """First byte of each record, its bytes with framing, its steps; why some cannot be read."""

    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RldsIndex:
    """The names of the shards, and for each episode where it lies.

    Number of its shard and of its record there, first byte, bytes with framing and steps are
    int64 `(episodes,)`. `problems` has for a damaged episode what is wrong with it.
    """

    shards: tuple[str, ...]
    shard: np.ndarray
    record: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    steps: np.ndarray
    problems: Mapping[int, str]


def read_shards(storage: Storage, split: str) -> dict[str, int]:
    """Return the names of a split's shards, in order, and how many records each has.

    Raises `UserError` naming dataset_info.json.
    """
    path = storage.where(_MANIFEST)
    try:
        info = json.loads(storage.read(_MANIFEST))
        form = str(info.get("fileFormat", "tfrecord")).lower()
        splits = {str(entry["name"]): entry for entry in info.get("splits", [])}
        if form != "tfrecord":
            raise UserError(f"{path}: files of the format {form!r} are not read, only tfrecord.")
        if split not in splits:
            raise UserError(f"{path} lists no split {split!r}.{nearest(split, splits)}")
        records = [int(count) for count in splits[split].get("shardLengths", [])]
        template = str(splits[split].get("filepathTemplate") or _TEMPLATE)
        names = [_shard_name(template, info, split, n, len(records)) for n in range(len(records))]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged ({error!r}): copy it again.") from error
    if not records or min(records) < 0 or max(records) > _MOST_RECORDS:
        raise UserError(
            f"{path} does not say how many episodes the shards of {split!r} hold: copy it again."
        )
    return dict(zip(names, records, strict=True))


def _shard_name(template: str, info: Mapping[str, Any], split: str, number: int, count: int) -> str:
    digits = max(5, len(str(count)))
    values = {
        "DATASET": str(info["name"]),
        "SPLIT": split,
        "FILEFORMAT": "tfrecord",
        "SHARD_X_OF_Y": f"{number:0{digits}}-of-{count:0{digits}}",
        "SHARD_INDEX": f"{number:0{digits}}",
        "NUM_SHARDS": f"{count:0{digits}}",
    }
    return re.sub(r"\{(\w*)\}", lambda match: values[match[1]], template)


def record_name(storage: Storage, shard: str, record: int) -> str:
    """Return what a record is called in messages."""
    return f"{storage.where(shard)}, record {record}"


def damaged(name: str, problem: str) -> DamagedRecord:
    """Return the error for a record; `problem` is the predicate of the sentence."""
    return DamagedRecord(f"{name} {problem}: copy the file again or skip damaged episodes.")


def build(
    storage: Storage, split: str, counter: Field, folder: Path | None, on_damage: OnDamage
) -> RldsIndex:
    """Return the index of a split, as far as possible from `folder` (if given), and keep it there.

    A record that is damaged or empty is a `DamagedRecord` now ("stop") or an episode of no steps
    with a problem ("keep"). A shard that is missing is a `UserError`.
    """
    records = read_shards(storage, split)
    sizes = storage.sizes(records)

    def one(name: str) -> _ShardIndex:
        path = folder / f"{name}-{sizes[name]}.json" if folder else None
        shard = _kept(path, counter, records[name]) if path else None
        if shard is None:
            shard = _scan(storage, name, sizes[name], records[name], counter, on_damage)
            # With problems it is read again next time: they may have been fixed by then.
            if path and not shard.problems:
                content = {"format": _FORMAT, "counter": counter.key, **asdict(shard)}
                write_bytes(path, json.dumps(content).encode())
        return shard

    # Streamed shards are many short waits for the network.
    workers = 1 if storage.is_local or storage.cache else REQUESTS_AT_ONCE
    shown = progress.each(
        in_parallel(one, records, workers), f"indexing {storage.address}", "shard", len(records)
    )
    return _joined(tuple(records), list(shown))


def _scan(
    storage: Storage, name: str, size: int, records: int, counter: Field, on_damage: OnDamage
) -> _ShardIndex:
    """Return the index of one shard of `size` bytes that should hold `records` records."""
    shard = _ShardIndex()
    offset, length = 0, 0
    with storage.open(name, _READ_AHEAD_BYTES) as file:
        for record in range(records):
            offset, steps = offset + length, 0
            try:
                if record and not length:
                    raise Malformed("follows one whose end is not known")
                length = 0
                length = _length(file, offset, size)
                steps = _steps(file, offset, length, counter)
                if not steps:
                    raise Malformed("is an episode without steps")
            except Malformed as error:
                if on_damage == "stop":
                    of = f"{record_name(storage, name, record)} (of {records} in {_MANIFEST})"
                    raise damaged(of, str(error)) from error
                shard.problems[record] = str(error)
            except OSError as error:
                raise UserError(f"{storage.where(name)} could not be read ({error}).") from error
            shard.offsets.append(offset)
            shard.sizes.append(length)
            shard.steps.append(0 if record in shard.problems else steps)
    if offset + length < size and (length or not records):
        raise UserError(
            f"{storage.where(name)} continues after the {records} records that {_MANIFEST} lists: "
            "it is of another version of the data set; copy both again."
        )
    return shard


def _length(file: BinaryIO, offset: int, size: int) -> int:
    """Return the bytes of the record at `offset`, framing included."""
    if offset >= size:
        raise Malformed("is missing, the file being truncated")
    file.seek(offset)
    length = HEADER_BYTES + example.data_length(file.read(HEADER_BYTES)) + FOOTER_BYTES
    if offset + length > size:
        raise Malformed(f"ends {offset + length - size} bytes after the file's end")
    return length


def _steps(file: BinaryIO, offset: int, length: int, counter: Field) -> int:
    """Return the steps of a record; one that is not laid out as usual is read whole."""
    first = offset + HEADER_BYTES
    try:
        wire = _find(file, first, offset + length - FOOTER_BYTES, counter.key.encode())
        return count_steps({counter.key: example.parse_feature(wire)}, counter)
    except Malformed:
        file.seek(offset)
        return count_steps(example.parse(example.unframe(file.read(length))), counter)


def _find(file: BinaryIO, at: int, end: int, name: bytes) -> memoryview:
    """Return the Feature called `name` of the Example from `at` to `end`, skipping all others.

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
    """Return where the content of the field at `at` begins and ends."""
    file.seek(at)
    head = file.read(11)
    length, first = example.varint(head, 1)
    if head[:1] != tag or at + first + length > end:
        raise Malformed("is not laid out as usual")
    return at + first, at + first + length


def _joined(names: tuple[str, ...], shards: list[_ShardIndex]) -> RldsIndex:
    counts = [len(shard.offsets) for shard in shards]
    starts = np.concatenate([[0], np.cumsum(counts)]).tolist()

    def column(name: str) -> np.ndarray:
        return np.asarray([value for shard in shards for value in getattr(shard, name)], np.int64)

    return RldsIndex(
        shards=names,
        shard=np.repeat(np.arange(len(shards)), counts),
        record=np.concatenate([np.arange(count) for count in counts]).astype(np.int64),
        offset=column("offsets"),
        size=column("sizes"),
        steps=column("steps"),
        problems={
            start + record: problem
            for start, shard in zip(starts, shards, strict=False)
            for record, problem in shard.problems.items()
        },
    )


def _kept(path: Path, counter: Field, records: int) -> _ShardIndex | None:
    """Return what an earlier pass wrote, or None if it is damaged or of another version."""
    try:
        kept = json.loads(path.read_bytes())
        if kept["format"] != _FORMAT or kept["counter"] != counter.key:
            return None
        columns = {name: [int(v) for v in kept[name]] for name in ("offsets", "sizes", "steps")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = all(len(column) == records for column in columns.values())
    return _ShardIndex(columns["offsets"], columns["sizes"], columns["steps"]) if whole else None
