"""How one record lies in a row: compressed if long, with a checksum over all of it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from zlib import crc32

from schemas.compression import compress_many, decompress
from schemas.errors import DumpCorrupt, LogCorrupt
from schemas.topics import RECORD_BYTES_MAX, Offset
from streams.log import Outgoing, Record, TopicPartition
from streams.packing import UNPACKED_PER_BYTE_MAX, pack_headers, unpack_headers
from streams.placing import check_size
from streams.sqlite_errors import MEND

COMPRESSED_FROM_BYTES = 512  # below, zstd saves less than a page's slack and costs 5 us a record
COMPRESSION_LEVEL = 1  # level 3 saves 0.1 % here and costs a quarter more time

COLUMNS = "offset, timestamp_ms, checksum, unpacked_bytes, key, headers, value"
"""What a Row holds, in this order."""

Row = tuple[int, int, int, int, str | None, bytes, bytes | None]
KEY: Final = 4
VALUE: Final = 6


class Packed(NamedTuple):
    """A record's stored form, but for what its place adds: offset, time, checksum.

    `unpacked_bytes`: 0 = the value as it is, else it is a zstd frame of so many bytes.
    """

    key: str | None
    headers: bytes
    unpacked_bytes: int
    value: bytes | None


def packed(record: Outgoing) -> Packed:
    """Stored form; a value is compressed only where that makes it smaller."""
    return packed_all([record])[0]


def packed_all(records: Sequence[Outgoing]) -> list[Packed]:
    """Stored forms, in their order. Raises as `check_size`."""
    headers = [pack_headers(record.headers) for record in records]
    for record, short in zip(records, headers, strict=True):
        # An upper bound: to add up every header costs more than to pack them.
        told = len(short) + len(record.key or "")
        if len(record.value or b"") + UNPACKED_PER_BYTE_MAX * told > RECORD_BYTES_MAX:
            check_size(record)
    values = [record.value for record in records]
    long = [value for value in values if value is not None and len(value) >= COMPRESSED_FROM_BYTES]
    frames = iter(compress_many(long, COMPRESSION_LEVEL))
    made = []
    for record, short, value in zip(records, headers, values, strict=True):
        if value is not None and len(value) >= COMPRESSED_FROM_BYTES:
            frame = next(frames)
            if len(frame) < len(value):
                made.append(Packed(record.key, short, len(value), frame))
                continue
        made.append(Packed(record.key, short, 0, value))
    return made


_seed = struct.Struct("<qqiiii").pack  # offset, time, unpacked_bytes, lengths (-1 = null)


def checksum(offset: int, timestamp_ms: int, stored: Packed) -> int:
    """CRC-32 over everything that is read back, the record's place included."""
    key, headers, unpacked_bytes, value = stored
    return _crc(offset, timestamp_ms, unpacked_bytes, key, headers, value)


def _crc(  # called for every row read: a tuple more costs 10 % of it
    offset: int,
    timestamp_ms: int,
    unpacked_bytes: int,
    key: str | None,
    headers: bytes,
    value: bytes | None,
) -> int:
    key_length, key_bytes = -1, b""
    if key is not None:
        key_bytes = key.encode()
        key_length = len(key_bytes)
    if value is None:
        seed = _seed(offset, timestamp_ms, unpacked_bytes, key_length, len(headers), -1)
        return crc32(headers, crc32(key_bytes, crc32(seed)))
    seed = _seed(offset, timestamp_ms, unpacked_bytes, key_length, len(headers), len(value))
    return crc32(value, crc32(headers, crc32(key_bytes, crc32(seed))))


_BAD_ROW = (DumpCorrupt, TypeError, ValueError, AttributeError, struct.error)
"""A damaged row may hold any type that SQLite has, in any column."""


def sound_rows(rows: Iterable[Row], at: TopicPartition) -> Iterator[Row]:
    """The same rows, each once its checksum was found right; else LogCorrupt naming the record."""
    offset = -1
    try:
        for row in rows:
            offset, timestamp_ms, expected, unpacked_bytes, key, headers, value = row
            if expected != _crc(offset, timestamp_ms, unpacked_bytes, key, headers, value):
                raise damaged(at, offset)
            yield row
    except _BAD_ROW as error:
        raise damaged(at, offset) from error


def record_of(row: Row, at: TopicPartition) -> Record:
    """The record of a sound row."""
    offset, timestamp_ms, _, unpacked_bytes, key, headers, value = row
    try:
        if unpacked_bytes and value is not None:
            value = decompress(value)
        unpacked = unpack_headers(headers)
    except _BAD_ROW as error:
        raise damaged(at, offset, "it cannot be unpacked") from error
    return Record(at.topic, at.partition, Offset(offset), timestamp_ms, key, value, unpacked)


def value_bytes(row: Row) -> int:
    """Bytes of the record's value once it is unpacked."""
    return row[3] or len(row[VALUE] or b"")


class StoredTable(Mapping[str, Record]):
    """Records by key in their stored form, a third of the size; each is made when asked for."""

    def __init__(self, rows: dict[str, Row], at: TopicPartition) -> None:
        self._rows = rows
        self._at = at

    def __getitem__(self, key: str) -> Record:
        return record_of(self._rows[key], self._at)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def damaged(
    at: TopicPartition, offset: int, why: str = "its checksum does not match"
) -> LogCorrupt:
    """The error for a record that is not what was written."""
    return LogCorrupt(
        f"the record at {at.topic}/{at.partition} offset {offset} is damaged: {why}", hint=MEND
    )
