"""The cursor of the metadata stream: the log, a position per partition, and when it was there.

It says nothing to clients and is not protected: a made-up one names places of a public stream.
Pure.
"""

from __future__ import annotations

import base64
import re

import msgspec

from schemas.records import SERIAL_MAX

CURSOR_CHARACTERS_MAX = 4096  # a quarter of what all header fields may have
PARTITIONS_MAX = 512  # so many positions always fit
_VERSION = 1
_CHARACTERS = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class BadCursor(Exception):
    """Text that no cursor is."""


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """`positions`: the next offset of `metadata` per partition; `as_of`: Unix seconds.

    Everything appended to the log before `as_of` and before the positions was given.
    """

    log_id: str
    as_of: int
    positions: tuple[int, ...]


class _Stored(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    version: int
    cursor: Cursor


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)


def text_of(cursor: Cursor) -> str:
    """URL-safe characters, at most CURSOR_CHARACTERS_MAX of them."""
    raw = _encoder.encode(_Stored(_VERSION, cursor))
    text = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    assert len(text) <= CURSOR_CHARACTERS_MAX, "more partitions than a cursor has room for"
    return text


def cursor_of(text: str) -> Cursor:
    """The reverse. Raises BadCursor."""
    if len(text) > CURSOR_CHARACTERS_MAX or not _CHARACTERS.fullmatch(text):
        raise BadCursor
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        stored = _decoder.decode(raw)
    except ValueError as error:  # of base64, of msgpack, of the text in it
        raise BadCursor from error
    cursor = stored.cursor
    numbers = (cursor.as_of, *cursor.positions)
    if stored.version != _VERSION or not all(0 <= number <= SERIAL_MAX for number in numbers):
        raise BadCursor
    return cursor
