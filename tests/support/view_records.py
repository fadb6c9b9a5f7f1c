"""Records as a worker writes them, and what a DuckDB view makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb

from schemas.codec import Envelope, dataschema, encode, headers
from schemas.records import ChangelogEntry, Config, Head, Kind, State, Status
from schemas.topics import Offset, Topic
from sinks.duckdb.rows import staged
from sinks.duckdb.schema import REMOVED_OF, TABLES
from sinks.duckdb.staged import Staged
from sinks.duckdb.view import DuckDBView
from sinks.sink import Batch, Reached, Sink, Vector
from streams.log import Headers, Outgoing, Record, TopicPartition
from tests.support.cuts import cut_at

NOW_MS = 1_700_000_100_000
CONFIG = Config("log-1", 1, 1)
TIME = 1_700_000_000  # 2023-11-14T22:13:20Z
HEAD = Head(99, 0, TIME, (0,))


def info(name: str, version: str = "1.0", **more: object) -> dict[str, Any]:
    """What a project document's `info` must have."""
    return {"name": name, "version": version, "summary": "a summary", "yanked": False, **more}


def file(filename: str, **more: object) -> dict[str, Any]:
    """A file object as the JSON API has it."""
    blake2b = (filename.encode().hex() + "0" * 64)[:64]
    place = f"{blake2b[:2]}/{blake2b[2:4]}/{blake2b[4:]}/{filename}"
    return {
        "core-metadata": False,
        "digests": {"sha256": "5" * 64, "blake2b_256": blake2b},
        "filename": filename,
        "packagetype": "bdist_wheel" if filename.endswith(".whl") else "sdist",
        "requires_python": ">=3.8",
        "size": 100,
        "upload_time_iso_8601": "2024-02-29T12:00:00.123456Z",
        "url": f"https://files.example.org/packages/{place}",
        "yanked": False,
        **more,
    }


def document(name: str, version: str = "1.0", **more: object) -> dict[str, Any]:
    """A trimmed project document."""
    files = [file(f"{name}-{version}.tar.gz")]
    whole = {"info": info(name, version), "last_serial": 7, "releases": {version: files}}
    return {**whole, "urls": files, "vulnerabilities": [], **more}


def slim(name: str, releases: dict[str, list[dict[str, Any]]], latest: str) -> dict[str, Any]:
    """The value of a `releases` record."""
    shown = {"name": name, "display_name": name, "serial": 7, "latest": latest}
    return {**shown, "releases": releases}


def envelope(topic: Topic, **more: Any) -> Headers:
    """Headers as the worker writes them."""
    fields: dict[str, Any] = {
        "id": "i",
        "type": f"pypistream.{topic.value}",
        "subject": "s",
        "time": TIME,
        "dataschema": dataschema(topic),
        **more,
    }
    return headers(Envelope(**fields))


DOCUMENT_HEADERS: dict[str, Any] = {
    "event_serial": 9,
    "serial": 7,
    "source": "json",
    "fetched_at": TIME + 0.5,
}


def metadata(name: str, value: object, **more: object) -> Outgoing:
    """A `metadata` record; bytes are taken as they are."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    given = {**DOCUMENT_HEADERS, **more}
    return Outgoing(Topic.METADATA, name, raw, envelope(Topic.METADATA, **given))


def releases(name: str, value: object, **more: object) -> Outgoing:
    """A `releases` record."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    given = {**DOCUMENT_HEADERS, **more}
    return Outgoing(Topic.RELEASES, name, raw, envelope(Topic.RELEASES, **given))


def gone(name: str, reason: str = "removed", topic: Topic = Topic.METADATA) -> Outgoing:
    """A tombstone."""
    return Outgoing(topic, name, None, envelope(topic, event_serial=11, reason=reason))


def state(name: str, status: Status = Status.OK, **more: Any) -> Outgoing:
    """A `state` record."""
    raw = encode(State(status, more.pop("event", 9), **{"body": 7, "name": name, **more}))
    return Outgoing(Topic.STATE, name, raw, envelope(Topic.STATE))


def entry(name: str, serial: int, action: str = "new release", **more: Any) -> Outgoing:
    """A `changelog` record."""
    raw = encode(ChangelogEntry(serial, name, "1.0", TIME, action, Kind.NEW_RELEASE))
    return Outgoing(Topic.CHANGELOG, name, raw, envelope(Topic.CHANGELOG, **more))


def read(outgoing: Iterable[Outgoing], first: int = 0) -> list[Record]:
    """As they are read back from partition 0 of an empty log, offsets rising per topic."""
    ends: dict[Topic, int] = {}
    records = []
    for each in outgoing:
        offset = ends.get(each.topic, first)
        ends[each.topic] = offset + 1
        place = (each.topic, each.partition or 0, Offset(offset))
        records.append(Record(*place, TIME * 1000, each.key, each.value, each.headers))
    return records


def positions(records: Sequence[Record]) -> dict[TopicPartition, Offset]:
    """Where a view stands after these records."""
    ends = {TopicPartition(topic, 0): Offset(0) for topic in DuckDBView.topics}
    for record in records:
        at = TopicPartition(record.topic, record.partition)
        ends[at] = Offset(max(ends[at], record.offset + 1))
    return ends


def take(view: Sink, records: Sequence[Record], config: Config = CONFIG) -> None:
    """Apply records as one batch."""
    view.apply(Batch(config, records, positions(records)))


def reach(view: Sink, serial: int = 50, config: Config = CONFIG) -> Vector:
    """Store a cut at which the view stands."""
    at = view.standing().positions
    place = {topic: at.get(TopicPartition(topic, 0), 0) for topic in view.topics}
    cut = cut_at(place, serial, TIME)
    vector = Vector(config.log_id, (cut,))
    view.reached(Reached(vector, config, HEAD))
    return vector


def query(path: Path, sql: str) -> list[dict[str, Any]]:
    """Rows of a file that nobody writes, by column name."""
    with duckdb.connect(str(path), read_only=True) as connection:
        cursor = connection.execute(sql)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def spoiling(name: str) -> Callable[..., Staged]:
    """What makes rows, in place of `sinks.duckdb.rows.staged`: DuckDB refuses those of `name`."""

    def spoilt(records: Sequence[Record], config: Config) -> Staged:
        batch = staged(records, config)
        for texts in (*batch.keyed.values(), *batch.lost.values()):
            texts.update({key: b"{" for key, text in texts.items() if key == name and text})
        return batch

    return spoilt


def tables(path: Path) -> dict[str, list[str]]:
    """Every row of every table of our own, in an order that is the rows' own.

    But for what is kept of removed projects: that depends on what a view has seen.
    """
    with duckdb.connect(str(path), read_only=True) as connection:
        return {
            table.name: sorted(
                repr(row) for row in connection.execute(f"FROM {table.path}").fetchall()
            )
            for table in TABLES
            if table not in REMOVED_OF.values()
        }


def live(root: Path) -> Path:
    """The file that the sink in this directory writes."""
    return root / "state" / "live.duckdb"


def published(view: DuckDBView, root: Path) -> Path:
    """Publish what it holds; the file for readers."""
    reach(view)
    view.publish(NOW_MS)
    return root / "pypi.duckdb"
