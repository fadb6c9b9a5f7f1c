"""The reverse of `sinks.dump.lines`: a dump's or delta's lines as records for another log. Pure.

The lines come from elsewhere: an invalid name, lines out of order, a document over the limit or an
invalid state are DumpCorrupt. The content of documents is not examined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import msgspec

from schemas.codec import NO_JSON, cloudevent, dataschema, encode
from schemas.errors import DumpCorrupt, InvalidName
from schemas.names import normalize
from schemas.records import SERIAL_MAX, State
from schemas.topics import COMPACTED, VALUE_BYTES_MAX, Topic
from sinks.dump.lines import name_of
from sinks.removed import HELD, Removed
from streams.log import Outgoing

Rows = dict[Topic, bytes]
"""The lines of one name, without their newlines."""

REMOVED = "removed"  # the reason of a tombstone if nothing more is known
_SCHEMAS = {topic: dataschema(topic) for topic in COMPACTED}
_TYPES = {topic: f"pypistream.{topic.value}" for topic in COMPACTED}
_STATE_NUMBERS = [field.name for field in msgspec.structs.fields(State) if field.type is int]
_TOPIC_KEY = b'","topic":"'


class _Package(msgspec.Struct):
    name: str
    serial: int | None
    event_serial: int | None
    stale: bool
    source: str | None
    fetched_at: str | None
    document: msgspec.Raw
    event_time: str | None = None
    anomalies: str | None = None


class _Releases(msgspec.Struct):
    name: str
    serial: int | None
    releases_omitted: int
    document: msgspec.Raw


class _Display(msgspec.Struct):
    name: str
    display_name: str = ""


class _Deleted(msgspec.Struct):
    name: str
    deleted: bool = False


_package = msgspec.json.Decoder(_Package)
_release = msgspec.json.Decoder(_Releases)
_state = msgspec.json.Decoder(State)
_display = msgspec.json.Decoder(_Display)
_deleted = msgspec.json.Decoder(_Deleted)


class Project(NamedTuple):
    """The records of one name: its documents (or tombstones) first, its state last.

    A worker's transaction has the same order: a state never promises what is not there.
    """

    name: str
    records: list[Outgoing]


def of_dump(
    packages: Iterable[bytes],
    releases: Iterable[bytes],
    states: Iterable[bytes],
    created: str,
    removed: Iterable[Removed] = (),
) -> Iterator[Project]:
    """The projects of a dump's three files, in name order. `created` is the dump's own.

    `removed`: what is known of removed projects, also in name order.
    """
    return _projects(
        _side_by_side((packages, releases, states)), _Made(created, _Gone(removed)), whole=True
    )


def of_delta(rows: Iterable[bytes], created: str) -> Iterator[Project]:
    """The projects of a delta's lines, in name order."""
    return _projects(_one_after_the_other(rows), _Made(created, _Gone(())), whole=False)


class _Gone:
    """Looks up what is known of a removed name. Names must be asked for in order."""

    def __init__(self, removed: Iterable[Removed]) -> None:
        self._rest = iter(removed)
        self._head = next(self._rest, None)

    def of(self, name: str, serial: int) -> Removed | None:
        """None = nothing is known, or only of a removal before that serial."""
        while self._head is not None and self._head.name < name:
            self._head = next(self._rest, None)
        found = self._head
        if found is None or found.name != name or (found.serial or 0) < serial:
            return None
        return found


class _Made(NamedTuple):
    """What applies to all lines: when the dump or delta was made, and what was removed."""

    created: str
    gone: _Gone


def _side_by_side(tables: Sequence[Iterable[bytes]]) -> Iterator[tuple[str, Rows]]:
    """The lines of each name, from three files in name order."""
    feeds = [_named(rows) for rows in tables]
    heads = [next(feed, None) for feed in feeds]
    while names := [head[0] for head in heads if head is not None]:
        name = min(names)
        rows: Rows = {}
        for place, topic in enumerate(COMPACTED):
            head = heads[place]
            if head is not None and head[0] == name:
                rows[topic] = head[1]
                heads[place] = next(feeds[place], None)
        yield name, rows


def _named(rows: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    for row in rows:
        yield _name(row), row


def _one_after_the_other(lines: Iterable[bytes]) -> Iterator[tuple[str, Rows]]:
    """The lines of each name, from one file whose lines have their topic."""
    for name, group in groupby(_named(lines), key=itemgetter(0)):
        rows: Rows = {}
        for _, row in group:
            topic = _topic(row)
            if topic in rows:
                raise DumpCorrupt(f"{name} is there twice in {topic}")
            rows[topic] = row
        yield name, rows


def _topic(row: bytes) -> Topic:
    _, _, rest = row.partition(_TOPIC_KEY)
    try:
        return COMPACTED[COMPACTED.index(Topic(rest[: rest.index(b'"')].decode()))]
    except ValueError as error:
        raise DumpCorrupt(f"a line of a delta has no topic: {row[:80]!r}") from error


def _name(row: bytes) -> str:
    try:
        name = name_of(row)
    except ValueError:
        name = ""
    if not _is_normal(name):
        raise DumpCorrupt(f"a line begins with no normalised name: {row[:80]!r}")
    return name


@lru_cache(maxsize=16)  # a name comes three times in a row, from each of the files
def _is_normal(name: str) -> bool:
    try:
        return normalize(name) == name
    except InvalidName:
        return False


def _projects(names: Iterable[tuple[str, Rows]], made: _Made, *, whole: bool) -> Iterator[Project]:
    last = ""
    for name, rows in names:
        if name <= last:
            raise DumpCorrupt(f"{name} is out of order, or there twice")
        last = name
        try:
            yield Project(name, _records(name, rows, made, whole=whole))
        except NO_JSON as error:
            raise DumpCorrupt(f"the lines of {name} cannot be read: {error}") from error


def _records(name: str, rows: Rows, of: _Made, *, whole: bool) -> list[Outgoing]:
    deleted = set() if whole else {topic for topic, row in rows.items() if _is_deleted(row)}
    lines = {topic: row for topic, row in rows.items() if topic not in deleted} if deleted else rows
    state = _state_of(lines.get(Topic.STATE))
    created, gone = of.created, None
    if whole and state is not None and state.gone and Topic.METADATA not in lines:
        gone = of.gone.of(name, state.gone)
        if gone is not None or state.body:
            # So a log that does not have the name learns that there was something.
            deleted.update({Topic.METADATA, Topic.RELEASES} - lines.keys())
    made = _documents(name, lines, state, created)
    for topic in (Topic.METADATA, Topic.RELEASES):
        if topic in deleted and gone is not None:
            made.append(_known_tombstone(topic, gone, created))
        elif topic in deleted:
            made.append(tombstone(topic, name, state, created))
    if Topic.STATE in deleted:
        made.append(tombstone(Topic.STATE, name, None, created))
    elif state is not None:
        headers = cloudevent(
            *(f"{name}:{state.event}:{state.attempts}", _TYPES[Topic.STATE], name, created),
            _SCHEMAS[Topic.STATE],
        )
        made.append(Outgoing(Topic.STATE, name, encode(state), tuple(headers)))
    return made


def _is_deleted(row: bytes) -> bool:
    return len(row) < _DELETED_BYTES_MAX and _deleted.decode(row).deleted


_DELETED_BYTES_MAX = 1_000  # such a line is little more than a name: documents need not be examined


def _documents(name: str, lines: Rows, state: State | None, created: str) -> list[Outgoing]:
    package = _package.decode(lines[Topic.METADATA]) if Topic.METADATA in lines else None
    release = _release.decode(lines[Topic.RELEASES]) if Topic.RELEASES in lines else None
    about = package
    if about is None and release is not None:
        about = _Package(*(name, release.serial, None, False, None, None, release.document))
    if about is None:
        return []
    # As the worker wrote them: see `processors.publication`. Both documents have the same id.
    known = state.hash if state is not None else ""
    identity = f"{about.name}:{about.event_serial}:{about.serial}:{known}"
    time = about.event_time or about.fetched_at or created
    ours = _ours(about, release.releases_omitted if release is not None else 0)
    made = []
    for topic, line in ((Topic.METADATA, package), (Topic.RELEASES, release)):
        if line is not None:
            value = bytes(line.document)
            if len(value) > VALUE_BYTES_MAX:
                raise DumpCorrupt(f"the document of {name} in {topic} has {len(value)} bytes")
            headers = cloudevent(identity, _TYPES[topic], about.name, time, _SCHEMAS[topic])
            made.append(Outgoing(topic, name, value, (*headers, *ours)))
    return made


def _ours(about: _Package, omitted: int) -> list[tuple[str, bytes]]:
    """The headers behind CloudEvents' own."""
    out = []
    if about.event_serial is not None:
        out.append(("event-serial", _serial(about.event_serial)))
    if about.serial is not None:
        out.append(("serial", _serial(about.serial)))
    if about.stale:
        out.append(("stale", b"true"))
    if about.source is not None:
        out.append(("source", about.source.encode()))
    if about.fetched_at is not None:
        out.append(("fetched-at", about.fetched_at.encode()))
    if omitted:
        out.append(("releases-omitted", _serial(omitted)))
    if about.anomalies:
        out.append(("anomalies", about.anomalies.encode()))
    return out


def _serial(number: int) -> bytes:
    if not 0 <= number <= SERIAL_MAX:
        raise DumpCorrupt(f"{number} is no serial")
    return b"%d" % number


def _state_of(row: bytes | None) -> State | None:
    if row is None:
        return None
    state = _state.decode(row)
    for field in _STATE_NUMBERS:
        number = getattr(state, field)
        if not 0 <= number <= SERIAL_MAX:
            raise DumpCorrupt(f"a state's `{field}` is {'negative' if number < 0 else 'too large'}")
    # There `name` is the key; the record's own `name` is the display name.
    return msgspec.structs.replace(state, name=_display.decode(row).display_name)


def tombstone(
    topic: Topic, name: str, state: State | None, created: str, reason: str = REMOVED
) -> Outgoing:
    """A tombstone with what state and dump tell, which does not include the time of the removal."""
    event = state.gone or state.event if state is not None else 0
    said = state.reason if state is not None and state.gone and state.reason else reason
    return _tombstone(topic, name, event, said, created)


def _known_tombstone(topic: Topic, gone: Removed, created: str) -> Outgoing:
    """A tombstone as the other instance has it, with what that had kept of the project."""
    held = gone.project if topic is Topic.METADATA else gone.files
    text = b"" if held is None else encode(held)
    more = [(HELD, text)] if text and len(text) <= VALUE_BYTES_MAX else []
    reason, time = gone.reason or REMOVED, gone.project.time or created
    return _tombstone(topic, gone.name, gone.serial or 0, reason, time, more)


def _tombstone(
    topic: Topic,
    name: str,
    event: int,
    reason: str,
    time: str,
    more: Sequence[tuple[str, bytes]] = (),
) -> Outgoing:
    headers = cloudevent(f"{name}:{event}:{reason}", _TYPES[topic], name, time, _SCHEMAS[topic])
    if event:
        headers.append(("event-serial", _serial(event)))
    return Outgoing(topic, name, None, (*headers, ("reason", reason.encode()), *more))
