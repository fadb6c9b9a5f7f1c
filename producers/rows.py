"""The records of `changelog`: journal rows and markers; and dead letters of malformed rows.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from producers.actions import kind_of
from schemas import codec
from schemas.codec import Envelope, dataschema
from schemas.errors import InvalidName
from schemas.names import NormalizedName, normalize
from schemas.records import ChangelogEntry, DeadLetter, EventSource, Marker
from schemas.topics import Topic
from streams.log import Outgoing
from upstream.source import BadRow, JournalRow


def entry_record(
    row: JournalRow,
    now_ms: int,
    *,
    late: bool = False,
    source: EventSource = EventSource.JOURNAL,
) -> Outgoing:
    """The record of an event, or a dead letter if its name is invalid."""
    try:
        name = normalize(row.name)
    except InvalidName as error:
        return bad_row_record(BadRow(str(error), row.serial, repr(row)), now_ms)
    kind = kind_of(row.action, row.version)
    entry = ChangelogEntry(row.serial, row.name, row.version, row.time, row.action, kind, source)
    return _entry_record(name, entry, late=late)


def carried_record(entry: ChangelogEntry, *, late: bool) -> Outgoing | None:
    """A row of another instance's journal, which is history here.

    `late`: it was history there, too. None if its name is invalid.
    """
    try:
        name = normalize(entry.name)
    except InvalidName:
        return None
    return _entry_record(name, entry, late=True, seen=not late)


def _entry_record(
    name: NormalizedName, entry: ChangelogEntry, *, late: bool, seen: bool = False
) -> Outgoing:
    envelope = Envelope(
        id=str(entry.serial),
        type=f"pypistream.changelog.{entry.kind.value}",
        subject=name,
        time=entry.time,
        dataschema=dataschema(Topic.CHANGELOG),
        event_serial=entry.serial,
        source=entry.source.value,
        late=True if late else None,
        seen=True if seen else None,
    )
    return Outgoing(Topic.CHANGELOG, name, codec.encode(entry), codec.headers(envelope))


def bad_row_record(row: BadRow, now_ms: int) -> Outgoing:
    """The dead letter of a row that cannot be an event; markers cover its serial all the same."""
    letter = DeadLetter("", f"bad-row: {row.reason}", row.serial, 1, now_ms, "", row.excerpt)
    envelope = Envelope(
        id=f"row:{row.serial}:{now_ms}",
        type="pypistream.dead-letter",
        subject="",
        time=now_ms / 1000,
        dataschema=dataschema(Topic.DEAD_LETTER),
        reason="bad-row",
    )
    headers = codec.headers(envelope)
    return Outgoing(Topic.DEAD_LETTER, None, codec.encode(letter), headers, partition=0)


def marker_records(base: int, serial: int, now_ms: int, refetch: Sequence[int]) -> list[Outgoing]:
    """One marker per partition; `refetch`: up to where its asks have to be decided, 0 = none."""
    envelope = Envelope(
        id=f"marker:{serial}:{now_ms}",
        type=codec.MARKER_TYPE,
        subject="",
        time=now_ms / 1000,
        dataschema="marker.v1.schema.json",
    )
    headers = codec.headers(envelope)
    return [
        Outgoing(
            Topic.CHANGELOG,
            None,
            codec.encode(Marker(base, serial, now_ms // 1000, asks)),
            headers,
            partition,
        )
        for partition, asks in enumerate(refetch)
    ]
