"""The status as one value, read from the log and the files of a data directory."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from producers.history import HISTORY_KEY
from producers.presence import ALIVE_KEY
from producers.sweep import SWEEP_KEY, cursor_of
from pypistream.data_dir import DataDir
from pypistream.health.state_fold import StateFold
from pypistream.health.status_files import FileReport, files_of
from pypistream.holding import HOLD_KEY, hold_of
from pypistream.roles import holders
from schemas import codec
from schemas.codec import rfc3339
from schemas.errors import DumpCorrupt
from schemas.records import Alive, Bootstrap, Cut, Filter, Head, State, Status, Sweep
from schemas.topics import Offset, Topic
from sinks.dump.reader import DumpReader
from streams.log import Log, Record, TopicPartition
from streams.progress import Progress, ProgressWatch
from streams.watching import plain_place

NAMES_MAX = 1_000  # of each status in a report; the topic `state`, dump and snapshot have all
LISTED = (Status.DEAD, Status.PARKED, Status.STALE, Status.PENDING)
SOON_MS = 60_000
ALIVE_MS = 15_000  # a sign of life comes every 2 s; the broker's clock may differ from ours


class NameReport(msgspec.Struct):
    """A name that the watermark does not cover. `next`: time of the next attempt, null = none."""

    name: str
    status: str
    reason: str
    serial: int
    attempts: int
    next: str | None


class DueReport(msgspec.Struct):
    """Attempts to come: due already, within a minute, later; `next` is the time of the earliest."""

    now: int
    minute: int
    later: int
    next: str | None


class BackfillReport(msgspec.Struct):
    """A backfill that is not finished."""

    done: int
    names: int


class HistoryReport(msgspec.Struct, omit_defaults=True):
    """Which rows of the journal are in the log: all after `since`, and those in (`begun`, `read`].

    `read` null = nobody has asked for earlier rows; `asked`: somebody has, and reading has not
    begun. `begun` is not 0 while the gap between another instance's dump and the log's beginning is
    read.
    """

    since: int
    read: int | None
    asked: bool
    begun: int = 0


class BootstrapReport(msgspec.Struct):
    """Another instance's dump or delta that was loaded last; `loading`: it is incomplete."""

    source: str
    log: str
    time: str
    loading: bool


class HoldReport(msgspec.Struct):
    """Upstream asked every process to wait."""

    until: str
    seconds: float
    reason: str


class SweepReport(msgspec.Struct):
    """The sweep's current round, or the last one if it has `ended`.

    `every`: seconds per round; `names` and how many of them were `asked` for, in `percent`; every
    name up to `name` was. `changed`: how many changes only the sweep has found since this round
    began. `next`: when the next round begins, null while this one goes on.
    """

    round: int
    every: float
    started: str
    ended: str | None
    names: int
    asked: int
    percent: float
    changed: int
    name: str
    next: str | None


class PartitionReport(msgspec.Struct):
    """Next offsets to read (null = this worker has not written yet) and the ends of the topics."""

    partition: int
    serial: int | None
    changelog: int | None
    changelog_end: int
    refetch: int | None
    refetch_end: int


class DumpReport(msgspec.Struct):
    """The dump's manifest; `problem` instead if it cannot be read."""

    created: str | None = None
    watermark: int | None = None
    same_log: bool = True
    problem: str | None = None


class StatusReport(msgspec.Struct):
    """Times in RFC 3339, UTC. `lag_serials` and `lag_seconds` are null while `watermark` is.

    `upstream`: "" is PyPI itself; null = no process of this directory asks one, others fill its
    log.

    `kafka` names the brokers, "" = the log is embedded. `source`: where changes come from, PyPI's
    `journal` or, without XML-RPC, its `index`.

    `names`, `due`, `excepted` and `exceptions` are null in a brief report. `exceptions` holds at
    most NAMES_MAX of each status and no names absent only once; `names` has all names by status,
    `excepted` the exceptions. `coverage`: percent of the names that are none, rounded down, null
    while `watermark` is.
    """

    time: str
    data: str
    upstream: str | None
    kafka: str
    log_id: str | None
    partitions: int
    filter: Filter
    head: int | None
    head_time: str | None
    source: str | None
    watermark: int | None
    watermark_time: str | None
    base: int
    reached: int
    backfill: BackfillReport | None
    history: HistoryReport | None
    bootstrap: BootstrapReport | None
    lag_serials: int | None
    lag_seconds: float | None
    names: dict[str, int] | None
    coverage: float | None
    excepted: dict[str, int] | None
    due: DueReport | None
    exceptions: list[NameReport] | None
    hold: HoldReport | None
    sweep: SweepReport | None
    roles: dict[str, str]
    positions: list[PartitionReport]
    snapshot: FileReport | None
    dump: DumpReport | None
    files: list[FileReport]


class StatusReader:
    """Makes reports; each one after the first reads only what is new."""

    def __init__(self, data: DataDir, log: Log, *, brief: bool, kafka: str = "") -> None:
        self._data = data
        self._log = log
        self._kafka = kafka
        self._watch = ProgressWatch(log)
        self._fold = None if brief else StateFold(log)

    async def report(self) -> StatusReport:
        """The status now. Raises LogCorrupt, LogUnavailable."""
        if self._fold is not None:
            await self._fold.look()
        progress = await self._watch.look()
        now_ms = int(time.time() * 1000)
        mark, head, config = progress.watermark, progress.head, progress.config
        marker_time = _marker_time(progress.cuts)
        claimed = mark.serial is not None
        plain = (await self._log.table(plain_place(self._log))).rows
        files = files_of(self._data)
        return StatusReport(
            time=rfc3339(now_ms / 1000),
            data=str(self._data.root.absolute()),
            upstream=_upstream(self._data.stored()),
            kafka=self._kafka,
            log_id=config.log_id if config else None,
            partitions=self._log.partitions,
            filter=config.filter if config else Filter(),
            head=head.serial if head else None,
            head_time=rfc3339(head.time) if head else None,
            source=head.source.value if head else None,
            watermark=mark.serial,
            watermark_time=rfc3339(marker_time) if claimed and marker_time else None,
            base=mark.base or (head.base if head and not any(progress.cuts) else 0),
            reached=mark.reached,
            backfill=_backfill(progress),
            history=_history(head, asked=HISTORY_KEY in plain),
            bootstrap=_bootstrap(progress.bootstrap),
            lag_serials=max(0, head.serial - mark.serial) if head and mark.serial else None,
            lag_seconds=max(0.0, now_ms / 1000 - marker_time) if claimed and marker_time else None,
            names={s.value: n for s, n in self._fold.counts().items()} if self._fold else None,
            coverage=self._fold.coverage() if self._fold and claimed else None,
            excepted=self._fold.excepted() if self._fold else None,
            due=_due(self._fold.exceptions, now_ms) if self._fold else None,
            exceptions=_exceptions(self._fold.exceptions) if self._fold else None,
            hold=_hold(plain.get(HOLD_KEY), now_ms),
            sweep=_sweep(cursor_of(plain.get(SWEEP_KEY)), progress.cuts),
            roles=await self._roles(now_ms),
            positions=await self._positions(progress),
            snapshot=next((file for file in files if file.path == self._data.snapshot.name), None),
            dump=_dump(self._data, config.log_id if config else None),
            files=files,
        )

    async def _roles(self, now_ms: int) -> dict[str, str]:
        """The holders of this directory's roles; on Kafka also a `produce` on any machine."""
        roles = {holder.role: holder.owner for holder in holders(self._data)}
        if self._kafka:
            at = TopicPartition(Topic.PROGRESS, self._log.partitions)
            row = (await self._log.table(at)).rows.get(ALIVE_KEY)
            if row is not None and row.value is not None and now_ms - row.timestamp_ms < ALIVE_MS:
                sign = codec.decode(row.value, Alive)
                if not sign.ended:
                    roles.setdefault("produce", sign.holder)
        return roles

    async def _positions(self, progress: Progress) -> list[PartitionReport]:
        changelog = await self._log.ends(Topic.CHANGELOG)
        refetch = await self._log.ends(Topic.REFETCH)
        return [
            _position(partition, cut, (changelog, refetch))
            for partition, cut in enumerate(progress.cuts)
        ]


def _hold(row: Record | None, now_ms: int) -> HoldReport | None:
    hold = hold_of(row)
    if hold is None:
        return None
    left_seconds = (hold.until_ms - now_ms) / 1000
    if left_seconds <= 0:
        return None
    return HoldReport(rfc3339(hold.until_ms / 1000), left_seconds, hold.reason)


def _sweep(cursor: Sweep | None, cuts: Sequence[Cut | None]) -> SweepReport | None:
    if cursor is None:
        return None
    swept = sum(cut.swept for cut in cuts if cut is not None)
    return SweepReport(
        round=cursor.round,
        every=cursor.every,
        started=rfc3339(cursor.started),
        ended=rfc3339(cursor.ended) if cursor.ended else None,
        names=cursor.names,
        asked=cursor.asked,
        percent=round(100 * cursor.asked / cursor.names, 2) if cursor.names else 100.0,
        changed=max(0, swept - cursor.before),
        name=cursor.name,
        next=rfc3339(cursor.started + cursor.every) if cursor.ended else None,
    )


Ends = Mapping[TopicPartition, Offset]


def _position(partition: int, cut: Cut | None, ends: tuple[Ends, Ends]) -> PartitionReport:
    changelog, refetch = ends
    return PartitionReport(
        partition=partition,
        serial=cut.serial if cut else None,
        changelog=cut.changelog if cut else None,
        changelog_end=changelog[TopicPartition(Topic.CHANGELOG, partition)],
        refetch=cut.refetch if cut else None,
        refetch_end=refetch[TopicPartition(Topic.REFETCH, partition)],
    )


def _upstream(stored: Mapping[str, object]) -> str | None:
    """The upstream that the directory's roles ask, None if there is neither one nor a contact."""
    upstream = str(stored.get("upstream", ""))
    return upstream if upstream or stored.get("contact") else None


def _marker_time(cuts: tuple[Cut | None, ...]) -> int:
    """Unix time of the marker that the claim rests on; 0 = there is none."""
    return min(((cut.serial, cut.time) for cut in cuts if cut is not None), default=(0, 0))[1]


def _backfill(progress: Progress) -> BackfillReport | None:
    mark = progress.watermark
    if mark.backfill_done is None or mark.backfill_names is None:
        return None
    return BackfillReport(mark.backfill_done, mark.backfill_names)


def _history(head: Head | None, *, asked: bool) -> HistoryReport | None:
    if head is None:
        return None
    held = head.history
    if held is None:
        return HistoryReport(head.base, None, asked=asked and head.base > 0)
    if held.serial < head.base:
        return HistoryReport(head.base, held.serial, asked=False, begun=held.since)
    if held.since == 0:
        return HistoryReport(0, held.serial, asked=False)
    return HistoryReport(held.since, held.earlier or None, asked=asked and not held.earlier)


def _bootstrap(known: Bootstrap | None) -> BootstrapReport | None:
    if known is None:
        return None
    return BootstrapReport(known.source, known.log, rfc3339(known.time), known.loading)


def _due(owed: Mapping[str, State], now_ms: int) -> DueReport:
    times = [state.next_ms for state in owed.values() if state.next_ms]
    now = sum(ms <= now_ms for ms in times)
    minute = sum(now_ms < ms <= now_ms + SOON_MS for ms in times)
    earliest = rfc3339(min(times) / 1000) if times else None
    return DueReport(now, minute, len(times) - now - minute, earliest)


def _exceptions(owed: Mapping[str, State]) -> list[NameReport]:
    """The exceptions by status, then newest event first."""
    found: list[NameReport] = []
    for status in LISTED:
        names = [(name, state) for name, state in owed.items() if state.status is status]
        names.sort(key=lambda pair: (-pair[1].event, pair[0]))
        found += [_name(name, state) for name, state in names[:NAMES_MAX]]
    return found


def _name(name: str, state: State) -> NameReport:
    next_time = rfc3339(state.next_ms / 1000) if state.next_ms else None
    status = state.status.value
    return NameReport(name, status, state.reason, state.event, state.attempts, next_time)


def _dump(data: DataDir, log_id: str | None) -> DumpReport | None:
    if not (data.dumps / "manifest.json").exists():
        return None
    try:
        manifest = DumpReader(data.dumps).manifest
    except DumpCorrupt as error:
        return DumpReport(problem=str(error))
    return DumpReport(manifest.created, manifest.watermark, log_id in (None, manifest.log))
