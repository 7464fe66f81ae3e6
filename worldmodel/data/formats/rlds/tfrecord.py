"""TFRecord framing: length (u64), its masked crc32c (u32), data, the data's masked crc32c (u32).

All little-endian. The mask is that of TensorFlow's `core/lib/hash/crc32c.h`, and its reader's
limits are ours: nothing is read whose checksum does not agree.
"""

import struct

import google_crc32c

HEADER_BYTES, FOOTER_BYTES = 12, 4
_MASK_DELTA = 0xA282EAD8


class Malformed(ValueError):  # noqa: N818 - it ends a sentence about a record
    """The bytes are not what the format says; the message is the end of a sentence."""


def masked_crc(data: bytes) -> int:
    """Return the crc32c of `data`, rotated by 15 bits plus a constant."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def frame(data: bytes) -> bytes:
    """Return the record that holds `data`."""
    length = struct.pack("<Q", len(data))
    checks = (struct.pack("<I", masked_crc(part)) for part in (length, data))
    return length + next(checks) + data + next(checks)


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
        raise Malformed(f"has {length} bytes of data by its own account, but not in the index")
    data = record[HEADER_BYTES : HEADER_BYTES + length]
    if masked_crc(data) != struct.unpack("<I", record[-FOOTER_BYTES:])[0]:
        raise Malformed("has data whose checksum does not agree")
    return memoryview(data)
