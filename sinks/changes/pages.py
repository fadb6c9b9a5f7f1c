"""Pages of the changes feed: the next changes after a serial, or the newest ones up to one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple

from schemas.records import Head
from sinks.changes.feed import ChangesReader, Place
from sinks.changes.order import Change
from streams.log import Log

SCANNED_MAX = 20_000  # rows read for one page: the cost of a filter that matches nothing
FIRST_LOOK_FACTOR = 2  # serials looked at first for each change wanted: most serials are a row
RECENT_MAX = 5_000  # changes held in memory: three hours of upstream, 3 MB
BACKWARDS_FACTOR = 4  # factor by which each further look backwards grows

Wanted = Callable[[Change], bool]


class Page(NamedTuple):
    """All wanted changes in (`after`, `through`], ascending; it never ends within a serial."""

    changes: list[Change]
    after: int
    through: int


async def page_after(log: Log, head: Head, since: int, limit: int, wanted: Wanted) -> Page:
    """The first wanted changes above `since`: `limit` of them, or fewer if not enough are near.

    Raises LogCorrupt, LogUnavailable.
    """
    found: list[Change] = []
    scanned = 0
    async with (
        ChangesReader(log, head, Place(since)) as reader,
        aclosing(reader.up_to(head)) as pieces,
    ):
        async for changes in pieces:
            for change in changes:
                scanned += 1
                if wanted(change):
                    found.append(change)
                full = len(found) >= limit or scanned >= SCANNED_MAX
                if full and change.last:
                    return Page(found, since, change.serial)
        return Page(found, since, max(since, reader.serial))


async def page_before(log: Log, head: Head, through: int, limit: int, wanted: Wanted) -> Page:
    """The last wanted changes up to `through`, as `page_after` counts them."""
    through = min(through, head.serial)
    span = limit * FIRST_LOOK_FACTOR
    while True:
        after = max(through - span, min(head.base, through))
        page, scanned = await _between(log, head, after, through, wanted)
        if len(page.changes) > limit:
            return _last_of(page, limit)
        if len(page.changes) == limit or after <= head.base or scanned >= SCANNED_MAX:
            return page
        span *= BACKWARDS_FACTOR


async def page_between(log: Log, head: Head, after: int, through: int, wanted: Wanted) -> Page:
    """All wanted changes in (`after`, `through`], however many those are."""
    return (await _between(log, head, after, through, wanted))[0]


async def _between(
    log: Log, head: Head, after: int, through: int, wanted: Wanted
) -> tuple[Page, int]:
    found: list[Change] = []
    scanned = 0
    async with (
        ChangesReader(log, head, Place(after)) as reader,
        aclosing(reader.up_to(head)) as pieces,
    ):
        async for changes in pieces:
            for change in changes:
                if change.serial <= through:
                    scanned += 1
                    if wanted(change):
                        found.append(change)
            if reader.serial >= through:
                break
    return Page(found, after, through), scanned


def _last_of(page: Page, limit: int) -> Page:
    """The last `limit` changes, and those before them that share a serial with the first."""
    first = len(page.changes) - limit
    while first and not page.changes[first - 1].last:
        first -= 1
    kept = page.changes[first:]
    return page._replace(changes=kept, after=kept[0].serial - 1)


class Recent:
    """The newest changes, in memory, since frequent requests are for these."""

    def __init__(self, floor: int) -> None:
        self.through = floor
        self._floor = floor
        self._changes: deque[Change] = deque()

    def add(self, changes: Sequence[Change], through: int) -> None:
        """What came next."""
        self._changes.extend(changes)
        self.through = through
        while len(self._changes) > RECENT_MAX:
            self._floor = self._changes.popleft().serial

    def after(self, since: int, limit: int, wanted: Wanted) -> Page | None:
        """The result of `page_after`; None if the log has to be read."""
        if since < self._floor:
            return None
        found: list[Change] = []
        for change in self._changes:
            if change.serial > since and wanted(change):
                found.append(change)
            if len(found) >= limit and change.last:
                return Page(found, since, change.serial)
        return Page(found, since, max(since, self.through))

    def before(self, through: int, limit: int, wanted: Wanted) -> Page | None:
        """The result of `page_before`; None if the log has to be read."""
        if through > self.through:
            return None
        found = [each for each in self._changes if each.serial <= through and wanted(each)]
        page = Page(found, self._floor, through)
        return _last_of(page, limit) if len(found) > limit else None
