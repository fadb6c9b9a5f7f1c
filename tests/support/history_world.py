"""A log that began in the middle of a journal, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from producers.changelog import ChangelogProducer, ProducerSettings
from producers.history import history_request
from schemas import codec
from schemas.errors import UpstreamUnavailable
from schemas.records import ChangelogEntry, Head
from schemas.topics import Topic
from streams.memory_log import MemoryLog
from streams.progress import read_progress
from tests.support.history import records_of
from tests.support.schema_check import ValidatingLog
from tests.support.scripted_upstream import ScriptedUpstream
from tests.support.virtual_time import WarpClock
from upstream.source import JournalPage

BASE = 300
POLL_SECONDS = 10.0


class PacedUpstream(ScriptedUpstream):
    """Notes when the journal was asked, and from where; `refuse`: calls from below that fail."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[float, int]] = []
        self.refuse = 0

    async def journal_since(self, serial: int) -> JournalPage:
        self.calls.append((asyncio.get_running_loop().time(), serial))
        if serial < self.refuse:
            raise UpstreamUnavailable("no such page today")
        return await super().journal_since(serial)


@dataclass
class World:
    """A log of several partitions that began at BASE, and a journal that reaches from 3 to 600."""

    partitions: int
    log: ValidatingLog = field(init=False)
    upstream: PacedUpstream = field(default_factory=PacedUpstream)
    clock: WarpClock = field(default_factory=WarpClock)

    def __post_init__(self) -> None:
        self.log = ValidatingLog(MemoryLog(self.partitions, now_ms=self.clock.now_ms))
        self.upstream.page_rows_max = 20
        for serial in range(3, 601, 3):
            self.upstream.row(serial, f"P.{serial % 7}", "new release", "1.0")

    async def producer(self) -> ChangelogProducer:
        settings = ProducerSettings(POLL_SECONDS, base=BASE)
        made = ChangelogProducer(self.log, self.upstream, self.clock, settings)
        await made.begin()
        return made

    async def ask(self) -> None:
        await self.log.append([history_request(self.log, self.clock.now_ms())])

    async def run(self, seconds: float) -> None:
        """A producer for so long, ended wherever it is."""
        made = await self.producer()
        task = asyncio.create_task(made.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.wait([task])
        await made.close()

    async def rows(self, *, late: bool) -> list[int]:
        """Serials in the order of the partitions."""
        records = await records_of(self.log, Topic.CHANGELOG)
        return [
            codec.decode(record.value or b"", ChangelogEntry).serial
            for record in records
            if record.key is not None and (record.header("late") == "true") is late
        ]

    async def head(self) -> Head:
        head = (await read_progress(self.log)).head
        assert head is not None
        return head
