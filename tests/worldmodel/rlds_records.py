"""RLDS data sets for tests: copies of those in tests/data, and records made by hand."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

from tests.data.rlds_values import ROOT
from worldmodel.data.formats.rlds.example import (
    FOOTER_BYTES,
    HEADER_BYTES,
    data_length,
    masked_crc,
)


def copy(name: str, folder: Path) -> Path:
    """Return a copy, in `folder`, of a data set that TFDS wrote."""
    return Path(shutil.copytree(ROOT / name / "0.1.0", folder / name / "0.1.0"))


def shards(root: Path) -> list[Path]:
    """Return the TFRecord files of a data set."""
    return sorted(root.glob("*.tfrecord-*"))


def frame(data: bytes) -> bytes:
    """Return the record of a TFRecord file that holds `data`."""
    length = struct.pack("<Q", len(data))
    checks = [struct.pack("<I", masked_crc(part)) for part in (length, data)]
    return length + checks[0] + data + checks[1]


def records(shard: Path) -> list[bytes]:
    """Return the data of each record of a whole file."""
    content, found = shard.read_bytes(), []
    while content:
        length = data_length(content[:HEADER_BYTES])
        found.append(content[HEADER_BYTES : HEADER_BYTES + length])
        content = content[HEADER_BYTES + length + FOOTER_BYTES :]
    return found


def tensor(dtype: str, *shape: int, **content: Any) -> dict[str, Any]:
    """Return the entry of features.json for a tensor."""
    sizes = {"dimensions": [str(size) for size in shape]} if shape else {}
    inner = {"shape": sizes, "dtype": dtype, "encoding": "none", **content}
    return {"pythonClassName": "tfds.Tensor", "tensor": inner}


def picture(*shape: int, dtype: str = "uint8") -> dict[str, Any]:
    """Return the entry of features.json for a picture."""
    sizes = {"dimensions": [str(size) for size in shape]}
    return {"pythonClassName": "tfds.Image", "image": {"shape": sizes, "dtype": dtype}}


def text() -> dict[str, Any]:
    """Return the entry of features.json for a text."""
    return {"pythonClassName": "tfds.Text", "text": {}}


def features(inner: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of features.json for a dictionary."""
    return {"pythonClassName": "tfds.FeaturesDict", "featuresDict": {"features": inner}}


def sequence(inner: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of features.json for a sequence or a data set of steps."""
    return {"pythonClassName": "tfds.Sequence", "sequence": {"feature": inner, "length": "-1"}}


def write(root: Path, steps: dict[str, Any], data: list[bytes], **whole: Any) -> Path:
    """Write a data set of one shard whose steps have the features `steps`."""
    root.mkdir(parents=True)
    schema = features({"steps": sequence(features(steps)), **whole})
    (root / "features.json").write_text(json.dumps(schema))
    splits = [{"name": "train", "shardLengths": [str(len(data))]}]
    (root / "dataset_info.json").write_text(json.dumps({"name": "made", "splits": splits}))
    name = "made-train.tfrecord-00000-of-00001"
    (root / name).write_bytes(b"".join(map(frame, data)))
    return root


def varint(value: int) -> bytes:
    """Return a number as protobuf writes it."""
    value &= 2**64 - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def part(field: int, content: bytes) -> bytes:
    """Return a field of wire type 2."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def feature(values: list[Any]) -> bytes:
    """Return the Feature message that holds bytes, floats or ints."""
    if values and isinstance(values[0], bytes):
        return part(1, b"".join(part(1, value) for value in values))
    if values and isinstance(values[0], float):
        return part(2, part(1, struct.pack(f"<{len(values)}f", *values)))
    return part(3, part(1, b"".join(map(varint, values))))


def example(values: dict[str, list[Any] | bytes]) -> bytes:
    """Return an Example; a value that is bytes is a Feature message already."""
    entries = []
    for name, value in values.items():
        wire = value if isinstance(value, bytes) else feature(value)
        entries.append(part(1, part(1, name.encode()) + part(2, wire)))
    return part(1, b"".join(entries))
