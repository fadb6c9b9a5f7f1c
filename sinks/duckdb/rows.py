"""Turns records into the texts that the DuckDB view takes in: deletions, rows, additions. Pure.

Nothing in a record can stop a batch: one that cannot be read becomes a row in `unreadable`; a value
of the wrong type becomes NULL and is named in `anomalies`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

import msgspec

from schemas.codec import encode
from schemas.records import SERIAL_MAX, ChangelogEntry, Config, State
from schemas.topics import Topic
from sinks.dependencies import parse
from sinks.duckdb.documents import decoded
from sinks.duckdb.project_row import Labelled, ProjectRow, Role, Vulnerability
from sinks.duckdb.schema import (
    PROJECT,
    RELEASES,
    STATE,
    TOMBSTONE,
    UNREADABLE,
    Table,
)
from sinks.duckdb.staged import Staged
from sinks.release_rows import ReleaseRow, document_releases, packed, release_row
from sinks.removed import HELD, HeldFiles, HeldProject, held_of
from sinks.softly import Fields, moment, moment_of
from streams.log import Record

RELEASES_LATEST = "latest"  # `Config.releases` of a log without the topic `releases`

_state = msgspec.json.Decoder(State)
_entry = msgspec.json.Decoder(ChangelogEntry)


class StateRow(msgspec.Struct):
    """A row of `base.state`."""

    display_name: str | None
    status: str
    reason: str | None
    event_serial: int | None
    serial: int | None
    gone: int | None
    attempts: int
    first_attempt: str | None
    next_attempt: str | None
    settled: bool


class TombstoneRow(msgspec.Struct):
    """A row of `base.tombstone`."""

    reason: str | None
    serial: int | None
    time: str | None


class HeldFilesRow(msgspec.Struct):
    """What is kept of a row of `base.releases_of`, as another instance had it."""

    latest: str | None
    serial: int | None
    version: str | None
    filename: str | None
    sha256: str | None


class UnreadableRow(msgspec.Struct):
    """A row of `base.unreadable`."""

    topic: str
    name: str
    offset: int | None
    reason: str


class ChangelogRow(msgspec.Struct):
    """A row of `base.changelog`."""

    serial: int | None
    name: str
    display_name: str
    version: str | None
    time: str | None
    action: str
    kind: str
    source: str
    late: bool


_TABLES_OF = {
    Topic.METADATA: (PROJECT, TOMBSTONE),
    Topic.RELEASES: (RELEASES,),
    Topic.STATE: (STATE,),
}
_TOPIC_OF = {table: topic for topic, tables in _TABLES_OF.items() for table in tables}


def staged(records: Sequence[Record], config: Config) -> Staged:
    """The effect of these records, in their order. Never raises because of a record's content."""
    batch = Staged()
    for record in records:
        try:
            _take(batch, record, config)
        except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError) as error:
            _spoil(batch, record, f"unreadable: {error}")
    return batch


def _spoil(batch: Staged, record: Record, reason: str) -> None:
    """Note that the record cannot be read; it has no other effect."""
    name = record.key or ""
    note = UnreadableRow(record.topic.value, name, record.offset, reason)
    if record.topic is Topic.CHANGELOG:
        batch.put(UNREADABLE, f"{record.topic}:{record.partition}:{record.offset}", note)
        return
    for table in _TABLES_OF[record.topic]:
        batch.drop(table, name)
    batch.put(UNREADABLE, f"{record.topic}:{name}", note)


def refuse(batch: Staged, table: Table, key: str, reason: str) -> None:
    """Replace a row that cannot be stored by a note, which goes with the key's next record."""
    batch.drop(table, key)
    if table in _TOPIC_OF:
        topic = _TOPIC_OF[table]
        note = UnreadableRow(topic.value, key, None, f"unreadable: {reason}")
        batch.put(UNREADABLE, f"{topic}:{key}", note)


def refuse_entry(batch: Staged, name: str, text: bytes, reason: str) -> None:
    """The same of a row of the journal, whose note stays for ever, as the row would have."""
    note = UnreadableRow(Topic.CHANGELOG.value, name, None, f"unreadable: {reason}")
    batch.put(UNREADABLE, f"{Topic.CHANGELOG}:{sha256(text).hexdigest()}", note)


def _take(batch: Staged, record: Record, config: Config) -> None:
    if record.key is None:
        return  # a marker, which is for workers
    if record.topic is Topic.CHANGELOG:
        if record.value is not None:
            batch.added.append((record.key, encode(_changelog_row(record, record.value))))
        return
    batch.drop(UNREADABLE, f"{record.topic}:{record.key}")
    if record.value is None:
        _take_away(batch, record, record.key, config)
    elif record.topic is Topic.METADATA:
        document = decoded(record.value, files=config.releases == RELEASES_LATEST)
        row, releases = project_row(record, document, with_releases=config.releases)
        batch.hold(PROJECT, record.key, row)
        batch.drop(TOMBSTONE, record.key)
        if releases is not None:
            batch.hold(RELEASES, record.key, releases)
            batch.drop(UNREADABLE, f"{Topic.RELEASES}:{record.key}")
    elif record.topic is Topic.RELEASES:
        omitted = _whole(record.header("releases-omitted")) or 0
        batch.hold(RELEASES, record.key, release_row(record.value, omitted))
    elif record.topic is Topic.STATE:
        batch.put(STATE, record.key, _state_row(_state.decode(record.value)))


def _take_away(batch: Staged, record: Record, key: str, config: Config) -> None:
    if record.topic is Topic.STATE:
        batch.drop(STATE, key)
    elif record.topic is Topic.RELEASES:
        batch.lose(RELEASES, key, _held_files(held_of(record.header(HELD), HeldFiles)))
    else:
        held = held_of(record.header(HELD), HeldProject)
        batch.lose(PROJECT, key, held if held is not None and held.held else None)
        if config.releases == RELEASES_LATEST:
            batch.lose(RELEASES, key)
            batch.drop(UNREADABLE, f"{Topic.RELEASES}:{key}")
        batch.put(TOMBSTONE, key, _tombstone_row(record, held))


def project_row(
    record: Record, document: object, *, with_releases: str
) -> tuple[ProjectRow, ReleaseRow | None]:
    """The rows of a `metadata` record; the second only where no `releases` record will come."""
    notes = [each for each in (record.header("anomalies") or "").split(",") if each]
    whole = Fields(document, "", notes)
    info = whole.child("info")
    ownership = whole.child("ownership")
    version = info.raw("version")
    latest = version if isinstance(version, str) else None  # an empty version is one
    uploads = [each.time("upload_time_iso_8601") for each in whole.children("urls")]
    required = [parse(each) for each in info.texts("requires_dist") or []]
    row = ProjectRow(
        display_name=info.text("name") or record.key or "",
        version=latest,
        summary=info.text("summary"),
        author=info.text("author"),
        author_email=info.text("author_email"),
        maintainer=info.text("maintainer"),
        maintainer_email=info.text("maintainer_email"),
        license=info.text("license"),
        license_expression=info.text("license_expression"),
        license_files=info.texts("license_files"),
        home_page=info.text("home_page"),
        download_url=info.text("download_url"),
        docs_url=info.text("docs_url"),
        requires_python=info.text("requires_python"),
        keywords=_keywords(info),
        platform=info.text("platform"),
        description_content_type=info.text("description_content_type"),
        yanked=info.flag("yanked"),
        yanked_reason=info.text("yanked_reason"),
        provides_extra=info.texts("provides_extra"),
        dynamic=info.texts("dynamic"),
        organization=ownership.text("organization"),
        classifiers=info.texts("classifiers") or [],
        project_urls=_project_urls(info.child("project_urls")),
        requirement=[each.requirement for each in required],
        dependency=[each.dependency for each in required],
        specifier=[each.specifier for each in required],
        extras=[each.extras for each in required],
        marker=_said(each.marker for each in required),
        extra=_said(each.extra for each in required),
        dependency_url=_said(each.url for each in required),
        parse_error=_said(each.parse_error for each in required),
        vulnerabilities=[_vulnerability(each) for each in whole.children("vulnerabilities")],
        roles=[Role(each.text("role"), each.text("user")) for each in ownership.children("roles")],
        uploaded=min((each for each in uploads if each is not None), default=None),
        serial=_whole(record.header("serial")),
        event_serial=_whole(record.header("event-serial")),
        event_time=moment_of(record.header("ce_time")),
        stale=record.header("stale") == "true",
        source=record.header("source"),
        fetched_at=moment_of(record.header("fetched-at")),
        anomalies=notes,
    )
    if with_releases != RELEASES_LATEST:
        return row, None
    return row, document_releases(whole, latest, [])


def _said(values: Iterable[str | None]) -> list[str | None]:
    """An empty list if all are None: missing elements read as NULL beside longer lists."""
    found = list(values)
    return found if found.count(None) < len(found) else []


def _keywords(info: Fields) -> str | None:
    """The keywords as one text; some tools write a list."""
    if isinstance(info.raw("keywords"), list):
        return ",".join(info.texts("keywords") or []) or None
    return info.text("keywords")


def _project_urls(urls: Fields) -> list[Labelled]:
    found = ((label, urls.text(label)) for label, _ in urls.items())
    return [Labelled(label, url) for label, url in found if url is not None]


def _vulnerability(entry: Fields) -> Vulnerability:
    return Vulnerability(
        id=entry.text("id"),
        source=entry.text("source"),
        link=entry.text("link"),
        aliases=entry.texts("aliases"),
        summary=entry.text("summary"),
        details=entry.text("details"),
        fixed_in=entry.texts("fixed_in"),
        withdrawn=entry.time("withdrawn"),
    )


def _held_files(held: HeldFiles | None) -> HeldFilesRow | None:
    if held is None:
        return None
    texts = (packed(held.version), packed(held.filename), packed(held.sha256))
    return HeldFilesRow(held.latest, held.serial, *texts)


def _tombstone_row(record: Record, held: HeldProject | None) -> TombstoneRow:
    return TombstoneRow(
        reason=record.header("reason"),
        serial=_whole(record.header("event-serial")),
        time=moment_of(record.header("ce_time") if held is None else held.time),
    )


def _state_row(state: State) -> StateRow:
    return StateRow(
        display_name=state.name or state.event_name or None,
        status=state.status.value,
        reason=state.reason or None,
        event_serial=_bounded(state.event),
        serial=_bounded(state.body),
        gone=_bounded(state.gone),
        attempts=_bounded(state.attempts) or 0,
        first_attempt=_moment_of(state.first_ms),
        next_attempt=_moment_of(state.next_ms),
        settled=not state.exception,
    )


def _changelog_row(record: Record, value: bytes) -> ChangelogRow:
    entry = _entry.decode(value)
    return ChangelogRow(
        serial=_bounded(entry.serial),
        name=record.key or "",
        display_name=entry.name,
        version=entry.version,
        time=moment(entry.time),
        action=entry.action,
        kind=entry.kind.value,
        source=entry.source.value,
        # Only sinks read the rows of a dump's journal; the header tells that they came from one.
        late=record.header("late") == "true" and record.header("seen") != "true",
    )


def _moment_of(unix_ms: int) -> str | None:
    """A time of `state`, in which 0 means none."""
    return moment(unix_ms / 1000) if _bounded(unix_ms) else None


def _bounded(value: int) -> int | None:
    return value if 0 <= value <= SERIAL_MAX else None


def _whole(text: str | None) -> int | None:
    """A header that is a number."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > len(str(SERIAL_MAX)):
        return None
    return _bounded(int(text))
