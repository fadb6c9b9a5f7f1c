"""What the `progress` topic says: how far the workers are, and what that allows to claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from schemas.codec import decode
from schemas.records import Config, Cut, Head
from schemas.topics import Offset, Topic
from streams.log import Log, Reader, Record, TopicPartition

CUT_KEY, CONFIG_KEY, HEAD_KEY = "p", "config", "head"
READ_RECORDS_MAX = 5_000  # of one look; a busy worker writes 20 a second


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
    """The claim of one cut per partition: the least of what the partitions say. Pure.

    None = that partition's worker has not written any progress.
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


class Progress(NamedTuple):
    """The topic, folded. `cuts` in the order of the partitions; None = nothing written yet."""

    config: Config | None
    head: Head | None
    cuts: tuple[Cut | None, ...]

    @property
    def watermark(self) -> Watermark:
        """What these cuts claim."""
        return watermark(self.cuts)


async def read_progress(log: Log) -> Progress:
    """One look at the topic as it is now. Raises LogCorrupt."""
    return (await _fold_all(log))[0]


class ProgressWatch:
    """Follows the topic; used as `async with`. Raises LogCorrupt."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._progress = Progress(None, None, (None,) * log.partitions)
        self._reader: Reader | None = None

    async def __aenter__(self) -> Self:
        self._progress, positions = await _fold_all(self._log)
        self._reader = await self._log.reader(positions)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._reader is not None:
            await self._reader.close()

    @property
    def progress(self) -> Progress:
        """As of the last look."""
        return self._progress

    async def look(self, wait_seconds: float = 0.0) -> Progress:
        """Everything committed up to now; waits at most so long for something new."""
        if self._reader is None:
            raise RuntimeError("a ProgressWatch is used as `async with`")
        while records := await self._reader.read(READ_RECORDS_MAX, wait_seconds):
            for record in records:
                self._progress = folded(self._progress, record)
            if len(records) < READ_RECORDS_MAX:
                break
            wait_seconds = 0.0
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
    return progress


async def _fold_all(log: Log) -> tuple[Progress, Mapping[TopicPartition, Offset]]:
    progress = Progress(None, None, (None,) * log.partitions)
    positions: dict[TopicPartition, Offset] = {}
    for partition in range(log.partitions + 1):  # N holds config and head; N + 1 is not for sinks
        at = TopicPartition(Topic.PROGRESS, partition)
        table = await log.table(at)
        positions[at] = table.next_offset
        for record in table.rows.values():
            progress = folded(progress, record)
    return progress, positions
