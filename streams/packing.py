"""Packs headers into few bytes: what is the same in every record becomes a code of one byte.

A packed list is MessagePack: a code below 100 stands for a whole header, a code from 100 on (or a
name as text) is followed by the value. The tables are part of the stored form: only ever append.
"""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.topics import Topic
from streams.log import Headers

_PAIRS: tuple[tuple[str, bytes], ...] = (
    ("ce_specversion", b"1.0"),
    ("ce_source", b"pypistream"),
    ("content-type", b"application/json"),
    ("ce_dataschema", f"{Topic.CHANGELOG}.v1.schema.json".encode()),
    ("ce_dataschema", f"{Topic.REFETCH}.v1.schema.json".encode()),
    ("ce_dataschema", f"{Topic.METADATA}.v1.schema.json".encode()),
    ("ce_dataschema", f"{Topic.RELEASES}.v1.schema.json".encode()),
    ("ce_dataschema", f"{Topic.STATE}.v1.schema.json".encode()),
    ("ce_dataschema", f"{Topic.PROGRESS}.v1.schema.json".encode()),
    ("ce_dataschema", f"{Topic.DEAD_LETTER}.v1.schema.json".encode()),
    ("ce_type", b"pypistream.marker"),
    ("ce_type", b"pypistream.backfill"),
    ("stale", b"true"),
    ("stale", b"false"),
    ("late", b"true"),
    ("late", b"false"),
    ("source", b"journal"),
    ("source", b"index"),
    ("reason", b"removed"),
    ("reason", b"quarantined"),
    ("reason", b"no-releases"),
)
_NAMES: tuple[str, ...] = (
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_subject",
    "ce_time",
    "ce_specversion",
    "ce_dataschema",
    "content-type",
    "event-serial",
    "serial",
    "stale",
    "late",
    "source",
    "fetched-at",
    "releases-omitted",
    "reason",
)
_FIRST_NAME = 100  # codes below are pairs
_CODE_OF_PAIR = {pair: code for code, pair in enumerate(_PAIRS)}
_CODE_OF_NAME = {name: _FIRST_NAME + index for index, name in enumerate(_NAMES)}

# Headers unpack to at most this many times the bytes of their packed form.
UNPACKED_PER_BYTE_MAX = 1 + max(len(name) + len(value) for name, value in _PAIRS)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list).decode


def pack_headers(headers: Headers) -> bytes:
    """Stored form; no headers = no bytes."""
    if not headers:
        return b""
    parts: list[int | str | bytes] = []
    for pair in headers:
        code = _CODE_OF_PAIR.get(pair)
        if code is not None:
            parts.append(code)
        else:
            name, value = pair
            parts.append(_CODE_OF_NAME.get(name, name))
            parts.append(value)
    return _encode(parts)


def unpack_headers(packed: bytes) -> Headers:
    """The reverse. Raises ValueError for bytes that `pack_headers` never makes."""
    if not packed:
        return ()
    headers: list[tuple[Any, Any]] = []  # typed as it was stored; the checksum was verified before
    parts = iter(_decode(packed))  # msgspec's errors are ValueErrors
    try:
        for part in parts:
            if part.__class__ is int and part < _FIRST_NAME:
                headers.append(_PAIRS[part])
            else:
                name = _NAMES[part - _FIRST_NAME] if part.__class__ is int else part
                headers.append((name, next(parts)))
    except (IndexError, StopIteration, TypeError) as error:
        raise ValueError("packed headers of an unknown form") from error
    return tuple(headers)
