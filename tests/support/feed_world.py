"""A log that workers write to by hand, and a sink that checks the port's rules at each call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from schemas.codec import encode
from schemas.records import Config, Cut, Head
from schemas.topics import Topic
from sinks.feed import Feed
from sinks.sink import Batch, Published, Reached, Standing, Vector, positions_of
from streams.log import Log, NextOffsets, Outgoing, TopicPartition, Writer
from streams.progress import CONFIG_KEY, CUT_KEY, HEAD_KEY
from tests.support import logs

COMPACTED_AND_JOURNAL = (Topic.METADATA, Topic.RELEASES, Topic.STATE, Topic.CHANGELOG)
DEADLINE_SECONDS = 60.0  # at once, but on a busy machine


class Clock(logs.Clock):
    """The same time for a log (called) and for a feed."""

    def now_ms(self) -> int:
        return self.ms


class MemorySink:
    """The port's rules, checked at each call, on dictionaries."""

    name = "memory"
    topics = COMPACTED_AND_JOURNAL

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], bytes] = {}
        self.journal: list[int] = []
        self.batches: list[int] = []
        self.at = Standing("", {})
        self.cut: Vector | None = None
        self.published_rows: list[tuple[Vector, dict[tuple[str, str], bytes]]] = []
        self.resets = 0
        self.closed = False
        self.fail_next: list[Exception] = []
        self._busy = threading.Lock()

    def _enter(self) -> None:
        if self.fail_next:
            raise self.fail_next.pop(0)

    def standing(self) -> Standing:
        return self.at

    def apply(self, batch: Batch) -> None:
        assert self._busy.acquire(blocking=False), "two calls at once"
        try:
            self._enter()
            for record in batch.records:
                at = TopicPartition(record.topic, record.partition)
                assert self.at.positions.get(at, 0) <= record.offset < batch.positions[at]
                assert record.key is not None
                if record.topic is Topic.CHANGELOG:
                    self.journal.append(record.offset)
                elif record.value is None:
                    self.rows.pop((record.topic, record.key), None)
                else:
                    self.rows[record.topic, record.key] = record.value
            self.at = Standing(batch.config.log_id, dict(batch.positions), batch.as_of_ms)
            self.cut = None
            self.batches.append(len(batch.records))
        finally:
            self._busy.release()

    def reached(self, at: Reached) -> None:
        self._enter()
        assert self.at.log_id == at.vector.log_id
        due = positions_of(at.vector, self.topics)
        assert due == {key: self.at.positions[key] for key in due}
        self.at = self.at._replace(as_of_ms=at.as_of_ms)
        self.cut = at.vector

    def publish(self, now_ms: int) -> Published:
        self._enter()
        assert self.cut is not None
        self.published_rows.append((self.cut, dict(self.rows)))
        return Published(Path("x"), 1, None)

    def published(self) -> Vector | None:
        return self.published_rows[-1][0] if self.published_rows else None

    def reset(self) -> None:
        self.resets += 1
        self.rows, self.journal, self.at = {}, [], Standing("", {})

    def close(self) -> None:
        self.closed = True


async def found(log: Log, log_id: str = "log-1") -> None:
    """Config and head, as `produce` writes them."""
    n = log.partitions
    config, head = Config(log_id, n, 1), Head(9, 0, 1, (0,) * n)
    await log.append(
        [
            Outgoing(Topic.PROGRESS, CONFIG_KEY, encode(config), partition=n),
            Outgoing(Topic.PROGRESS, HEAD_KEY, encode(head), partition=n),
        ]
    )


async def founded(log: Log) -> Log:
    """The log, founded."""
    await found(log)
    return log


async def work(log: Log, partition: int, records: Sequence[Outgoing], **claim: Any) -> None:
    """One worker transaction: records of one partition and the cut after them."""
    writer = await log.writer(f"worker-{partition}")
    await transact(writer, partition, records, **claim)
    await writer.close()


async def transact(
    writer: Writer, partition: int, records: Sequence[Outgoing], **claim: Any
) -> None:
    """The same by a writer that stays."""

    def closing(ends: NextOffsets) -> list[Outgoing]:
        def end(topic: Topic) -> int:
            return ends[TopicPartition(topic, partition)]

        places = {topic.value: end(topic) for topic in COMPACTED_AND_JOURNAL}
        cut = Cut(refetch=0, **{"serial": 5, **places, **claim})
        return [Outgoing(Topic.PROGRESS, CUT_KEY, encode(cut), partition=partition)]

    await writer.commit([each._replace(partition=partition) for each in records], closing)


async def until(condition: Any) -> None:
    """Wait for something another task does."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110  # nobody tells, so it has to be looked at
            await asyncio.sleep(0.01)


async def reached(feed: Feed, cuts: int) -> None:
    """Catch up until so many cuts were reached: a broker shows a commit when it sees fit."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await feed.finish() is None or feed.counters.cuts < cuts:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)


@asynccontextmanager
async def feeding(
    log: Log, sink: Any, clock: Clock, every: float = 60, **more: Any
) -> AsyncIterator[Feed]:
    """A feed that runs."""
    async with Feed(
        log, sink, clock, publish_every_seconds=every, apply_every_seconds=0.01, **more
    ) as feed:
        running = asyncio.create_task(feed.run())
        try:
            yield feed
            if running.done():
                running.result()
        finally:
            running.cancel()
            await asyncio.wait([running])
