"""Writes records into the tables of the serving view, within the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections import Counter

import msgspec
import structlog

from schemas.codec import NO_JSON, encode
from schemas.compression import FRAME_BYTES_MAX, compress
from schemas.errors import LogCorrupt
from schemas.records import SERIAL_MAX, ChangelogEntry, State
from schemas.topics import Topic
from sinks.serving.gone import GoneFiles
from sinks.serving.rows import (
    Facts,
    Relations,
    etag_of,
    facts_of,
    pack_relations,
    unix_seconds,
    unpack_relations,
    whole_number,
)
from streams.log import Record

IDS_CACHED_MAX = 100_000  # 12 MB: of names that come again and again as dependencies
RELEASES_LEVEL = 3  # of zstd: releases are read one project at a time, and are most of the bytes
PACK_FROM_BYTES = 512  # what is shorter gains nothing

_state = msgspec.json.Decoder(State)
_entry = msgspec.json.Decoder(ChangelogEntry)
log_ = structlog.get_logger("sinks.serving")


class Counts(msgspec.Struct):
    """Numbers of rows, updated with every change: counting 886 000 rows takes a second."""

    projects: int = 0
    removed: int = 0
    exceptions: int = 0
    statuses: dict[str, int] = {}


class ServingWriter:
    """Applies records in their order; an unreadable one leaves nothing. Raises sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection, counts: Counts, keep_removed: str) -> None:
        self._run = connection.execute
        self._gone = GoneFiles(connection, keep_removed)
        self.counts = counts
        self._statuses: Counter[str] = Counter(counts.statuses)
        self._ids: dict[str, int] = {}

    def finished(self) -> Counts:
        """The counts as they are now."""
        statuses = {status: number for status, number in self._statuses.items() if number}
        return msgspec.structs.replace(self.counts, statuses=statuses)

    def take(self, record: Record) -> None:
        """Take one record in."""
        if record.key is None:
            return  # a marker, which is for workers
        if record.topic is Topic.CHANGELOG:
            self._changelog(record, record.key)
        elif record.topic is Topic.STATE:
            self._put_state(record, record.key)
        elif record.topic is Topic.RELEASES:
            self._put_releases(record, record.key)
        elif record.value is None:
            self._remove(record, record.key)
        else:
            self._publish(record, record.key, record.value)

    def _id(self, name: str) -> int:
        found = self._ids.get(name)
        if found is not None:
            return found
        row = self._run("SELECT id FROM name WHERE name = ?", (name,)).fetchone()
        if row is None:
            row = self._run("INSERT INTO name (name) VALUES (?) RETURNING id", (name,)).fetchone()
        if len(self._ids) >= IDS_CACHED_MAX:
            self._ids.clear()
        number: int = row[0]
        self._ids[name] = number
        return number

    def _publish(self, record: Record, name: str, body: bytes) -> None:
        number, facts = self._id(name), facts_of(name, body)
        serial = whole_number(record, "serial")
        row = (number, serial, etag_of(body, serial), record.header("stale") == "true", body)
        self._run("INSERT OR REPLACE INTO document VALUES (?, ?, ?, ?, ?)", row)
        self._list(number, name, serial, facts)
        self._relate(number, name, facts.relations)
        self.counts.removed -= self._run("DELETE FROM tombstone WHERE id = ?", (number,)).rowcount

    def _list(self, number: int, name: str, serial: int, facts: Facts) -> None:
        """The project's line in lists, and its words."""
        [(listed, old_name, old_summary)] = self._run(
            "SELECT serial, display_name, summary FROM name WHERE id = ?", (number,)
        ).fetchall()
        self._run(
            "UPDATE name SET serial = ?, display_name = ?, version = ?, summary = ? WHERE id = ?",
            (serial, facts.display_name, facts.version, facts.summary, number),
        )
        if listed is None:
            self.counts.projects += 1
        elif (old_name, old_summary) == (facts.display_name, facts.summary):
            return
        else:
            self._run("DELETE FROM words WHERE rowid = ?", (number,))
        self._run(
            "INSERT INTO words (rowid, name, summary) VALUES (?, ?, ?)",
            (number, name, facts.summary or ""),
        )

    def _relate(self, number: int, name: str, relations: Relations) -> None:
        """Replace the stored relations by the present ones; mostly they are the same."""
        packed = pack_relations(relations)
        row = self._run("SELECT packed FROM relations WHERE id = ?", (number,)).fetchone()
        if row is not None:
            if row[0] == packed:
                return
            self._unrelate(name, _unpacked(row[0]))
        self._run("INSERT OR REPLACE INTO relations VALUES (?, ?)", (number, packed))
        for need in relations.needs:
            lines = encode(need.requirements).decode()
            edge = (self._id(need.dependency), name, need.optional, lines)
            self._run("INSERT OR REPLACE INTO dependency VALUES (?, ?, ?, ?)", edge)
        for user, role in relations.roles:
            self._run("INSERT OR REPLACE INTO role VALUES (?, ?, ?)", (user, name, role))
        for text in relations.classifiers:
            edge_ = (self._classifier(text), name)
            self._run("INSERT OR REPLACE INTO classified VALUES (?, ?)", edge_)

    def _unrelate(self, name: str, relations: Relations) -> None:
        for need in relations.needs:
            self._run(
                "DELETE FROM dependency WHERE dependency = ? AND dependent = ?",
                (self._id(need.dependency), name),
            )
        for user, role in relations.roles:
            self._run(
                "DELETE FROM role WHERE user = ? AND name = ? AND role = ?", (user, name, role)
            )
        for text in relations.classifiers:
            self._run(
                "DELETE FROM classified WHERE classifier = ? AND name = ?",
                (self._classifier(text), name),
            )

    def _classifier(self, text: str) -> int:
        row = self._run("SELECT id FROM classifier WHERE text = ?", (text,)).fetchone()
        if row is None:
            insert = "INSERT INTO classifier (text) VALUES (?) RETURNING id"
            row = self._run(insert, (text,)).fetchone()
        return int(row[0])

    def _remove(self, record: Record, name: str) -> None:
        number = self._id(name)
        row = self._run("SELECT packed FROM relations WHERE id = ?", (number,)).fetchone()
        if row is not None:
            self._unrelate(name, _unpacked(row[0]))
        self._gone.replace(number, None)
        for table in ("relations", "releases"):
            self._run(f"DELETE FROM {table} WHERE id = ?", (number,))  # noqa: S608  names of ours
        if self._run("DELETE FROM document WHERE id = ?", (number,)).rowcount:
            self.counts.projects -= 1
            self._run("DELETE FROM words WHERE rowid = ?", (number,))
            # The display name stays: lists of removed projects show it.
            self._run(
                "UPDATE name SET serial = NULL, version = NULL, summary = NULL WHERE id = ?",
                (number,),
            )
        self.counts.removed -= self._run("DELETE FROM tombstone WHERE id = ?", (number,)).rowcount
        reason = record.header("reason") or "removed"
        serial = whole_number(record, "event-serial")
        row = (number, reason, serial, unix_seconds(record, "ce_time"))
        self._run("INSERT INTO tombstone VALUES (?, ?, ?, ?)", row)
        self.counts.removed += 1

    def _put_releases(self, record: Record, name: str) -> None:
        number, body = self._id(name), record.value
        self._gone.replace(number, body)
        if body is None:
            self._run("DELETE FROM releases WHERE id = ?", (number,))
            return
        packed = PACK_FROM_BYTES <= len(body) <= FRAME_BYTES_MAX
        row = (
            number,
            whole_number(record, "releases-omitted"),
            packed,
            compress(body, RELEASES_LEVEL) if packed else body,
        )
        self._run("INSERT OR REPLACE INTO releases VALUES (?, ?, ?, ?)", row)

    def _put_state(self, record: Record, name: str) -> None:
        number = self._id(name)
        old = self._run("SELECT status, exception FROM state WHERE id = ?", (number,)).fetchone()
        if old is not None:
            self._statuses[old[0]] -= 1
            self.counts.exceptions -= old[1]
            self._run("DELETE FROM state WHERE id = ?", (number,))
        if record.value is None:
            return
        try:
            state = _state.decode(record.value)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            log_.warning("a state cannot be read", name=name, error=str(error)[:200])
            return
        row = (number, state.status.value, state.exception, record.value)
        self._run("INSERT INTO state VALUES (?, ?, ?, ?)", row)
        self._statuses[state.status.value] += 1
        self.counts.exceptions += state.exception

    def _changelog(self, record: Record, name: str) -> None:
        if record.value is None:
            return
        try:
            entry = _entry.decode(record.value)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            log_.warning("a journal row cannot be read", name=name, error=str(error)[:200])
            return
        if not (0 <= entry.serial <= SERIAL_MAX and abs(entry.time) <= SERIAL_MAX):
            return
        row = (
            *(entry.serial, record.partition, record.offset, self._id(name), entry.name),
            *(entry.version, entry.time, entry.action, entry.kind.value, entry.source.value),
        )
        self._run("INSERT OR REPLACE INTO changelog VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def _unpacked(packed: bytes) -> Relations:
    try:
        return unpack_relations(packed)
    except NO_JSON as error:
        raise LogCorrupt(f"stored relations cannot be read: {error}") from error
