"""The worker of one partition: entries and asks in, latest metadata out.

One loop decides, one transaction at a time writes. Entries, timers and replies are its inputs:
readers fill the agenda, fetches fill a queue, and `_commit` turns what was decided within
GATHER_SECONDS into one transaction of metadata, releases, state, dead letters and the cut.
Any error ends the worker: the writer id is taken anew and everything is read again from `progress`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from processors import publication
from processors.agenda import Agenda, Work
from processors.decide import Attempt, Effect, Failure, Failed, Patience, decide
from processors.fetching import Outcome, Weather, fetch
from processors.marks import Marks
from processors.publication import Answered
from processors.slots import Slots
from streams.states import States
from schemas import codec
from schemas.errors import InvalidName, LogTruncated
from schemas.filters import kept
from schemas.names import NormalizedName, normalize
from schemas.records import (
    Ask,
    BackfillMarker,
    ChangelogEntry,
    Config,
    Cut,
    Filter,
    Marker,
    State,
)
from schemas.topics import Offset, Topic
from streams.clock import Clock
from streams.log import Log, NextOffsets, Outgoing, Reader, Record, TopicPartition, Writer
from upstream.source import Upstream

GATHER_SECONDS = 0.05  # what is decided within this goes into one transaction (13 ms each on Kafka)
RECORDS_MAX = 1_000  # of one transaction
BYTES_MAX = 32 * 1024 * 1024  # of one transaction, and of answers that wait for one
READ_RECORDS_MAX = 500  # of one read; the window is the real bound
READ_WAIT_SECONDS = 1.0  # how long one read waits for records
PROGRESS_SECONDS = 1.0  # a position that moved without any effect is stored this often
PROGRESS_KEY = "p"


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker needs to know. `partition` of `config.partitions`; times in seconds."""

    partition: int
    config: Config
    settle_seconds: float = 3.0
    patience: Patience = Patience()


@dataclass
class Counters:
    """What a worker did since it started, for people to look at."""

    fetched: int = 0
    published: int = 0
    failed: int = 0
    committed: int = 0
    entries: int = 0


@dataclass
class Worker:
    """See the module's text. `run` until cancelled or until an error that is not its own to handle."""

    log: Log
    upstream: Upstream
    slots: Slots
    clock: Clock
    settings: WorkerSettings
    counters: Counters = field(default_factory=Counters)
    agenda: Agenda | None = None  # for status displays; None until the first run has read its state
    cut: Cut | None = None

    async def run(self) -> None:
        """Take the writer id, read progress and state, then go on from there."""
        session = await _Session.begin(self)
        try:
            await session.run()
        finally:
            await session.close()


class _Session:
    """One life of a worker, from taking the id to the first error."""

    def __init__(
        self, worker: Worker, writer: Writer, agenda: Agenda, marks: Marks, ends: Mapping[Topic, int]
    ) -> None:
        self._worker = worker
        self._writer = writer
        self._agenda = agenda
        self._marks = marks
        self._ends = dict(ends)  # next offset of the compacted topics, as of the last transaction
        self._weather = Weather()
        self._outcomes: list[Outcome] = []
        self._outcome_bytes = 0
        self._settled: dict[NormalizedName, State] = {}  # by a map, without a fetch
        self._changed = asyncio.Event()  # wakes the dispatcher
        self._decided = asyncio.Event()  # wakes the committer
        self._drained = asyncio.Event()  # wakes fetches that wait for room
        self._readers: list[Reader] = []

    @classmethod
    async def begin(cls, worker: Worker) -> _Session:
        """InitProducerId first: only then is what we read all there ever was."""
        partition = worker.settings.partition
        writer = await worker.log.writer(f"worker-{partition}")
        progress = await worker.log.table(TopicPartition(Topic.PROGRESS, partition))
        row = progress.rows.get(PROGRESS_KEY)
        cut = codec.decode(row.value, Cut) if row is not None and row.value is not None else None
        table = await worker.log.table(TopicPartition(Topic.STATE, partition))
        positions = {
            Topic.CHANGELOG: Offset(cut.changelog if cut else 0),
            Topic.REFETCH: Offset(cut.refetch if cut else 0),
        }
        agenda = Agenda(
            States(table.rows),
            positions,
            settle_ms=int(worker.settings.settle_seconds * 1000),
            slots=worker.slots.capacity,
        )
        marks = Marks(cut, worker.settings.config.filter)
        ends = {
            topic: (await worker.log.ends(topic))[TopicPartition(topic, partition)]
            for topic in (Topic.METADATA, Topic.RELEASES, Topic.STATE)
        }
        worker.agenda, worker.cut = agenda, cut
        return cls(worker, writer, agenda, marks, ends)

    async def run(self) -> None:
        self._worker.slots.on_free(self._changed.set)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(Topic.CHANGELOG))
            tasks.create_task(self._read(Topic.REFETCH))
            tasks.create_task(self._dispatch(tasks))
            tasks.create_task(self._commit_forever())

    async def close(self) -> None:
        for reader in self._readers:
            await reader.close()
        await self._writer.close()

    # --- reading --------------------------------------------------------------------------------

    async def _reader(self, at: TopicPartition) -> Reader:
        position = self._agenda.positions[at.topic].decided
        try:
            reader = await self._worker.log.reader({at: position})
        except LogTruncated:
            if at.topic is Topic.CHANGELOG:
                raise  # events were lost: a new bootstrap, not a guess
            # Old asks are gone by retention: a backfill that owed them proves nothing any more.
            self._marks.void_backfill()
            start = (await self._worker.log.starts(at.topic))[at]
            self._agenda.positions[at.topic].read_to = start
            reader = await self._worker.log.reader({at: start})
        self._readers.append(reader)
        return reader

    async def _read(self, topic: Topic) -> None:
        at = TopicPartition(topic, self._worker.settings.partition)
        reader = await self._reader(at)
        position = self._agenda.positions[topic]
        take = self._take_changelog if topic is Topic.CHANGELOG else self._take_refetch
        while True:
            room = self._agenda.room(topic)
            if room == 0:
                await self._room_again(topic)
                continue
            records = await reader.read(min(room, READ_RECORDS_MAX), READ_WAIT_SECONDS)
            for record in records:
                take(record)
            position.read_to = reader.position(at)
            if records:
                self._changed.set()
                self._decided.set()

    async def _room_again(self, topic: Topic) -> None:
        while self._agenda.room(topic) == 0:
            self._decided.set()
            self._drained.clear()
            await self._drained.wait()

    def _take_changelog(self, record: Record) -> None:
        if record.key is None:
            if record.value is not None and record.header("ce_type") == codec.MARKER_TYPE:
                self._marks.marker(record.offset, codec.decode(record.value, Marker))
            return
        if record.value is None or record.header("late") == "true":
            return
        entry = codec.decode(record.value, ChangelogEntry)
        self._worker.counters.entries += 1
        if name := self._ours(record.key):
            self._agenda.take_entry(record.offset, name, entry, self._worker.clock.now_ms())

    def _take_refetch(self, record: Record) -> None:
        if record.value is None:
            return
        if record.key is None:
            if record.header("ce_type") == codec.BACKFILL_TYPE:
                self._marks.backfill(record.offset, codec.decode(record.value, BackfillMarker))
            return
        ask = codec.decode(record.value, Ask)
        if name := self._ours(record.key):
            settled = self._agenda.take_ask(record.offset, name, ask, self._worker.clock.now_ms())
            if settled is not None:
                self._settled[name] = settled

    def _ours(self, key: str) -> NormalizedName | None:
        """The key as a name, if it is one and the filter lets it through."""
        try:
            name = normalize(key)
        except InvalidName:
            return None  # several writers are allowed on `refetch`: what is no name owes nothing
        return name if kept(name, self._worker.settings.config.filter) else None

    # --- fetching -------------------------------------------------------------------------------

    async def _dispatch(self, tasks: asyncio.TaskGroup) -> None:
        slots, clock = self._worker.slots, self._worker.clock
        while True:
            lanes = slots.lanes()
            due_ms = self._agenda.next_due_ms(lanes) if lanes else None
            if due_ms is None or due_ms > clock.now_ms():
                await self._wait_until(due_ms)
                continue
            await self._worker.upstream.permit()
            # Only now choose: something more urgent may have come while we waited for the permit.
            work = self._agenda.next_work(clock.now_ms(), slots.lanes())
            if work is not None:
                slots.take()
                tasks.create_task(self._fetch(work))

    async def _wait_until(self, due_ms: int | None) -> None:
        self._changed.clear()
        wait = None if due_ms is None else max(0.0, (due_ms - self._worker.clock.now_ms()) / 1000)
        try:
            async with asyncio.timeout(wait):
                await self._changed.wait()
        except TimeoutError:
            pass  # it is due now

    async def _fetch(self, work: Work) -> None:
        try:
            all_releases = self._worker.settings.config.releases == "all"
            outcome = await fetch(self._worker.upstream, work, all_releases=all_releases)
        finally:
            self._worker.slots.give()
        now_ms = self._worker.clock.now_ms()
        if outcome is None:
            self._agenda.unanswered(work.name, now_ms)
            self._changed.set()
            return
        self._worker.counters.fetched += 1
        self._observe(outcome, now_ms)
        while self._outcome_bytes > BYTES_MAX:
            self._drained.clear()
            await self._drained.wait()
        self._outcomes.append(outcome)
        self._outcome_bytes += outcome.size
        self._decided.set()

    def _observe(self, outcome: Outcome, now_ms: int) -> None:
        reply = outcome.reply
        if isinstance(reply, Failed):
            self._worker.counters.failed += 1
            if reply.reason.startswith(Failure.TRANSPORT):
                self._weather.failed()
                return
        if self._weather.answered() and self._agenda.outage_over(now_ms):
            self._changed.set()

    # --- committing -----------------------------------------------------------------------------

    async def _commit_forever(self) -> None:
        while True:
            await self._something_decided()
            if self._outcomes and len(self._outcomes) < RECORDS_MAX:
                await asyncio.sleep(GATHER_SECONDS)
            records = self._decide_batch()
            cut = self._cut()
            if records or cut != self._worker.cut:
                await self._commit(records, cut)
            self._drained.set()
            self._changed.set()

    async def _something_decided(self) -> None:
        self._decided.clear()
        if self._outcomes or self._settled:
            return
        overdue_ms = self._agenda.next_overdue_ms()
        wait = PROGRESS_SECONDS
        if overdue_ms is not None:
            wait = min(wait, max(0.0, (overdue_ms - self._worker.clock.now_ms()) / 1000))
        if self._agenda.overdue(self._worker.clock.now_ms()):
            return
        try:
            async with asyncio.timeout(wait):
                await self._decided.wait()
        except TimeoutError:
            pass  # time to look for overdue entries and positions that moved

    def _decide_batch(self) -> list[Outgoing]:
        """Everything that can be written now, within the bounds of one transaction."""
        now_ms = self._worker.clock.now_ms()
        records: list[Outgoing] = []
        states: dict[NormalizedName, State] = {}
        size = 0
        while self._outcomes and len(records) < RECORDS_MAX and size <= BYTES_MAX:
            outcome = self._outcomes.pop(0)
            self._outcome_bytes -= outcome.size
            size += outcome.size
            records += self._decide(outcome, now_ms, states)
        for name, state in self._settled.items():
            self._agenda.states.put(name, state)
            states[name] = state
        self._settled.clear()
        for name in self._agenda.overdue(now_ms):
            state = self._agenda.states.get(name)
            if state is not None:
                states[name] = state
            self._agenda.written(name)
        for name, state in states.items():
            raw = self._agenda.states.raw(name)
            records.append(publication.state_record(name, raw, state, now_ms))
        return records

    def _decide(
        self, outcome: Outcome, now_ms: int, states: dict[NormalizedName, State]
    ) -> list[Outgoing]:
        name = outcome.work.name
        before = self._agenda.states.get(name)
        if before is None:
            raise AssertionError(name)  # a name in flight has a state
        attempt = Attempt(outcome.work.event, now_ms)
        verdict = decide(before, outcome.reply, attempt, self._worker.settings.patience)
        self._agenda.answered(name, verdict.state)
        states[name] = verdict.state
        if verdict.effect is Effect.PUBLISH:
            self._worker.counters.published += 1
        return publication.records(
            Answered(
                name, before, verdict, now_ms, outcome.trimmed, evidence=outcome.evidence
            ),
            with_releases=self._worker.settings.config.releases == "all",
        )

    def _cut(self) -> Cut:
        changelog = self._agenda.positions[Topic.CHANGELOG].decided
        refetch = self._agenda.positions[Topic.REFETCH].decided
        self._marks.pass_changelog(changelog)
        self._marks.pass_refetch(refetch)
        ends = self._ends
        return self._marks.on(
            Cut(
                changelog,
                refetch,
                ends[Topic.METADATA],
                ends[Topic.RELEASES],
                ends[Topic.STATE],
            )
        )

    async def _commit(self, records: list[Outgoing], cut: Cut) -> None:
        partition = self._worker.settings.partition
        final = cut

        def closing(ends: NextOffsets) -> list[Outgoing]:
            nonlocal final
            for topic in self._ends:
                self._ends[topic] = ends.get(TopicPartition(topic, partition), self._ends[topic])
            final = Cut(
                cut.changelog,
                cut.refetch,
                self._ends[Topic.METADATA],
                self._ends[Topic.RELEASES],
                self._ends[Topic.STATE],
                cut.base,
                cut.serial,
                cut.time,
                cut.low,
                cut.backfill,
            )
            value = codec.encode(final)
            return [Outgoing(Topic.PROGRESS, PROGRESS_KEY, value, partition=partition)]

        await self._writer.commit(records, closing)
        self._worker.cut = final
        self._worker.counters.committed += 1
