"""Whether somebody holds the `produce` id: signs of life in `progress`, written by that id alone.

A broker's fencing lets the newest win: if a supervisor restarted the older one, the two would fence
each other for ever. So a process looks for another one before it begins, and again when it was
fenced. No clock of another machine is trusted: what counts is whether signs keep coming.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from schemas import codec
from schemas.errors import LogCorrupt
from schemas.records import Alive
from schemas.topics import Topic
from streams.log import Log, Outgoing, Reader, Record, TopicPartition
from streams.progress import progress_record

ALIVE_KEY = "alive"
SIGN_SECONDS = 2.0  # between two signs: one small transaction each
# Three signs missed. A successor waits this long, and everything until it holds the id has to fit
# into the 15 s for which a killed `produce` may block readers.
SILENT_SECONDS = 7.0
READ_RECORDS_MAX = 100  # there is one every few seconds


def sign_record(log: Log, sign: Alive, now_ms: int) -> Outgoing:
    """One sign of life."""
    of = f"{ALIVE_KEY}:{sign.holder}:{now_ms}"
    return progress_record(log.partitions, ALIVE_KEY, sign, now_ms, of=of)


async def other_holder(
    log: Log, own: str, has_ended: Callable[[Alive], bool], *, fenced: bool = False
) -> Alive | None:
    """The sign of another live holder; None if there is none for SILENT_SECONDS.

    It is None at once if there never was a sign, if the last one says that its holder has ended, or
    if `has_ended` knows that. A process that was `fenced` waits in any case: its successor may not
    have signed yet. Raises LogUnavailable.
    """
    at = TopicPartition(Topic.PROGRESS, log.partitions)
    table = await log.table(at)
    last = _sign(table.rows.get(ALIVE_KEY))
    if not fenced and (last is None or last.ended or has_ended(last)):
        return None
    reader = await log.reader({at: table.next_offset})
    try:
        sign = await _sign_of_another(reader, own)
    finally:
        await reader.close()
    return None if sign is None or sign.ended else sign


async def _sign_of_another(reader: Reader, own: str) -> Alive | None:
    loop = asyncio.get_running_loop()
    end = loop.time() + SILENT_SECONDS
    while (left := end - loop.time()) > 0:
        for record in await reader.read(READ_RECORDS_MAX, left):
            sign = _sign(record) if record.key == ALIVE_KEY else None
            if sign is not None and sign.holder != own:
                return sign
    return None


def _sign(record: Record | None) -> Alive | None:
    if record is None or record.value is None:
        return None
    try:
        return codec.decode(record.value, Alive)
    except LogCorrupt:
        return None  # what cannot be decoded is no sign of life
