"""The library on the serving view: one connection with one open read transaction, on the loop.

The transaction sees one cut; `renew` moves it to the cut just published, while nothing is written.
An open transaction keeps the WAL from shrinking, so `rest` ends it for a moment when the sink asks.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from schemas.codec import NO_JSON, decode
from schemas.compression import decompress
from schemas.errors import DumpCorrupt, LogCorrupt, ViewCorrupt
from schemas.names import NormalizedName
from schemas.records import ChangelogEntry, EventSource, Kind, State
from schemas.releases import SlimFile, SlimReleases
from sinks.http.library import (
    PAGE_MAX,
    Dependent,
    Document,
    GoneFile,
    Listed,
    Releases,
    Removed,
    UserRole,
    View,
)
from sinks.serving.cut import view_of
from sinks.serving.errors import view_errors
from sinks.serving.rows import slim_of, slim_of_document
from sinks.serving.schema import READER_CACHE_KIB, connect, is_empty, is_ours
from sinks.serving.view import SERVING_FILE

EXCEPTIONS_SORTED_MAX = 5_000  # for a page of them: 5 ms
RECENT_ROWS_MAX = 20_000  # journal rows searched for some kinds: 10 ms
SEARCH_ROWS_MAX = 5_000  # of a word's matches that are sorted
TIME_SLACK_SECONDS = 3_600  # a journal row's time is that of its transaction's begin

_DOCUMENT = (
    "SELECT body, serial, etag, stale FROM document WHERE id = (SELECT id FROM name WHERE name = ?)"
)
_LISTED = "n.name, n.display_name, n.version, n.summary, n.serial"
_CHANGE = "c.serial, c.display_name, c.version, c.time, c.action, c.kind, c.source"


class ServingLibrary:
    """See `sinks.http.library.Library`.

    `on_damage` is called with damage that a reader has found.
    """

    def __init__(self, state: Path, on_damage: Callable[[str], None] = lambda _: None) -> None:
        self.path = state / SERVING_FILE
        self._on_damage = on_damage
        self._connection: sqlite3.Connection | None = None
        self._file = 0
        self._view: View | None = None
        self._latest_only = False

    def renew(self) -> None:
        """Move to the cut at which the file stands; without one nothing changes.

        Raises ViewCorrupt, StorageFailed.
        """
        with self._errors():
            try:
                file = self.path.stat().st_ino
            except FileNotFoundError:
                return
            connection = self._connection
            if connection is None or file != self._file:
                connection = connect(self.path, cache_kib=READER_CACHE_KIB)
            elif connection.in_transaction:
                connection.execute("ROLLBACK")
            view = None
            if not is_empty(connection) and is_ours(connection):
                connection.execute("BEGIN")
                view = view_of(connection)
            if view is None:
                if connection is not self._connection:
                    connection.close()
                return
            if connection is not self._connection:
                self.close()
            self._connection, self._file, self._view = connection, file, view
            self._latest_only = view.config.releases == "latest"

    def rest(self) -> None:
        """End the transaction; the next `renew` begins a new one."""
        with self._errors():
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file. Never raises."""
        connection, self._connection, self._view = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def view(self) -> View | None:
        """What is here."""
        return self._view

    def document(self, name: NormalizedName) -> Document | None:
        """The published document."""
        if self._connection is None:
            return None
        try:
            row = self._connection.execute(_DOCUMENT, (name,)).fetchone()
        except sqlite3.Error:
            with self._errors():
                raise
        if row is None:
            return None
        body, serial, etag, stale = row
        return Document(body, serial, etag, stale != 0)

    def releases(self, name: NormalizedName) -> Releases | None:
        """All releases held."""
        rows = self._rows(
            "SELECT n.display_name, r.omitted, r.packed, r.body FROM name n"
            " JOIN releases r ON r.id = n.id WHERE n.name = ? AND n.serial NOT NULL",
            (name,),
        )
        try:
            if rows and not self._latest_only:
                [(_, omitted, packed, body)] = rows
                return Releases(slim_of(decompress(body) if packed else body), omitted, "all")
            document = self.document(name)
            if document is None:
                return None
            slim: SlimReleases = slim_of_document(name, document.serial, document.body)
        except DumpCorrupt as error:
            self._on_damage(f"{self.path}: releases of {name}: {error}")
            raise ViewCorrupt(f"{self.path}: {error}") from error
        except NO_JSON:
            return None
        return Releases(slim, 0, "latest")

    def gone_files(self, name: NormalizedName) -> Sequence[GoneFile]:
        """Files that were held and are removed."""
        rows = self._rows(
            "SELECT g.version, g.body FROM name n JOIN gone_file g ON g.id = n.id WHERE n.name = ?"
            " LIMIT ?",
            (name, PAGE_MAX),
        )
        return [GoneFile(version, self._decoded(body, SlimFile)) for version, body in rows]

    def state(self, name: NormalizedName) -> State | None:
        """The state of the name."""
        rows = self._rows(
            "SELECT s.body FROM name n JOIN state s ON s.id = n.id WHERE n.name = ?", (name,)
        )
        return self._decoded(rows[0][0], State) if rows else None

    def listed(self, name: NormalizedName) -> Listed | None:
        """The published project's line."""
        found = self._listed("n.name = ?", (name,), 1)
        return found[0] if found else None

    def projects(self, after: str = "", limit: int = PAGE_MAX) -> Sequence[Listed]:
        """Published projects ascending by name."""
        return self._listed("n.name > ?", (after,), limit)

    def search(self, words: Sequence[str], limit: int = PAGE_MAX) -> Sequence[Listed]:
        """Projects that have every one of the words."""
        quoted = ['"' + word.replace('"', '""') + '" *' for word in words if _has_letters(word)]
        if not quoted:
            return []
        found = self._rows(
            f"SELECT {_LISTED} FROM (SELECT rowid FROM words WHERE words MATCH ? LIMIT ?) w"  # noqa: S608
            " JOIN name n ON n.id = w.rowid WHERE n.serial NOT NULL"
            " ORDER BY n.name <> ?3, substr(n.name, 1, length(?3)) <> ?3, length(n.name), n.name"
            " LIMIT ?4",
            (" ".join(quoted), SEARCH_ROWS_MAX, "-".join(words).lower(), limit),
        )
        exact = self._listed("n.name = ?", ("-".join(words).lower(),), 1)
        lines = [*exact, *(line for line in map(_line, found) if line not in exact)]
        return lines[:limit]

    def dependents(
        self, name: NormalizedName, after: str = "", limit: int = PAGE_MAX
    ) -> Sequence[Dependent]:
        """Projects whose latest release depends on `name`."""
        rows = self._rows(
            "SELECT d.dependent, n.display_name, d.requirements, d.optional FROM dependency d"
            " JOIN name n ON n.name = d.dependent"
            " WHERE d.dependency = (SELECT id FROM name WHERE name = ?) AND d.dependent > ?"
            " ORDER BY d.dependent LIMIT ?",
            (name, after, limit),
        )
        return [
            Dependent(
                NormalizedName(dependent),
                display_name or dependent,
                tuple(self._decoded(requirements.encode(), list[str])),
                bool(optional),
            )
            for dependent, display_name, requirements, optional in rows
        ]

    def dependent_count(self, name: NormalizedName) -> int:
        """How many `dependents` there are in all."""
        [(count,)] = self._rows(
            "SELECT count(*) FROM dependency WHERE dependency ="
            " (SELECT id FROM name WHERE name = ?)",
            (name,),
        )
        return int(count)

    def projects_of(self, user: str, after: str = "", limit: int = PAGE_MAX) -> Sequence[UserRole]:
        """The projects a user has a role in."""
        rows = self._rows(
            "SELECT r.role, r.name, n.display_name FROM role r JOIN name n ON n.name = r.name"
            " WHERE r.user = ? AND r.name > ? ORDER BY r.name, r.role LIMIT ?",
            (user, after, limit),
        )
        return [UserRole(role, NormalizedName(name), shown or name) for role, name, shown in rows]

    def classified(
        self, classifiers: Sequence[str], after: str = "", limit: int = PAGE_MAX
    ) -> Sequence[Listed]:
        """Projects whose latest release has all of the classifiers."""
        if not classifiers:
            return self.projects(after, limit)
        numbers = []
        for text in dict.fromkeys(classifiers):
            rows = self._rows("SELECT id FROM classifier WHERE text = ?", (text,))
            if not rows:
                return []
            numbers.append(rows[0][0])
        others = " AND ".join(
            ["EXISTS (SELECT 1 FROM classified o WHERE o.classifier = ? AND o.name = c.name)"]
            * (len(numbers) - 1)
        )
        found = self._rows(
            f"SELECT {_LISTED} FROM classified c JOIN name n ON n.name = c.name"  # noqa: S608
            f" WHERE c.classifier = ? AND c.name > ? {others and 'AND'} {others}"
            " ORDER BY c.name LIMIT ?",
            (numbers[0], after, *numbers[1:], limit),
        )
        return [_line(row) for row in found]

    def changes(self, after_serial: int, limit: int = PAGE_MAX) -> Sequence[ChangelogEntry]:
        """Journal rows above `after_serial`, ascending."""
        reached = 0 if self._view is None else self._view.reached
        return self._changes(
            "changelog c WHERE c.serial > ? AND c.serial <= ? ORDER BY c.serial LIMIT ?",
            (after_serial, reached, limit),
        )

    def changes_of(
        self, name: NormalizedName, before_serial: int | None = None, limit: int = PAGE_MAX
    ) -> Sequence[ChangelogEntry]:
        """Journal rows of one name, the newest first."""
        return self._changes(
            "changelog c WHERE c.id = (SELECT id FROM name WHERE name = ?) AND c.serial < ?"
            " ORDER BY c.serial DESC LIMIT ?",
            (name, _below(before_serial), limit),
        )

    def recent(
        self, kinds: frozenset[Kind], before_serial: int | None = None, limit: int = PAGE_MAX
    ) -> Sequence[ChangelogEntry]:
        """The newest journal rows of these kinds."""
        if not kinds:
            return self._changes(
                "changelog c WHERE c.serial < ? ORDER BY c.serial DESC LIMIT ?",
                (_below(before_serial), limit),
            )
        marks = ", ".join("?" * len(kinds))
        newest = "(SELECT * FROM changelog WHERE serial < ? ORDER BY serial DESC LIMIT ?)"
        return self._changes(
            f"{newest} c WHERE c.kind IN ({marks}) ORDER BY c.serial DESC LIMIT ?",
            (_below(before_serial), RECENT_ROWS_MAX, *sorted(kinds), limit),
        )

    def serial_at(self, unix_seconds: int) -> int:
        """A binary search: times rise with serials, except for some seconds."""
        after = "SELECT serial, time FROM changelog WHERE serial >= ? ORDER BY serial LIMIT 1"
        low, high = 0, 0 if self._view is None else self._view.reached + 1
        while low < high:
            middle = (low + high) // 2
            rows = self._rows(after, (middle,))
            if not rows or rows[0][1] >= unix_seconds - TIME_SLACK_SECONDS:
                high = middle
            else:
                low = rows[0][0] + 1
        return low - 1 if low else 0

    def removed(self, before_serial: int | None = None, limit: int = PAGE_MAX) -> Sequence[Removed]:
        """Names of removed projects."""
        rows = self._rows(
            "SELECT n.name, n.display_name, t.reason, t.serial, t.time FROM tombstone t"
            " JOIN name n ON n.id = t.id WHERE t.serial < ? ORDER BY t.serial DESC, t.id LIMIT ?",
            (_below(before_serial), limit),
        )
        return [
            Removed(NormalizedName(name), shown or name, reason, serial, time)
            for name, shown, reason, serial, time in rows
        ]

    def exceptions(
        self, after: str = "", limit: int = PAGE_MAX
    ) -> Sequence[tuple[NormalizedName, State]]:
        """Names that the watermark does not cover."""
        # A few are read and sorted; among many the next ones by name are not far. Left to itself
        # SQLite goes by name, past all names of the index if there are none.
        few = self._view is not None and self._view.exceptions <= EXCEPTIONS_SORTED_MAX
        rows = self._rows(
            f"SELECT n.name, s.body FROM state s INDEXED BY exceptions {'CROSS ' * few}JOIN name n"  # noqa: S608
            " ON n.id = s.id WHERE s.exception AND n.name > ? ORDER BY n.name LIMIT ?",
            (after, limit),
        )
        return [(NormalizedName(name), self._decoded(body, State)) for name, body in rows]

    def _listed(self, where: str, values: Sequence[Any], limit: int) -> Sequence[Listed]:
        rows = self._rows(
            f"SELECT {_LISTED} FROM name n WHERE {where} AND n.serial NOT NULL"  # noqa: S608
            " ORDER BY n.name LIMIT ?",
            (*values, limit),
        )
        return [_line(row) for row in rows]

    def _changes(self, which: str, values: Sequence[Any]) -> Sequence[ChangelogEntry]:
        rows = self._rows(f"SELECT {_CHANGE} FROM {which}", values)  # noqa: S608
        return [_entry(*row) for row in rows]

    def _rows(self, sql: str, values: Sequence[Any]) -> list[Any]:
        if self._connection is None:
            return []
        with self._errors():
            return self._connection.execute(sql, values).fetchall()

    def _decoded(self, raw: bytes, kind: Any) -> Any:
        try:
            return decode(raw, kind)
        except LogCorrupt as error:
            self._on_damage(f"{self.path}: {error}")
            raise ViewCorrupt(f"{self.path}: {error}") from error

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with view_errors(self.path):
                yield
        except ViewCorrupt as error:
            self._on_damage(str(error))
            raise


def _line(row: Sequence[Any]) -> Listed:
    name, display_name, version, summary, serial = row
    return Listed(NormalizedName(name), display_name or name, version, summary, serial)


def _entry(
    serial: int, name: str, version: str | None, time: int, action: str, kind: str, source: str
) -> ChangelogEntry:
    return ChangelogEntry(serial, name, version, time, action, Kind(kind), EventSource(source))


def _below(serial: int | None) -> int:
    return 2**63 - 1 if serial is None else serial


def _has_letters(word: str) -> bool:
    return any(letter.isalnum() for letter in word)
