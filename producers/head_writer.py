"""The holder of the `produce` id: writes what was read together with the new position."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TypeVar

from msgspec.structs import replace

from producers.founding import PRODUCE_ID, found
from schemas.errors import SerialJumped
from schemas.records import Config, Filter, Head, History
from schemas.topics import Topic
from streams.clock import Clock
from streams.log import Closing, Log, LogUnavailable, NextOffsets, Outgoing, TopicPartition, Writer
from streams.progress import HEAD_KEY, check_loaded, progress_record, read_progress

# Some 300 KB: far below every broker's limit; a commit is 13 ms whatever its size.
TRANSACTION_ROWS_MAX = 1_000
SERIAL_JUMP_MAX = 10_000_000  # two years of journal: a larger step means a wrong upstream

T = TypeVar("T")


class HeadWriter:
    """Holder of the `produce` id, and of the head as it is in the log.

    A write that fails or is cancelled leaves the writer in an unknown state: it cannot be used
    again, and the id has to be taken anew.
    """

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._writer: Writer | None = None
        self._turn = asyncio.Lock()  # a page and a sign of life may come at the same time
        self._spent = False
        self.known: Head | None = None  # None before the log has one

    @property
    def head(self) -> Head:
        """The position in the journal."""
        if self.known is None:
            raise AssertionError("begin() comes first")
        return self.known

    async def take(self) -> None:
        """Take the id and read the head. Raises Retriable, LogMismatch."""
        # Before the id is taken, which would end a load in progress.
        check_loaded((await read_progress(self._log)).bootstrap)
        self._writer, self._spent = await self._log.writer(PRODUCE_ID), False
        self.known = (await read_progress(self._log)).head

    async def found(
        self, now_ms: int, wanted: Filter | None, releases: str | None, leave_out: tuple[str, ...]
    ) -> Config:
        """See `producers.founding.found`."""
        return await found(self._log, self._held(), now_ms, wanted, releases, leave_out)

    async def start_at(self, base: int, now_ms: int) -> None:
        """Set the first head of a log: rows above `base` are to be read."""
        ends = await self._log.ends(Topic.CHANGELOG)
        offsets = tuple(ends[at] for at in sorted(ends))
        self.known = Head(base, base, now_ms // 1000, offsets)
        await self.write([progress_record(self._log.partitions, HEAD_KEY, self.known, now_ms)])

    def check_jump(self, newest: int) -> None:
        """Raises SerialJumped for a serial of upstream that is too far ahead of ours."""
        if newest - self.head.serial > SERIAL_JUMP_MAX:
            raise SerialJumped(
                f"upstream's next serial is {newest}, ours is {self.head.serial}: "
                f"a jump of more than {SERIAL_JUMP_MAX}",
                hint="check --upstream; for another upstream use a new --data directory",
            )

    async def commit(
        self, records: Sequence[Outgoing], head: Head, history: History | None = None
    ) -> None:
        """Write rows and the new position in one transaction. `history` None = no history.

        The offsets in `history` are those after this transaction. Raises as `write` does, with the
        head unchanged.
        """
        now_ms = self._clock.now_ms()

        def closing(ends: NextOffsets) -> list[Outgoing]:
            nonlocal head
            offsets = tuple(
                ends[TopicPartition(Topic.CHANGELOG, partition)]
                for partition in range(self._log.partitions)
            )
            head = replace(head, changelog=offsets)
            if history is not None:
                head = replace(head, history=replace(history, changelog=offsets))
            else:
                head = replace(head, time=now_ms // 1000)
            return [progress_record(self._log.partitions, HEAD_KEY, head, now_ms)]

        await self.write(records, closing)
        self.known = head

    async def write(self, records: Sequence[Outgoing], closing: Closing | None = None) -> None:
        """One transaction.

        Raises WriterFenced, LogUnavailable: then the writer cannot be used again.
        """
        async with self._turn:
            writer = self._held()
            if self._spent:
                raise LogUnavailable("the last write failed: the writer id has to be taken anew")
            self._spent = True
            await writer.commit(records, closing)
            self._spent = False

    async def close(self) -> None:
        """Give the id up."""
        if self._writer is not None:
            await self._writer.close()

    def _held(self) -> Writer:
        if self._writer is None:
            raise AssertionError("begin() comes first")
        return self._writer


def in_transactions(rows: Sequence[T]) -> Iterator[tuple[Sequence[T], bool]]:
    """The rows of one transaction after the other, and whether it is the last. Pure.

    If there are no rows it is one transaction without any.
    """
    starts = range(0, max(1, len(rows)), TRANSACTION_ROWS_MAX)
    for start in starts:
        yield rows[start : start + TRANSACTION_ROWS_MAX], start == starts[-1]
