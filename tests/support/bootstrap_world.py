"""Two instances: one whose log is written by hand with the workers' own code, one that follows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from processors import publication
from processors.decide import DEFAULT_PATIENCE, Attempt, Body, Failed, Missing, Reply, decide
from processors.publication import Answered
from processors.trim import Trimmed, trim
from producers.rows import entry_record
from pypistream.data_dir import DataDir
from pypistream.jobs.bootstrap_source import FolderSource
from pypistream.jobs.bootstrapping import Bootstrap
from pypistream.settings import Settings
from schemas import codec
from schemas.names import NormalizedName
from schemas.records import Config, Cut, Filter, Head, History, Kind, Marker, State, Status
from schemas.topics import COMPACTED, Topic, partition_of
from sinks.dump.sink import DumpSink
from sinks.feed import Feed
from streams.log import Headers, Log, NextOffsets, Outgoing, TopicPartition
from streams.memory_log import MemoryLog
from streams.progress import (
    CONFIG_KEY,
    CUT_KEY,
    HEAD_KEY,
    Watermark,
    progress_record,
    read_progress,
    worker_id,
)
from tests.support.documents import body, document
from tests.support.logs import Clock as LogClock
from upstream.source import JournalRow

FILES = (
    "packages.jsonl.zst",
    "pypicache.json.zst",
    "releases.jsonl.zst",
    "state.jsonl.zst",
    "latest.csv.zst",
)
RULE = Filter(exclude=("test-*",))


class Clock(LogClock):
    """One time for logs and feeds, in ms."""

    def now_ms(self) -> int:
        return self.ms


@dataclass
class Other:
    """The instance that is loaded from. `partitions` of its log, which lies in memory."""

    root: Path
    partitions: int = 1
    serial: int = 1_000
    base: int = 0
    rule: Filter = RULE
    clock: Clock = field(default_factory=Clock)
    log: Log = field(init=False)
    states: dict[str, State] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = MemoryLog(self.partitions, now_ms=self.clock)
        self.sink = DumpSink(self.dumps, self.root / "state" / "frames")

    @property
    def dumps(self) -> Path:
        return self.root / "dumps"

    async def found(self) -> None:
        config = Config("other-log", self.partitions, 1, filter=self.rule)
        head = Head(self.serial, self.serial, 1, (0,) * self.partitions)
        await self.log.append(
            [
                progress_record(self.partitions, CONFIG_KEY, config, self.clock()),
                progress_record(self.partitions, HEAD_KEY, head, self.clock()),
            ]
        )
        for partition in range(self.partitions):
            await self._write(partition, [])

    async def publish_project(self, name: str, salt: str = "", **info: Any) -> None:
        """A new release: what a worker writes that got the document of its serial."""
        raw = self._raw(name, salt, **info)
        trimmed = trim(raw, NormalizedName(name), header_serial=self.serial)
        await self._answer(name, Kind.NEW_RELEASE, _shown(trimmed), trimmed)

    async def stale(self, name: str) -> None:
        """A new release of which upstream shows the document before: published and parked."""
        raw = self._raw(name, "late")
        self.serial += 5
        trimmed = trim(raw, NormalizedName(name), header_serial=self.serial)
        await self._answer(name, Kind.NEW_RELEASE, _shown(trimmed), trimmed)

    async def arrive(self, name: str) -> None:
        """What `stale` was owed comes, or a sweep finds it: no row is written, no serial rises."""
        state = self.states[name]
        shown = document("0.9", "1.0", name=name, summary="in time")
        raw = body({**shown, "last_serial": state.event})
        trimmed = trim(raw, NormalizedName(name), header_serial=state.event)
        await self._decided(name, state, _shown(trimmed), trimmed)

    async def remove(self, name: str) -> None:
        """`remove project`, and upstream says 404."""
        self.serial += 1
        await self._answer(name, Kind.REMOVE_PROJECT, Missing())

    async def fail(self, name: str) -> None:
        """A new release whose document cannot be had."""
        self.serial += 1
        await self._answer(name, Kind.NEW_RELEASE, Failed("server-error: 500"))

    async def settle_late(self, name: str) -> None:
        """The state changes though no serial rose: what the sweep or a map does."""
        state = replace(self.states[name], etag=f'"{self.clock()}"')
        await self._put(name, state, [])

    async def mark(self) -> None:
        """Every worker has decided everything up to the present serial."""
        for partition in range(self.partitions):
            await self._write(partition, [])

    async def publish(self) -> None:
        """Mark, then publish the dump and a delta."""
        await self.mark()
        self.clock.ms += 60_000
        await published(self.log, self.sink, self.clock)

    def _raw(self, name: str, salt: str, **info: Any) -> bytes:
        self.serial += 1
        shown = document("0.9", "1.0", name=name, summary=salt, **info)
        return body({**shown, "last_serial": self.serial})

    async def _answer(
        self, name: str, kind: Kind, reply: Reply, trimmed: Trimmed | None = None
    ) -> None:
        event = replace(
            self.states.get(name, State(Status.PENDING, 0)),
            status=Status.PENDING,
            event=self.serial,
            event_kind=kind,
            event_time=self.clock() // 1000,
            event_name=name,
            attempts=0,
            reason="",
        )
        await self.row(name, kind, self.serial)
        await self._decided(name, event, reply, trimmed)

    async def row(self, name: str, kind: Kind, serial: int, *, late: bool = False) -> None:
        """A row of the journal."""
        action = kind.value.replace("-", " ")
        row = JournalRow(name, None, self.clock() // 1000, action, serial)
        await self.log.append([entry_record(row, self.clock(), late=late)])

    async def history(self, since: int) -> None:
        """The journal from after `since` up to where the log begins, read in afterwards."""
        for serial in range(since + 1, self.serial + 1, 7):
            await self.row(f"p{serial % 20:02}", Kind.NEW_RELEASE, serial, late=True)
        ends = await self.log.ends(Topic.CHANGELOG)
        offsets = tuple(ends[at] for at in sorted(ends))
        head = Head(
            self.serial, self.serial, 1, offsets, history=History(self.serial, offsets, since)
        )
        await self.log.append([progress_record(self.partitions, HEAD_KEY, head, self.clock())])

    async def _decided(
        self, name: str, state: State, reply: Reply, trimmed: Trimmed | None
    ) -> None:
        """What a worker writes that got `reply` for the event in `state`."""
        now_ms = self.clock()
        verdict = decide(state, reply, Attempt(state.event, now_ms), DEFAULT_PATIENCE)
        answered = Answered(NormalizedName(name), state, verdict, now_ms, trimmed)
        records = publication.records(answered, with_releases=True)
        records = [each for each in records if each.topic in COMPACTED]
        await self._put(name, verdict.state, records)

    async def _put(self, name: str, state: State, records: list[Outgoing]) -> None:
        self.states[name] = state
        row = publication.state_record(NormalizedName(name), codec.encode(state), self.clock())
        await self._write(partition_of(name, self.partitions), [*records, row])

    async def _write(self, partition: int, records: Sequence[Outgoing]) -> None:
        """A worker's transaction, after a marker that it has passed: every cut is another one."""
        at = TopicPartition(Topic.CHANGELOG, partition)
        passed = marker(self.base, self.serial)._replace(partition=partition)
        await self.log.append([passed])
        changelog = (await self.log.ends(Topic.CHANGELOG))[at]

        def closing(ends: NextOffsets) -> list[Outgoing]:
            metadata, releases, state = (ends[TopicPartition(t, partition)] for t in COMPACTED)
            cut = Cut(
                *(changelog, 0, metadata, releases, state),
                base=self.base,
                serial=self.serial,
                time=self.clock() // 1000,
            )
            return [progress_record(partition, CUT_KEY, cut, self.clock())]

        writer = await self.log.writer(worker_id(partition))
        await writer.commit(records, closing)
        await writer.close()


def _shown(trimmed: Trimmed) -> Body:
    return Body(trimmed.serial, trimmed.hash, trimmed.display_name, '"etag"', trimmed.own_serial)


async def published(log: Log, sink: DumpSink, clock: Clock) -> None:
    """Bring a dump up to the log's newest cut."""
    async with Feed(log, sink, clock, publish_every_seconds=0, wall_ms=clock.now_ms) as feed:
        assert await feed.finish() is not None


@dataclass
class Own:
    """The instance that loads: its log, its directory."""

    root: Path
    log: Log
    clock: Clock

    def bootstrap(self, source: Path) -> Bootstrap:
        """The command's own work, on this log."""
        data = DataDir(self.root)
        data.create()
        settings = Settings(data=self.root, poll=1)
        return Bootstrap(settings, data, self.log, FolderSource(source))

    @asynccontextmanager
    async def loading(self, source: Path) -> AsyncIterator[Bootstrap]:
        """The same, closed at the end."""
        work = self.bootstrap(source)
        try:
            yield work
        finally:
            await work.loader.close()

    async def load(self, source: Path, *, replace_all: bool = False) -> Bootstrap:
        """`pypistream bootstrap SOURCE [--replace]`."""
        async with self.loading(source) as work:
            await work.load(replace_all=replace_all)
            return work

    async def dumped(self, name: str = "dump") -> dict[str, bytes]:
        """The files of a dump made of the log as it is."""
        folder = self.root / name
        await published(
            self.log, DumpSink(folder, self.root / "state" / f"frames-{name}"), self.clock
        )
        return files(folder)

    async def watermark(self) -> Watermark:
        return (await read_progress(self.log)).watermark


def files(dumps: Path) -> dict[str, bytes]:
    """A dump's files, the manifest not among them."""
    return {name: (dumps / name).read_bytes() for name in FILES}


async def rows_of(log: Log) -> dict[tuple[Topic, str], tuple[bytes, Headers]]:
    """What the log holds: value and headers by topic and name."""
    found = {}
    for topic in COMPACTED:
        for partition in range(log.partitions):
            table = await log.table(TopicPartition(topic, partition))
            for name, record in table.rows.items():
                assert partition == partition_of(name, log.partitions)
                assert record.value is not None
                found[topic, name] = (record.value, record.headers)
    return found


def marker(base: int, serial: int) -> Outgoing:
    """A marker for partition 0."""
    headers = (("ce_type", codec.MARKER_TYPE.encode()),)
    return Outgoing(Topic.CHANGELOG, None, codec.encode(Marker(base, serial, 1)), headers, 0)
