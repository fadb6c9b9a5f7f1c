"""How one record lies in a row: compressed if long, with a checksum over all of it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from zlib import crc32

from schemas.compression import compress, decompress
from schemas.errors import DumpCorrupt, LogCorrupt
from schemas.topics import Offset
from streams.log import Outgoing, Record, TopicPartition
from streams.packing import pack_headers, unpack_headers
from streams.sqlite_errors import MEND

COMPRESSED_FROM_BYTES = 512  # below, zstd saves less than a page's slack and costs 5 us a record
COMPRESSION_LEVEL = 3  # 430 MB/s; higher levels save 2 % here and cost twice the time

_RAW, _ZSTD = 0, 1

COLUMNS = "offset, timestamp_ms, checksum, coding, key, headers, value"
"""What `records_of` reads, in this order."""

Row = tuple[int, int, int, int, str | None, bytes, bytes | None]


class Packed(NamedTuple):
    """A record's stored form, but for what its place adds: offset, time, checksum."""

    key: str | None
    headers: bytes
    coding: int
    value: bytes | None


def packed(record: Outgoing) -> Packed:
    """Stored form; a value is compressed only where that makes it smaller."""
    headers = pack_headers(record.headers)
    value = record.value
    if value is not None and len(value) >= COMPRESSED_FROM_BYTES:
        frame = compress(value, COMPRESSION_LEVEL)
        if len(frame) < len(value):
            return Packed(record.key, headers, _ZSTD, frame)
    return Packed(record.key, headers, _RAW, value)


_seed = struct.Struct("<qqBiii").pack  # offset, time, coding, lengths (-1 = null)


def checksum(offset: int, timestamp_ms: int, stored: Packed) -> int:
    """CRC-32 over everything that is read back, the record's place included."""
    key = b"" if stored.key is None else stored.key.encode()
    value = stored.value
    seed = _seed(
        offset,
        timestamp_ms,
        stored.coding,
        -1 if stored.key is None else len(key),
        len(stored.headers),
        -1 if value is None else len(value),
    )
    crc = crc32(stored.headers, crc32(key, crc32(seed)))
    return crc if value is None else crc32(value, crc)


def records_of(rows: Iterable[Row], at: TopicPartition) -> Iterator[Record]:
    """Records of rows of one partition; raises LogCorrupt naming the first that is damaged."""
    topic, partition = at
    offset = -1
    try:
        for offset, timestamp_ms, expected, coding, key, headers, value in rows:
            if expected != checksum(offset, timestamp_ms, Packed(key, headers, coding, value)):
                raise damaged(at, offset)
            if coding == _ZSTD and value is not None:
                value = decompress(value)  # noqa: PLW2901  # the stored form is of no more use
            yield Record(
                topic, partition, Offset(offset), timestamp_ms, key, value, unpack_headers(headers)
            )
    except (DumpCorrupt, TypeError, ValueError, AttributeError, struct.error) as error:
        # a damaged row may hold any type SQLite has, in any column
        raise damaged(at, offset) from error


def damaged(
    at: TopicPartition, offset: int, why: str = "its checksum does not match"
) -> LogCorrupt:
    """The error for a record that is not what was written."""
    return LogCorrupt(
        f"the record at {at.topic}/{at.partition} offset {offset} is damaged: {why}", hint=MEND
    )
