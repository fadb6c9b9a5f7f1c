"""Requests from one process to another through the log: plain records in `progress`."""

from __future__ import annotations

from typing import Self

import msgspec

from schemas import codec
from schemas.errors import LogCorrupt
from streams.log import Log, Record
from streams.progress import progress_record
from streams.watching import TableWatch, plain_place

REQUEST_KEY = "request"


class Request(msgspec.Struct, frozen=True):
    """Publish `sink` now; `time_ms` tells two requests apart."""

    sink: str
    time_ms: int


class RequestWatch:
    """Reads the requests that are made after its first look; used as `async with`."""

    def __init__(self, log: Log) -> None:
        self._watch = TableWatch(log, [plain_place(log)])
        self._looked = False
        self._seen: Request | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._watch.__aexit__(*raised)

    async def sinks(self, wait_seconds: float) -> set[str]:
        """The sinks that were asked for since the last look; waits at most so long for the first.

        Raises LogUnavailable; the next look returns what was asked meanwhile.
        """
        asked: set[str] = set()
        for record in await self._watch.look(wait_seconds if self._looked else 0.0):
            request = _request(record)
            if request is not None and request != self._seen:  # an error may repeat one
                self._seen = request
                asked.add(request.sink)
        heard, self._looked = self._looked, True
        return asked if heard else set()


def _request(record: Record) -> Request | None:
    """The request, None if it cannot be decoded: any process may write here."""
    if record.key != REQUEST_KEY or record.value is None:
        return None
    try:
        return codec.decode(record.value, Request)
    except LogCorrupt:
        return None


async def request(log: Log, sink: str, now_ms: int) -> None:
    """Ask the process that runs the sinks to publish."""
    partition, of = plain_place(log).partition, f"{REQUEST_KEY}:{sink}:{now_ms}"
    await log.append(
        [progress_record(partition, REQUEST_KEY, Request(sink, now_ms), now_ms, of=of)]
    )
