"""dataset_info.json: which shards a split has, and how many episodes each of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiment.errors import UserError, nearest
from worldmodel.data.formats.storage import Storage

NAME = "dataset_info.json"
_MOST_RECORDS = 10_000_000  # of a shard: more is damage
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


@dataclass(frozen=True)
class Manifest:
    """Names of the shards of one split, in order, and the number of records in each."""

    shards: tuple[str, ...]
    records: tuple[int, ...]


def read_manifest(storage: Storage, split: str) -> Manifest:
    """Return the shards of `split`. Raises `UserError` naming dataset_info.json."""
    path = storage.where(NAME)
    try:
        info = json.loads(storage.read(NAME))
        form = str(info.get("fileFormat", "tfrecord")).lower()
        splits = {str(entry["name"]): entry for entry in info.get("splits", [])}
        if form != "tfrecord":
            raise UserError(f"{path}: files of the format {form!r} are not read, only tfrecord.")
        if split not in splits:
            raise UserError(f"{path} lists no split {split!r}.{nearest(split, splits)}")
        records = tuple(int(count) for count in splits[split].get("shardLengths", []))
        names = _names(info, splits[split], len(records))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged ({error!r}): copy it again.") from error
    if not records or min(records) < 0 or max(records) > _MOST_RECORDS:
        raise UserError(
            f"{path} does not say how many episodes the shards of {split!r} hold: copy it again."
        )
    return Manifest(names, records)


def _names(info: Mapping[str, Any], entry: Mapping[str, Any], count: int) -> tuple[str, ...]:
    template = str(entry.get("filepathTemplate") or _TEMPLATE)
    digits = max(5, len(str(count)))
    names = []
    for number in range(count):
        place, total = f"{number:0{digits}}", f"{count:0{digits}}"
        names.append(
            template.format(
                DATASET=info["name"],
                SPLIT=entry["name"],
                FILEFORMAT="tfrecord",
                SHARD_X_OF_Y=f"{place}-of-{total}",
                SHARD_INDEX=place,
                NUM_SHARDS=total,
            )
        )
    return tuple(names)
