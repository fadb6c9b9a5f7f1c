"""Loads another instance's topics into this log, for `pypistream bootstrap`.

What is loaded is compared with what is there: equal records are left alone, and what the other
lacks gets a tombstone. So an empty log gets everything, a load that was killed is resumed, and
--replace writes only the difference. Until the last transaction a mark in `progress` says that the
log is incomplete; workers, `produce` and sinks check for it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from itertools import chain

import msgspec
from msgspec.structs import replace as changed

from producers.carried import Journal, carried
from producers.founding import PRODUCE_ID
from producers.loaded import GONE, Begun, Origin, digest, loaded_records, marks_of_loading
from schemas import codec
from schemas.errors import LogMismatch
from schemas.records import SCHEMA_VERSION, Bootstrap, Config, Cut, Filter, Head, History
from schemas.topics import COMPACTED, Topic
from streams.clock import Clock
from streams.log import Log, NextOffsets, Outgoing, TopicPartition, Writer
from streams.progress import (
    CONFIG_KEY,
    Progress,
    check_loaded,
    progress_record,
    read_progress,
    worker_id,
)
from streams.watching import up_to_now

BATCH_RECORDS_MAX = 6_000  # of one transaction: a disk needs time for each, a broker allows 8 s
BATCH_BYTES_MAX = 32 * 1024 * 1024  # as in a worker's transaction
FOLD_RECORDS_MAX = 2_000  # of one read of what is there already

Projects = Iterator[Sequence[Outgoing]]
"""Records of one name after the other. Blocking: it reads files."""


class Loader:
    """Holds every writer id of the log. `begin` or `resume`, then `load` or `take`; `close`.

    `gone(topic, name)` makes the tombstone for a name that the other instance lacks.
    """

    def __init__(
        self, log: Log, clock: Clock, gone: Callable[[Topic, str], Outgoing], source: str
    ) -> None:
        self.written = 0  # records, tombstones among them
        self.same = 0  # records that were there already
        self.rows = 0  # rows of the other's journal
        self._log = log
        self._clock = clock
        self._gone = gone
        self._source = source
        self._writers: list[Writer] = []
        self._produce: Writer | None = None
        self._known: dict[Topic, dict[str, int]] = {topic: {} for topic in COMPACTED}
        self._config: Config | None = None  # to be written with the last transaction
        self._begin: Sequence[Cut] = ()
        self._head: Head | None = None
        self._history: History | None = None

    async def begin(self, rule: Filter, releases: str, *, replace: bool) -> None:
        """Take the log over for a load. Raises LogMismatch if it is not empty.

        `rule` and `releases` are the other log's: this one holds the same projects from now on.
        """
        self._produce = await self._log.writer(PRODUCE_ID)
        progress = await read_progress(self._log)
        if progress.config is not None and not (replace or progress.loading):
            raise LogMismatch(
                "this log holds something already",
                hint="add --replace (what the other instance does not have gets lost), "
                "or use a new --data directory",
            )
        await self._mark()  # before the ids: a worker that takes its own id back sees the mark
        await self._take_ids()
        self._config = self._new_config(progress.config, rule, releases)
        self._begin, self._head = await self._ends_of_input(), progress.head
        if any(progress.cuts):
            swept = [cut.swept if cut else 0 for cut in progress.cuts]
            self._begin = [changed(at, swept=n) for at, n in zip(self._begin, swept, strict=True)]
        await self._fold()

    async def resume(self, log: str) -> Bootstrap:
        """Take the log over to continue what was loaded from `log`; returns what that was.

        Raises LogMismatch if it was loaded from elsewhere, or has been written by its own roles
        since.
        """
        self._produce = await self._log.writer(PRODUCE_ID)
        await self._take_ids()
        progress = await read_progress(self._log)
        check_loaded(progress.bootstrap)
        known = follows(progress, log)
        self._begin = known.cuts
        head = progress.head
        if head is not None and head.serial == head.base:
            self._history = head.history
        return known

    async def load(
        self, projects: Projects, origin: Origin, journal: Journal | None = None
    ) -> None:
        """Make the log hold exactly `projects`, whose iterator raises if they are incomplete.

        From `journal` it gets the rows from before the log begins.
        """
        wanted = self._is_new if any(self._known.values()) else None
        async with aclosing(_Batches(projects, wanted)) as batches:
            while batch := await batches.next():
                await self._commit(batch)
        lacking = (
            [self._gone(topic, name)]
            for topic in COMPACTED
            for name, known in self._known[topic].items()
            if known != GONE
        )
        async with aclosing(_Batches(lacking, None)) as batches:
            while batch := await batches.next():
                await self._commit(batch)
        self._known = {topic: {} for topic in COMPACTED}
        await self._place_head(origin)
        await self._add(journal)
        await self._finish([], origin)

    async def take(self, projects: Projects, origin: Origin) -> None:
        """Write a delta's records, in one transaction if they fit."""
        async with aclosing(_Batches(projects, None)) as batches:
            first = await batches.next()
            second = await batches.next() if first else []
            if second:
                await self._mark()
                await self._commit(first)
                while second:
                    await self._commit(second)
                    second = await batches.next()
                first = []
        if self._head is not None:  # rows of our own lie between and could not be told apart
            self._head = self._history = None
        await self._finish(first, origin)

    async def close(self) -> None:
        """Give the ids up."""
        for writer in (*self._writers, *([self._produce] if self._produce else ())):
            await writer.close()

    # --- steps --------------------------------------------------------------------------------

    async def _take_ids(self) -> None:
        """Nobody else writes from here on, and all that was written can be seen."""
        for partition in range(self._log.partitions):
            self._writers.append(await self._log.writer(worker_id(partition)))
        self._produce = await self._log.writer(PRODUCE_ID)  # it knows the ends as of now

    async def _mark(self) -> None:
        of = Bootstrap(loading=True, source=self._source, time=self._clock.now_ms() // 1000)
        partitions = self._log.partitions
        await self._commit(marks_of_loading(partitions, self._clock.now_ms(), of=of), count=False)

    def _new_config(self, config: Config | None, rule: Filter, releases: str) -> Config:
        if config is not None:
            return changed(config, filter=rule, releases=releases)
        return Config(
            log_id=uuid.uuid4().hex,
            partitions=self._log.partitions,
            schema_version=SCHEMA_VERSION,
            filter=rule,
            releases=releases,
            created=self._clock.now_ms() // 1000,
        )

    async def _ends_of_input(self) -> list[Cut]:
        """Cuts whose workers would read on at the ends of changelog and refetch."""
        changelog = await self._log.ends(Topic.CHANGELOG)
        refetch = await self._log.ends(Topic.REFETCH)
        return [
            Cut(
                changelog[TopicPartition(Topic.CHANGELOG, p)],
                refetch[TopicPartition(Topic.REFETCH, p)],
                *(0, 0, 0),
            )
            for p in range(self._log.partitions)
        ]

    async def _place_head(self, origin: Origin) -> None:
        """Keep the log's own journal if it reaches further than what was loaded.

        Its rows after `reached` are decided again, which changes nothing where that was done
        before.
        """
        head = self._head
        if head is None or head.serial < origin.reached:
            self._head = None
            return
        offsets = await _first_rows_after(self._log, origin.reached)
        self._begin = [
            changed(at, changelog=offsets.get(p, at.changelog)) for p, at in enumerate(self._begin)
        ]

    async def _add(self, journal: Journal | None) -> None:
        """Add the rows from before the log begins, if they join what it has."""
        self._history = self._head.history if self._head is not None else None
        history = journal.history(self._head) if journal is not None else None
        if journal is None or history is None:
            return
        rows = ([record] for record in await carried(self._log, journal, history.serial))
        async with aclosing(_Batches(rows, None)) as batches:
            while batch := await batches.next():
                await self._commit(batch, count=False)
                self.rows += len(batch)
        self._history = history

    async def _fold(self) -> None:
        """Read what is there, as digests, which take half a GB for 900 000 projects."""
        starts = {}
        for topic in COMPACTED:
            places, ends = await self._log.starts(topic), await self._log.ends(topic)
            starts.update({at: place for at, place in places.items() if place < ends[at]})
        if not starts:
            return
        reader = await self._log.reader(starts)
        try:
            async for records in up_to_now(self._log, reader, starts, FOLD_RECORDS_MAX):
                for each in records:
                    known = digest(each.topic, each.value, each.headers)
                    self._known[each.topic][each.key or ""] = known
                await asyncio.sleep(0)
        finally:
            await reader.close()

    def _is_new(self, record: Outgoing) -> bool:
        """Whether the record differs from what is there; marks the latter as seen."""
        before = self._known[record.topic].pop(record.key or "", None)
        if before is None or before != digest(record.topic, record.value, record.headers):
            return True
        self.same += 1
        return False

    async def _finish(self, records: Sequence[Outgoing], origin: Origin) -> None:
        now_ms, begun = self._clock.now_ms(), Begun(self._begin, self._head, self._history)
        founding: list[Outgoing] = []
        if self._config is not None:
            founding = [progress_record(self._log.partitions, CONFIG_KEY, self._config, now_ms)]

        def closing(ends: NextOffsets) -> list[Outgoing]:
            return founding + loaded_records(origin, begun, ends, now_ms)

        assert self._produce is not None, "begin or resume comes first"
        await self._produce.commit(records, closing)
        self.written += len(records)
        self._config = None

    async def _commit(self, records: Sequence[Outgoing], *, count: bool = True) -> None:
        assert self._produce is not None, "begin or resume comes first"
        await self._produce.commit(records)
        self.written += len(records) if count else 0


def follows(progress: Progress, log: str) -> Bootstrap:
    """What the log has loaded from `log`, if it holds nothing else. Pure. Raises LogMismatch."""
    known = progress.bootstrap
    if known is None or known.log != log:
        raise LogMismatch(
            f"this log was not loaded from log {log}",
            hint="add --replace (what the other instance does not have gets lost), "
            "or use a new --data directory",
        )
    if progress.cuts != known.cuts:
        raise LogMismatch(
            "this log was loaded from there and has followed upstream by itself since",
            hint="go on with `pypistream run`; or add --replace to take the other's again",
        )
    return known


class _Batches:
    """The records of each transaction, made in a thread while the previous is written."""

    def __init__(self, projects: Projects, wanted: Callable[[Outgoing], bool] | None) -> None:
        records = chain.from_iterable(projects)
        self._records = iter(records) if wanted is None else filter(wanted, records)
        self._ahead: asyncio.Task[list[Outgoing]] | None = None

    async def next(self) -> list[Outgoing]:
        """The next batch; [] = that was all."""
        ahead = self._ahead or self._begun()
        self._ahead = None
        try:
            batch = await asyncio.shield(ahead)
        except BaseException:
            await _ended(ahead)
            raise
        if batch:
            self._ahead = self._begun()
        return batch

    async def aclose(self) -> None:
        """Wait for the thread, ignoring its result."""
        if self._ahead is not None:
            await _ended(self._ahead)

    def _begun(self) -> asyncio.Task[list[Outgoing]]:
        return asyncio.ensure_future(asyncio.to_thread(self._gather))

    def _gather(self) -> list[Outgoing]:
        batch: list[Outgoing] = []
        size = 0
        for record in self._records:
            batch.append(record)
            size += len(record.value) if record.value is not None else _told(record)
            if len(batch) >= BATCH_RECORDS_MAX or size >= BATCH_BYTES_MAX:
                break
        return batch


def _told(record: Outgoing) -> int:
    """Bytes of a tombstone's headers, which hold what is kept of a removed project."""
    return sum(len(text) for _, text in record.headers)


async def _ended(task: asyncio.Task[list[Outgoing]]) -> None:
    """Wait for it: a thread cannot be cancelled."""
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()


class _Serial(msgspec.Struct):
    """The serial of a journal row or a marker; other keys are skipped."""

    serial: int


async def _first_rows_after(log: Log, serial: int) -> dict[int, int]:
    """Per partition the offset of the first journal row or marker above `serial`, if any."""
    found: dict[int, int] = {}
    starts = await log.starts(Topic.CHANGELOG)
    reader = await log.reader(starts)
    try:
        async for records in up_to_now(log, reader, starts):
            for record in records:
                if record.partition in found or record.value is None:
                    continue
                late = record.header("late") == "true"
                if not late and codec.decode(record.value, _Serial).serial > serial:
                    found[record.partition] = record.offset
            await asyncio.sleep(0)
    finally:
        await reader.close()
    return found
