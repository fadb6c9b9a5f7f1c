"""The journal that comes with another instance's dump, as history of the log that loads it.

Its rows are `late`: workers, markers and the ordered feed skip them, and nothing is fetched for
them. Each is written once, even by a load that resumes after a kill, or into a log that has some
already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from producers.rows import carried_record
from schemas import codec
from schemas.records import ChangelogEntry, Head, History
from schemas.topics import Topic
from streams.log import Log, Outgoing
from streams.watching import up_to_now

READ_RECORDS_MAX = 2_000  # of one read of what is there already
PAGE_SERIALS = 65_536  # 8 KB: serials lie close together


class Journal(NamedTuple):
    """Every row in (since, reached] of the other instance's, in the order of the serials.

    With each row comes whether it was `late` in the other log, too.
    """

    rows: Iterable[tuple[ChangelogEntry, bool]]
    since: int
    reached: int

    def history(self, own: Head | None) -> History | None:
        """What is held then of what was before the log begins, offsets still to be filled in. Pure.

        `own`: the head that the log keeps, if it keeps one. None: nothing is to be taken in.
        """
        if own is None:
            return History(self.reached, (), self.since) if self.since < self.reached else None
        if own.history is None and self.since < own.base <= self.reached:
            return History(own.base, (), self.since)
        return None  # a gap between the two, or that is held already


class _Row(msgspec.Struct):
    serial: int


async def carried(log: Log, journal: Journal, upto: int) -> Iterator[Outgoing]:
    """The records for the journal's rows up to that serial that the log lacks.

    Blocks, since it reads files. Raises what reading the log and `journal.rows` raise.
    """
    known = await _held(log)

    def missing() -> Iterator[Outgoing]:
        for entry, late in journal.rows:
            if entry.serial <= upto and entry.serial not in known:
                record = carried_record(entry, late=late)
                if record is not None:
                    yield record

    return missing()


class _Serials:
    """A set of serials: a bit each, in pages, so that 40 000 000 take 5 MB."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def add(self, serial: int) -> None:
        page = self._pages.setdefault(serial // PAGE_SERIALS, bytearray(PAGE_SERIALS // 8))
        page[serial % PAGE_SERIALS // 8] |= 1 << serial % 8

    def __contains__(self, serial: int) -> bool:
        page = self._pages.get(serial // PAGE_SERIALS)
        return page is not None and bool(page[serial % PAGE_SERIALS // 8] >> serial % 8 & 1)


async def _held(log: Log) -> _Serials:
    """The serials of every row in the log; none in a new one."""
    found = _Serials()
    starts, ends = await log.starts(Topic.CHANGELOG), await log.ends(Topic.CHANGELOG)
    places = {at: place for at, place in starts.items() if place < ends[at]}
    if not places:
        return found
    reader = await log.reader(places)
    try:
        async for records in up_to_now(log, reader, places, READ_RECORDS_MAX):
            for record in records:
                if record.key is not None and record.value is not None:
                    found.add(codec.decode(record.value, _Row).serial)
            await asyncio.sleep(0)
    finally:
        await reader.close()
    return found
