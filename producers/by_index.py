"""Writes PyPI's index into `changelog` once there is no journal: one look at a time."""

from __future__ import annotations

from producers.head_writer import HeadWriter, in_transactions
from producers.index_changes import Checks, change_record, changes_of, shown_by_index, vanished
from producers.markers import LastMarker
from producers.reconcile import made
from producers.rows import marker_records
from schemas.records import Config
from schemas.topics import Topic
from streams.clock import Clock
from streams.log import Log
from upstream.source import SerialMap, Upstream


class IndexFollower:
    """Call `look` repeatedly; it remembers the last index and what it has asked for."""

    def __init__(
        self, log: Log, upstream: Upstream, clock: Clock, writer: HeadWriter, marker: LastMarker
    ) -> None:
        self._log = log
        self._upstream = upstream
        self._clock = clock
        self._writer = writer
        self._marker = marker
        self._etag = ""  # of the index that was published last
        self._checks = Checks()

    async def look(self, config: Config) -> int:
        """Publish what the index shows and the log does not know, then a marker; the rows written.

        Removals become asks, for which the marker waits: see Marker. Raises what upstream and
        writes raise, and SerialJumped.
        """
        answer = await self._upstream.serial_map(self._etag)
        if not isinstance(answer, SerialMap):
            return 0
        count = await self._publish(answer, config)
        self._etag = answer.etag
        return count

    async def _publish(self, index: SerialMap, config: Config) -> int:
        writer = self._writer
        changes = await made(lambda: changes_of(index, writer.head), len(index.projects))
        writer.check_jump(changes[-1].serial if changes else 0)
        now_ms = self._clock.now_ms()
        await self._ask_for_vanished(index, config, now_ms)
        ends = await self._log.ends(Topic.REFETCH)
        reached = max(index.last_serial, writer.head.serial)
        for chunk, last in in_transactions(changes):
            records = [change_record(project, now_ms) for project in chunk]
            if last and self._marker.precedes(reached):
                asked = [ends[at] for at in sorted(ends)]
                records += marker_records(writer.head.base, reached, now_ms, asked)
            head = shown_by_index(writer.head, chunk, reached, last=last)
            if records or head.serial > writer.head.serial:
                await writer.commit(records, head)
        self._marker.written(reached, now_ms)
        return len(changes)

    async def _ask_for_vanished(self, index: SerialMap, config: Config, now_ms: int) -> None:
        gone = await vanished(self._log, config, index)
        for asks, _ in in_transactions(self._checks.new(gone, index.last_serial, now_ms)):
            if asks:
                await self._log.append(asks)
