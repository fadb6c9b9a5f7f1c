"""Values and headers on the wire: UTF-8 JSON, CloudEvents 1.0 binary mode (Kafka protocol binding).

Only values of our own topics hold anything of ours; what we add about PyPI's is in headers.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

import msgspec

from schemas.errors import LogCorrupt
from schemas.topics import Topic

T = TypeVar("T")

CE_SOURCE = "pypistream"
MARKER_TYPE = "pypistream.marker"
BACKFILL_TYPE = "pypistream.backfill"

# What msgspec raises for malformed bytes: not only errors of its own.
NO_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_encoder = msgspec.json.Encoder()
_decoders: dict[type, msgspec.json.Decoder[object]] = {}


def encode(value: object) -> bytes:
    """Compact JSON of a record type."""
    return _encoder.encode(value)


def decode(raw: bytes, as_type: type[T]) -> T:
    """The reverse of `encode`. Unknown fields are ignored: the writer may be newer.

    Raises LogCorrupt.
    """
    decoder = _decoders.get(as_type)
    if decoder is None:
        decoder = _decoders[as_type] = msgspec.json.Decoder(as_type)
    try:
        return decoder.decode(raw)  # type: ignore[return-value]  # the cache forgets the type
    except NO_JSON as error:
        message = f"a stored {as_type.__name__} cannot be read: {error}"
        raise LogCorrupt(
            message, hint="bring back a backup of the log, or begin anew: pypistream run --backfill"
        ) from error


def one_line(value: bytes) -> bytes:
    """JSON without line ends. Unescaped ones occur only between tokens, where a space will do."""
    if b"\n" in value or b"\r" in value:
        return value.translate(_LINE_ENDS_TO_SPACES)
    return value


_LINE_ENDS_TO_SPACES = bytes.maketrans(b"\n\r", b"  ")


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """The contents of a record's headers. Times in Unix seconds; None = the header is absent.

    `event_serial`, `serial` (the body's), `stale`, `late`, `seen`, `source`, `fetched_at`,
    `releases_omitted`, `reason`, `anomalies` (slugs, comma-separated), `held` (JSON) become the
    headers of the same name with `-` for `_`.
    """

    id: str
    type: str
    subject: str
    time: float
    dataschema: str
    event_serial: int | None = None
    serial: int | None = None
    stale: bool | None = None
    late: bool | None = None
    seen: bool | None = None
    source: str | None = None
    fetched_at: float | None = None
    releases_omitted: int | None = None
    reason: str | None = None
    anomalies: str | None = None
    held: str | None = None


def dataschema(topic: Topic) -> str:
    """Name of the JSON Schema of a topic's value; the files lie in `schemas/`."""
    return f"{topic.value}.v1.schema.json"


YEAR_9999 = 253_402_300_799  # its last second: the latest RFC 3339 can express, in Unix seconds


@lru_cache(maxsize=64)  # all records of a transaction have the same time
def rfc3339(unix_seconds: float) -> str:
    """A time in UTC, with milliseconds if there are any; clipped to what RFC 3339 can express."""
    moment = datetime.fromtimestamp(min(max(unix_seconds, 0), YEAR_9999), UTC)
    spec = "milliseconds" if moment.microsecond else "seconds"
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


def cloudevent(
    id: str,  # noqa: A002  these two are CloudEvents' names
    type: str,  # noqa: A002
    subject: str,
    time: str,
    schema: str,
) -> list[tuple[str, bytes]]:
    """CloudEvents' own headers; `time` is RFC 3339."""
    about = [("ce_subject", subject.encode())] if subject else []
    return [
        _SPECVERSION,
        ("ce_id", id.encode()),
        _pair("ce_type", type),
        _SOURCE,
        *about,
        ("ce_time", time.encode()),
        _pair("ce_dataschema", schema),
        _CONTENT_TYPE,
    ]


@lru_cache(maxsize=64)  # a few different ones, in every record
def _pair(name: str, text: str) -> tuple[str, bytes]:
    return name, text.encode()


_SPECVERSION = ("ce_specversion", b"1.0")
_SOURCE = ("ce_source", CE_SOURCE.encode())
_CONTENT_TYPE = ("content-type", b"application/json")


def headers(envelope: Envelope) -> tuple[tuple[str, bytes], ...]:
    """Headers in a fixed order: CloudEvents' own first, then ours."""
    out = cloudevent(
        *(envelope.id, envelope.type, envelope.subject),
        *(rfc3339(envelope.time), envelope.dataschema),
    )
    for field, name in _OURS:
        value = getattr(envelope, field)
        if value is not None:
            out.append((name, _text(value).encode()))
    return tuple(out)


_OURS = (
    ("event_serial", "event-serial"),
    ("serial", "serial"),
    ("stale", "stale"),
    ("late", "late"),
    ("seen", "seen"),
    ("source", "source"),
    ("fetched_at", "fetched-at"),
    ("releases_omitted", "releases-omitted"),
    ("reason", "reason"),
    ("anomalies", "anomalies"),
    ("held", "held"),
)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return rfc3339(value)
    return str(value)
