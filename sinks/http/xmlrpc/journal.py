"""XML-RPC methods on the journal: `changelog*`, `updated_releases`, `changed_packages`.

A row that is not held is never left out silently: what asks for rows from before this log's own
journal gets a fault that names the serial or the time from which it is whole.

Who looks in every few minutes gets some rows, at once. What may be more than a page of the library
is a long answer, and leaves in pieces: a whole one has tens of megabytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import islice

from schemas.records import ChangelogEntry, Kind
from sinks.http.library import PAGE_MAX, Library, View
from sinks.http.xmlrpc.parameters import counted, flag, moment, whole
from sinks.http.xmlrpc.wire import (
    APPLICATION_ERROR,
    Refusal,
    Streamed,
    Value,
    array,
    item,
    streamed,
)

ROWS_MAX = 50_000  # of one answer, as PyPI's: the next call goes on from its last serial
LOOKED_AT_MAX = 200_000  # rows for the two methods that give each name once: about two weeks

Values = Callable[[Iterable[ChangelogEntry]], dict[object, Value]]
"""What rows have to say, by what makes it another thing."""


class JournalMethods:
    """The methods; each takes its parameters as they came."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def changelog_last_serial(self, given: Sequence[object]) -> Value:
        """Serial of the newest row that `changelog_since_serial` gives."""
        counted(given, 0, 0)
        return held(self._library).reached

    async def changelog_since_serial(self, given: Sequence[object]) -> Value | Streamed:
        """[[name, version, time, action, serial], ...] above a serial, ascending."""
        since = whole(counted(given, 1, 1)[0], "since_serial")
        base = held(self._library).base
        if since < base:
            raise Refusal(
                APPLICATION_ERROR,
                f"ValueError: the journal held here begins after serial {base}; "
                "rows up to it have to be asked from where it comes from",
            )
        page = self._library.changes(since, PAGE_MAX)
        if len(page) < PAGE_MAX:
            return array([_rows(page)])
        return streamed(_rows(page) async for page in self._above(since, ROWS_MAX))

    async def changelog(self, given: Sequence[object]) -> Value | Streamed:
        """[[name, version, time, action], ...] after a time, with `with_ids` the serial, too."""
        since, with_ids = counted(given, 1, 2)
        after, whole_rows = moment(since, "since"), flag(with_ids, "with_ids")
        first = self._from(after)
        page = self._library.changes(first, PAGE_MAX)
        if len(page) < PAGE_MAX:
            return array([_rows((e for e in page if e.time > after), whole=whole_rows)])
        return streamed(self._later(first, after, whole=whole_rows))

    async def updated_releases(self, given: Sequence[object]) -> Value | Streamed:
        """[[name, version], ...] of releases made after a time, the newest first."""
        after = moment(counted(given, 1, 1)[0], "since")
        return self._newest(after, _releases)

    async def changed_packages(self, given: Sequence[object]) -> Value | Streamed:
        """Names that have a row after a time, the one changed last first."""
        after = moment(counted(given, 1, 1)[0], "since")
        return self._newest(after, _names)

    async def _later(self, first: int, after: int, *, whole: bool) -> AsyncIterator[str]:
        """Rows above a serial and after a time: those of neighbours are not always in order."""
        room = ROWS_MAX
        async for page in self._above(first, LOOKED_AT_MAX):
            later = [entry for entry in page if entry.time > after][:room]
            yield _rows(later, whole=whole)
            room -= len(later)
            if not room:
                break

    async def _above(self, serial: int, most: int) -> AsyncIterator[Sequence[ChangelogEntry]]:
        while most > 0:
            page = self._library.changes(serial, min(PAGE_MAX, most))
            yield page
            if len(page) < min(PAGE_MAX, most):
                return
            most -= len(page)
            serial = page[-1].serial
            await asyncio.sleep(0)

    def _newest(self, after: int, values: Values) -> Value | Streamed:
        """What rows after a time have, the newest first and once each."""
        first = self._from(after)
        page = self._library.recent(frozenset(), held(self._library).reached + 1, PAGE_MAX)
        if len(page) < PAGE_MAX or page[-1].serial <= first + 1:
            return list(values(e for e in page if e.time > after).values())
        return streamed(self._newest_pieces(first, after, values))

    async def _newest_pieces(self, first: int, after: int, values: Values) -> AsyncIterator[str]:
        """All is looked at before anything is said: it may be too much, and then that is said."""
        found: dict[object, Value] = {}
        async for page in self._back(first):
            found.update(values(e for e in page if e.time > after))
        rest = iter(found.values())
        while few := list(islice(rest, PAGE_MAX)):
            yield "".join(map(item, few))
            await asyncio.sleep(0)

    async def _back(self, first: int) -> AsyncIterator[Sequence[ChangelogEntry]]:
        """Pages of the rows above a serial, the newest first. Refusal if there are too many."""
        before, looked_at = held(self._library).reached + 1, 0
        while before > first + 1:
            page = self._library.recent(frozenset(), before, PAGE_MAX)
            yield page
            if len(page) < PAGE_MAX:
                break
            before = page[-1].serial
            looked_at += len(page)
            if looked_at >= LOOKED_AT_MAX:
                raise Refusal(
                    APPLICATION_ERROR,
                    f"ValueError: more than {LOOKED_AT_MAX} rows since then; "
                    "ask changelog_since_serial for them",
                )
            await asyncio.sleep(0)

    def _from(self, after: int) -> int:
        """A serial that all rows after a time lie above. Refusal if some may not be held."""
        view = held(self._library)
        first = next(iter(self._library.changes(view.base, 1)), None)
        # The rows before the first one held are not later than it; without any, all that is known
        # is that none came until the journal was read last.
        begins = first.time if first else view.head.time if view.head else 0
        if view.base and after < begins:
            raise Refusal(
                APPLICATION_ERROR,
                f"ValueError: the journal held here is whole from Unix time {begins} on; "
                "what was before has to be asked from where it comes from",
            )
        return max(view.base, self._library.serial_at(after + 1))


def held(library: Library) -> View:
    """What is here. Refusal before anything is."""
    view = library.view()
    if view is None:
        raise Refusal(
            APPLICATION_ERROR, "RuntimeError: nothing can be served yet: it is reading the log"
        )
    return view


def _releases(rows: Iterable[ChangelogEntry]) -> dict[object, Value]:
    return {e.serial: (e.name, e.version) for e in rows if e.kind is Kind.NEW_RELEASE}


def _names(rows: Iterable[ChangelogEntry]) -> dict[object, Value]:
    return {e.name: e.name for e in rows}


def _rows(page: Iterable[ChangelogEntry], *, whole: bool = True) -> str:
    fields = 5 if whole else 4
    rows = ([e.name, e.version, e.time, e.action, e.serial][:fields] for e in page)
    return "".join(map(item, rows))
