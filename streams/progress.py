"""Reads the topic `progress`: how far the workers are, and what may be claimed from that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import msgspec

from schemas.codec import Envelope, dataschema, decode, encode, headers
from schemas.errors import LogMismatch
from schemas.records import Bootstrap, Config, Cut, Head
from schemas.topics import Topic
from streams.log import Log, Outgoing, Record, TopicPartition
from streams.watching import TableWatch, tables_of

CUT_KEY, CONFIG_KEY, HEAD_KEY = "p", "config", "head"
BOOTSTRAP_KEY = "bootstrap"


def worker_id(partition: int) -> str:
    """The writer id of that partition's worker; only its holder can write there."""
    return f"worker-{partition}"


class Watermark(NamedTuple):
    """What is claimed of a set of cuts.

    serial   every journal serial up to it is reflected, but for the exceptions that `state` names;
             None while no such claim holds: a partition has passed no marker yet, or its log does
             not reach back to the beginning because a backfill is owed
    base     what happened up to here is not known to be complete (0 = nothing is missing)
    reached  everything in (base, reached] is reflected, also while `serial` is None; 0 = nothing
    backfill_done, backfill_names   of the backfill that is open in any partition; None = none is
    """

    serial: int | None
    base: int
    reached: int
    backfill_done: int | None = None
    backfill_names: int | None = None


def watermark(cuts: Sequence[Cut | None]) -> Watermark:
    """The claim of these cuts, one per partition: the least that any of them makes. Pure.

    A cut that is None: that partition's worker has not written any yet.
    """
    known = [cut for cut in cuts if cut is not None]
    marked = len(known) == len(cuts) and all(cut.serial for cut in known) and bool(known)
    base = max((cut.base for cut in known), default=0)
    reached = min(cut.serial for cut in known) if marked else 0
    claim = reached if marked and base == 0 else None
    runs = [cut.backfill for cut in known if cut.backfill is not None]
    if claim is not None or all(each.closed for each in runs):
        return Watermark(claim, base, reached)
    done, names = sum(each.done for each in runs), sum(each.names for each in runs)
    return Watermark(claim, base, reached, done, names)


def history_since(head: Head | None, cuts: Sequence[Cut | None]) -> int | None:
    """The serial after which no journal row is missing up to these cuts; None = unknown. Pure."""
    if head is None:
        return None
    if head.history is None or head.history.serial < head.base:
        return head.base
    ends = zip(head.history.changelog, cuts, strict=False)
    read = all(cut is not None and cut.changelog >= end for end, cut in ends)
    return head.history.since if read else head.base


def redacted_under(cuts: Sequence[Cut | None]) -> int:
    """How many rules of redaction are applied to everything up to these cuts. Pure."""
    return min((cut.redacted for cut in cuts if cut is not None), default=0)


class Progress(NamedTuple):
    """The topic, folded. `cuts` in the order of the partitions; None = nothing written yet.

    `bootstrap`: what another instance's dump this log was loaded from, if it was.
    """

    config: Config | None
    head: Head | None
    cuts: tuple[Cut | None, ...]
    bootstrap: Bootstrap | None = None

    @property
    def loading(self) -> bool:
        """Whether a load is in progress or was killed, so that the log is incomplete."""
        return self.bootstrap is not None and self.bootstrap.loading

    @property
    def watermark(self) -> Watermark:
        """What these cuts claim."""
        return watermark(self.cuts)


def check_loaded(bootstrap: Bootstrap | None) -> None:
    """Raise LogMismatch if a load has not ended: no process may work on an incomplete log."""
    if bootstrap is not None and bootstrap.loading:
        raise LogMismatch(
            "a `pypistream bootstrap` into this log has not ended: it is under way, or was killed",
            hint="give the same command again: it goes on where it was",
        )


def progress_record(
    partition: int, key: str, value: msgspec.Struct, now_ms: int, *, of: str = "", kind: str = ""
) -> Outgoing:
    """A record of the topic. `of` is its id, `kind` its type's name if that is not its key."""
    envelope = Envelope(
        id=of or f"{key}:{now_ms}",
        type=f"pypistream.{kind or key}",
        subject="",
        time=now_ms / 1000,
        dataschema=dataschema(Topic.PROGRESS),
    )
    return Outgoing(Topic.PROGRESS, key, encode(value), headers(envelope), partition)


async def unread_asks(log: Log, progress: Progress) -> list[int]:
    """How many asks each partition's worker has not decided yet."""
    ends = await log.ends(Topic.REFETCH)
    return [
        ends[TopicPartition(Topic.REFETCH, partition)] - (cut.refetch if cut else 0)
        for partition, cut in enumerate(progress.cuts)
    ]


async def read_progress(log: Log) -> Progress:
    """The topic as it is now. For repeated looks use ProgressWatch. Raises LogCorrupt."""
    progress = Progress(None, None, (None,) * log.partitions)
    for table in (await tables_of(log, _places(log))).values():
        for record in table.rows.values():
            progress = folded(progress, record)
    return progress


class ProgressWatch:
    """Follows the topic; used as `async with`. Raises LogCorrupt, LogUnavailable."""

    def __init__(self, log: Log) -> None:
        self._watch = TableWatch(log, _places(log))
        self._progress = Progress(None, None, (None,) * log.partitions)

    async def __aenter__(self) -> Self:
        await self._watch.__aenter__()
        for rows in self._watch.rows.values():
            for record in rows.values():
                self._progress = folded(self._progress, record)
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._watch.__aexit__(*raised)

    @property
    def progress(self) -> Progress:
        """As of the last look."""
        return self._progress

    async def look(self, wait_seconds: float = 0.0) -> Progress:
        """The progress committed up to now; waits at most so many seconds for something new."""
        for record in await self._watch.look(wait_seconds):
            self._progress = folded(self._progress, record)
        return self._progress


def folded(progress: Progress, record: Record) -> Progress:
    """`progress` after one more record; other keys change nothing. Raises LogCorrupt."""
    if record.value is None:
        return progress
    if record.key == CUT_KEY and record.partition < len(progress.cuts):
        cuts = list(progress.cuts)
        cuts[record.partition] = decode(record.value, Cut)
        return progress._replace(cuts=tuple(cuts))
    if record.partition == len(progress.cuts):
        if record.key == CONFIG_KEY:
            return progress._replace(config=decode(record.value, Config))
        if record.key == HEAD_KEY:
            return progress._replace(head=decode(record.value, Head))
        if record.key == BOOTSTRAP_KEY:
            return progress._replace(bootstrap=decode(record.value, Bootstrap))
    return progress


def _places(log: Log) -> list[TopicPartition]:
    """The partitions to read: N holds config and head; sinks do not need N + 1."""
    return [TopicPartition(Topic.PROGRESS, partition) for partition in range(log.partitions + 1)]
