"""XML-RPC methods on the journal: `changelog*`, `updated_releases`, `changed_packages`.

A row that is not held is never left out silently: what asks for rows from before this log's own
journal gets a fault that names the serial or the time from which it is whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from schemas.records import ChangelogEntry, Kind
from sinks.http.library import PAGE_MAX, Library, View
from sinks.http.xmlrpc.parameters import counted, flag, moment, whole
from sinks.http.xmlrpc.wire import APPLICATION_ERROR, Refusal, Value, array, item

ROWS_MAX = 50_000  # of one answer, as PyPI's: the next call goes on from its last serial
LOOKED_AT_MAX = 200_000  # rows for the two methods that give each name once: about two weeks


class JournalMethods:
    """The methods; each takes its parameters as they came."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def changelog_last_serial(self, given: Sequence[object]) -> Value:
        """Serial of the newest row that `changelog_since_serial` gives."""
        counted(given, 0, 0)
        return held(self._library).reached

    async def changelog_since_serial(self, given: Sequence[object]) -> Value:
        """[[name, version, time, action, serial], ...] above a serial, ascending."""
        since = whole(counted(given, 1, 1)[0], "since_serial")
        base = held(self._library).base
        if since < base:
            raise Refusal(
                APPLICATION_ERROR,
                f"ValueError: the journal held here begins after serial {base}; "
                "rows up to it have to be asked from where it comes from",
            )
        pages = [_rows(page) async for page in self._above(since, ROWS_MAX)]
        return array(pages)

    async def changelog(self, given: Sequence[object]) -> Value:
        """[[name, version, time, action], ...] after a time, with `with_ids` the serial, too."""
        since, with_ids = counted(given, 1, 2)
        after, whole_rows = moment(since, "since"), flag(with_ids, "with_ids")
        first = self._from(after)
        # Times of neighbouring rows are not always in order.
        pages, room = [], ROWS_MAX
        async for page in self._above(first, LOOKED_AT_MAX):
            later = [entry for entry in page if entry.time > after][:room]
            pages.append(_rows(later, whole=whole_rows))
            room -= len(later)
            if not room:
                break
        return array(pages)

    async def updated_releases(self, given: Sequence[object]) -> Value:
        """[[name, version], ...] of releases made after a time, the newest first."""
        after = moment(counted(given, 1, 1)[0], "since")
        return [
            [entry.name, entry.version]
            for entry in await self._since(after)
            if entry.kind is Kind.NEW_RELEASE
        ]

    async def changed_packages(self, given: Sequence[object]) -> Value:
        """Names that have a row after a time, the one changed last first."""
        after = moment(counted(given, 1, 1)[0], "since")
        return list(dict.fromkeys(e.name for e in await self._since(after)))

    async def _above(self, serial: int, most: int) -> AsyncIterator[Sequence[ChangelogEntry]]:
        while most > 0:
            page = self._library.changes(serial, min(PAGE_MAX, most))
            yield page
            if len(page) < min(PAGE_MAX, most):
                return
            most -= len(page)
            serial = page[-1].serial
            await asyncio.sleep(0)

    async def _since(self, after: int) -> list[ChangelogEntry]:
        """Rows after a time, the newest first."""
        first = self._from(after)
        found: list[ChangelogEntry] = []
        before, looked_at = held(self._library).reached + 1, 0
        while before > first + 1:
            page = self._library.recent(frozenset(), before, PAGE_MAX)
            found += [entry for entry in page if entry.time > after]
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
        return found

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


def _rows(page: Sequence[ChangelogEntry], *, whole: bool = True) -> str:
    fields = 5 if whole else 4
    rows = ([e.name, e.version, e.time, e.action, e.serial][:fields] for e in page)
    return "".join(map(item, rows))
