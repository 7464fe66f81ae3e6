"""Records of TFRecord files, and the tf.train.Example in each, read without protobuf.

A record is length (u64), its masked crc32c (u32), data, the data's masked crc32c (u32), all
little-endian; nothing is read whose checksum does not agree. The data are a map from names to
lists of bytes, floats or ints:

    Example   { Features features = 1 }
    Features  { map<string, Feature> feature = 1 }
    Feature   { one of BytesList bytes_list = 1, FloatList float_list = 2, Int64List ... = 3 }
    BytesList { repeated bytes value = 1 }  - the other two likewise, packed or not

A protobuf library skips what it does not expect; here everything that writers of TFRecords never
produce is an error, because it means damage. Lists are decoded when asked for, floats and pictures
without a copy.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import google_crc32c
import numpy as np

HEADER_BYTES, FOOTER_BYTES = 12, 4
_MASK_DELTA = 0xA282EAD8  # of TensorFlow's core/lib/hash/crc32c.h
_VARINT, _DELIMITED, _FIXED32 = 0, 2, 5
_KINDS = {1: "bytes_list", 2: "float_list", 3: "int64_list"}
_UNPACKED_FLOAT = np.dtype([("tag", "u1"), ("value", "<f4")])


class Malformed(ValueError):  # noqa: N818 - the message is the predicate of a sentence
    """The bytes break the format: "has ...", which follows a record's name."""


def masked_crc(data: bytes) -> int:
    """Return the crc32c of `data`, rotated by 15 bits plus a constant."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def data_length(header: bytes) -> int:
    """Return how many bytes of data follow a record's first 12. Raises `Malformed`."""
    if len(header) < HEADER_BYTES:
        raise Malformed("begins less than 12 bytes before the file's end, which is truncated")
    length, crc = struct.unpack("<QI", header)
    if masked_crc(header[:8]) != crc:
        raise Malformed("has a length whose checksum does not agree")
    return int(length)


def unframe(record: bytes) -> memoryview:
    """Return the data of a whole record. Raises `Malformed`."""
    length = data_length(record[:HEADER_BYTES])
    if len(record) != HEADER_BYTES + length + FOOTER_BYTES:
        raise Malformed(f"has {length} bytes of data, which is not what the index lists")
    data = record[HEADER_BYTES : HEADER_BYTES + length]
    if masked_crc(data) != struct.unpack("<I", record[-FOOTER_BYTES:])[0]:
        raise Malformed("has data whose checksum does not agree")
    return memoryview(data)


class Feature(NamedTuple):
    """One list: which of the three `kind`s, and its bytes on the wire."""

    kind: str
    wire: memoryview

    def strings(self) -> list[memoryview]:
        """Return the entries of a bytes_list. Raises `Malformed` for another kind."""
        self._expect("bytes_list")
        return [self.wire[a:b] for field, a, b in _fields(self.wire) if _is_value(field)]

    def floats(self) -> np.ndarray:
        """Return float32 `(n,)`, read-only. Raises `Malformed` for another kind."""
        self._expect("float_list")
        loose = _loose_floats(self.wire)
        if loose is not None:
            return loose
        chunks = []
        for first, last in _packed(self.wire, _FIXED32):
            if (last - first) % 4:
                raise Malformed("has a float_list that ends within a number")
            chunks.append(np.frombuffer(self.wire[first:last], "<f4"))
        return _joined(chunks, np.float32)

    def integers(self) -> np.ndarray:
        """Return int64 `(n,)`. Raises `Malformed` for another kind."""
        self._expect("int64_list")
        chunks = [varints(self.wire[a:b]) for a, b in _packed(self.wire, _VARINT)]
        return _joined(chunks, np.int64)

    def _expect(self, kind: str) -> None:
        if self.kind != kind:
            raise Malformed(f"has {self.kind} where {kind} is expected")


def parse(data: memoryview) -> dict[str, Feature]:
    """Return the features of an Example by name. Raises `Malformed`."""
    features: dict[str, Feature] = {}
    for field, first, last in _fields(data):
        if not _is_value(field):
            continue
        for entry, start, stop in _fields(data[first:last]):
            if _is_value(entry):
                name, feature = _entry(data[first + start : first + stop])
                if name in features:
                    raise Malformed(f"has {name!r} twice")
                features[name] = feature
    return features


def parse_feature(wire: memoryview) -> Feature:
    """Return the Feature message in `wire`. Raises `Malformed`."""
    fields = list(_fields(wire))
    if len(fields) != 1 or fields[0][0] not in _KINDS:
        raise Malformed("has a feature that is not exactly one list")
    kind, first, last = fields[0]
    return Feature(_KINDS[kind], wire[first:last])


def varint(data: memoryview | bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at `at` and where it ends. Raises `Malformed`."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Malformed("ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise Malformed("has a number of more than 64 bits")


def varints(data: memoryview) -> np.ndarray:
    """Return int64 `(n,)`: the numbers that lie end to end in `data`. Raises `Malformed`."""
    octets = np.frombuffer(data, np.uint8)
    last = octets < 0x80
    if last.all():
        return octets.astype(np.int64)
    if not last[-1]:
        raise Malformed("has an int64_list that ends within a number")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    byte_numbers = np.arange(len(octets)) - np.repeat(starts, ends - starts + 1)
    # The tenth byte holds the last of the 64 bits.
    if byte_numbers.max() > 9 or (octets[byte_numbers == 9] > 1).any():
        raise Malformed("has a number of more than 64 bits")
    bits = (octets & 0x7F).astype(np.uint64) << (7 * byte_numbers).astype(np.uint64)
    return np.bitwise_or.reduceat(bits, starts).view(np.int64)


def _entry(data: memoryview) -> tuple[str, Feature]:
    fields: Mapping[int, memoryview] = {field: data[a:b] for field, a, b in _fields(data)}
    if fields.keys() != {1, 2}:
        raise Malformed("has an entry that is not a name and a list")
    try:
        name = str(fields[1], "utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("has a name that is no UTF-8") from error
    return name, parse_feature(fields[2])


def _fields(data: memoryview) -> Iterator[tuple[int, int, int]]:
    """Yield number, beginning and end of each length-delimited field; others are `Malformed`."""
    at, end = 0, len(data)
    while at < end:
        # Most numbers have one byte, and this loop is what parsing a record costs.
        tag, at = (data[at], at + 1) if data[at] < 0x80 else varint(data, at)
        if tag & 7 != _DELIMITED:
            raise Malformed(f"has wire type {tag & 7} in field {tag >> 3} where 2 is expected")
        if at < end and data[at] < 0x80:
            length, at = data[at], at + 1
        else:
            length, at = varint(data, at)
        if length > end - at:
            raise Malformed("has a list that continues past its end")
        yield tag >> 3, at, at + length
        at += length


def _packed(data: memoryview, single: int) -> Iterator[tuple[int, int]]:
    """Yield where numbers lie in a list's `data`: packed ones, or one of wire type `single`."""
    at, end = 0, len(data)
    while at < end:
        tag, at = varint(data, at)
        _is_value(tag >> 3)
        first = at
        if tag & 7 == _DELIMITED:
            length, first = varint(data, at)
            at = first + length
        elif tag & 7 != single:
            raise Malformed(f"has wire type {tag & 7} in a list of numbers")
        elif single == _FIXED32:
            at += 4
        else:
            _, at = varint(data, at)
        if at > end:
            raise Malformed("has a list that continues past its end")
        yield first, at


def _is_value(field: int) -> bool:
    if field != 1:
        raise Malformed(f"has the field {field}, which an Example does not have there")
    return True


def _loose_floats(data: memoryview) -> np.ndarray | None:
    """Return the numbers of a list that is not packed at all, which some writers make."""
    if not len(data) or len(data) % 5 or data[0] != 8 | _FIXED32:
        return None
    entries = np.frombuffer(data, _UNPACKED_FLOAT)
    return entries["value"] if (entries["tag"] == 8 | _FIXED32).all() else None


def _joined(chunks: list[np.ndarray], dtype: type) -> np.ndarray:
    if len(chunks) == 1:
        return chunks[0]
    return np.concatenate(chunks) if chunks else np.zeros(0, dtype)
