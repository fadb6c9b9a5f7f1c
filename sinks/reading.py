"""Reads the log up to a cut, in bounded batches, with one reader that is kept between cuts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from schemas.topics import Offset
from sinks.sink import BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Positions
from streams.log import Log, LogUnavailable, Reader, Record, TopicPartition

AHEAD_BYTES_MAX = 32 * 1024 * 1024  # of records read beyond the cut, which belong to the next one
READ_WAIT_SECONDS = 0.5  # of one read; everything before a cut has been committed
STALL_SECONDS = 30.0  # without progress towards a cut, although its records are committed


class Piece(NamedTuple):
    """Some records before the cut, and the positions after them."""

    records: list[Record]
    positions: Positions


class CutReader:
    """Returns what lies between positions and a cut. Not for use by several tasks at once."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._reader: Reader | None = None
        self._ahead: dict[TopicPartition, deque[Record]] = {}
        self._ahead_bytes = 0
        self._given: dict[TopicPartition, Offset] = {}  # everything up to here was returned

    async def piece(
        self, due: Positions, positions: Positions, records_max: int = BATCH_RECORDS_MAX
    ) -> Piece | None:
        """The next piece before `due`; None if `positions` is there.

        Raises LogTruncated, LogCorrupt, LogUnavailable; after `close` it starts again.
        """
        needy = {at for at, place in due.items() if positions[at] < place}
        if not needy:
            return None
        if any(self._given.get(at) != positions[at] for at in needy):
            await self._open({at: positions[at] for at in due})
        most = min(records_max, BATCH_RECORDS_MAX)
        loop = asyncio.get_running_loop()
        patience = loop.time() + STALL_SECONDS
        while True:
            piece = self._take(due, positions, needy, most)
            if piece is not None:
                return piece
            if self._ahead_bytes > AHEAD_BYTES_MAX:  # the other partitions have enough read ahead
                await self._open({at: positions[at] for at in needy})
            if await self._read(most):
                patience = loop.time() + STALL_SECONDS
            elif loop.time() > patience:
                raise LogUnavailable("records that a cut names do not arrive")

    async def close(self) -> None:
        """Forget everything read ahead."""
        reader, self._reader = self._reader, None
        self._ahead, self._ahead_bytes, self._given = {}, 0, {}
        if reader is not None:
            await reader.close()

    async def _open(self, positions: Mapping[TopicPartition, Offset]) -> None:
        await self.close()
        self._reader = await self._log.reader(positions)
        self._given = dict(positions)
        self._ahead = {at: deque() for at in positions}

    async def _read(self, records_max: int) -> bool:
        """Read on; False if nothing came and no position moved."""
        assert self._reader is not None
        before = [self._reader.position(at) for at in self._ahead]
        for record in await self._reader.read(records_max, READ_WAIT_SECONDS):
            self._ahead[TopicPartition(record.topic, record.partition)].append(record)
            self._ahead_bytes += _bytes(record)
        return before != [self._reader.position(at) for at in self._ahead]

    def _take(
        self,
        due: Positions,
        positions: Positions,
        needy: set[TopicPartition],
        records_max: int,
    ) -> Piece | None:
        """What was read already, as far as it fits; None if nothing was and no position moves."""
        assert self._reader is not None
        taken: list[Record] = []
        after = dict(positions)
        room = BATCH_BYTES_MAX
        for at in needy:
            rows = self._ahead[at]
            while rows and rows[0].offset < due[at] and room > 0 and len(taken) < records_max:
                record = rows.popleft()
                room -= _bytes(record)
                taken.append(record)
                after[at] = Offset(record.offset + 1)
            beyond = rows[0].offset if rows else self._reader.position(at)
            if beyond >= due[at]:
                after[at] = due[at]
            self._given[at] = after[at]
        self._ahead_bytes -= BATCH_BYTES_MAX - room
        return None if after == positions else Piece(taken, after)


def _bytes(record: Record) -> int:
    return len(record.value or b"")
