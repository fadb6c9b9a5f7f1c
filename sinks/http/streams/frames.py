"""Frames of `text/event-stream`, and what is said of a change or a document in them.

Source: HTML Living Standard, Server-sent events. A frame with an id and no data gives no event, but
a client that reconnects sends that id.
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from schemas.codec import one_line, rfc3339
from sinks.changes.order import Change
from streams.log import Record
from streams.seeking import serial_of

RETRY_MS = (2_000, 5_000)  # until a client comes again, drawn: else all come at once
LIVE = b"event: live\ndata: {}\n\n"

_rfc3339 = lru_cache(maxsize=4096)(rfc3339)  # rows of one second come together
_encode = msgspec.json.Encoder().encode


class LastKnown(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that a change is about, as it was published last."""

    filename: str
    version: str
    digests: dict[str, str]
    url: str | None = None


class ChangeData(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change. `time` is RFC 3339, `project` the normalised name, `name` as it is displayed.

    `files`: what was last published of what it is about, for kinds that take something away or give
    it to others; absent where nothing is held. `files_omitted`: how many more there were.
    """

    serial: int
    project: str
    name: str
    version: str | None
    time: str
    action: str
    kind: str
    source: str
    files: tuple[LastKnown, ...] | UnsetType = UNSET
    files_omitted: int = 0


class DocumentData(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record of `metadata`; `metadata` null: the project is gone, for `reason`.

    `serial` is the document's, `event_serial` that of the newest event known when it was written,
    `stale`: it was known to be older than that.
    """

    project: str
    serial: int | None
    event_serial: int | None
    time: str | None
    metadata: msgspec.Raw | None
    stale: bool = False
    reason: str | UnsetType = UNSET
    anomalies: str | UnsetType = UNSET


def change_data(change: Change, files: tuple[LastKnown, ...] | None, omitted: int) -> ChangeData:
    """What is said of a change."""
    entry = change.entry
    return ChangeData(
        serial=entry.serial,
        project=change.project,
        name=entry.name,
        version=entry.version,
        time=_rfc3339(entry.time),
        action=entry.action,
        kind=entry.kind.value,
        source=entry.source.value,
        files=UNSET if files is None else files,
        files_omitted=omitted,
    )


def change_frame(change: Change, data: ChangeData) -> bytes:
    """Its id is the serial; a frame after which nobody may resume has none."""
    raw = _encode(data)
    return b"id: %d\ndata: %b\n\n" % (change.serial, raw) if change.last else b"data: %b\n\n" % raw


def document_frame(record: Record, cursor: str) -> bytes:
    """A record of `metadata`; its value passes through, in one line."""
    value = record.value
    data = DocumentData(
        project=record.key or "",
        serial=_number(record.header("serial")),
        event_serial=serial_of(record),
        time=record.header("ce_time"),
        metadata=None if value is None else msgspec.Raw(one_line(value)),
        stale=record.header("stale") == "true",
        reason=record.header("reason") or UNSET,
        anomalies=record.header("anomalies") or UNSET,
    )
    return b"id: %b\ndata: %b\n\n" % (cursor.encode(), _encode(data))


def with_id(frame: bytes, resume: str) -> bytes:
    """A frame that begins with an id, with another one."""
    return b"id: %b%b" % (resume.encode(), frame[frame.index(b"\n") :])


def mark_frame(resume: str) -> bytes:
    """No event: where to resume, and a sign of life."""
    return b": alive\nid: %b\n\n" % resume.encode()


def reset_frame(reason: str, **more: int) -> bytes:
    """What a client holds is not to be trusted: what comes begins anew."""
    data = {"reason": reason, **more}
    return b"event: reset\ndata: %b\n\n" % _encode(data)


def retry_frame(why: Literal["welcome", "too slow", "stopping"]) -> bytes:
    """The first one, and the last one: when to come again."""
    return b"retry: %d\n: %b\n\n" % (random.randint(*RETRY_MS), why.encode())


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
