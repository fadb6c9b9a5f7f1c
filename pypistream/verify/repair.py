"""The asks of `verify --repair`: plain writes into `refetch`, which any process may make."""

from __future__ import annotations

from collections.abc import Sequence

from producers.reconcile import UNREAD_ASKS_MAX
from pypistream.verify.facts import Finding, Listed, Seen, Side, Why
from pypistream.verify.report import RepairReport
from schemas.names import NormalizedName
from schemas.records import Ask, Reason, State
from schemas.topics import partition_of
from streams.asks import ask_record
from streams.clock import Clock
from streams.log import Log
from streams.progress import read_progress, unread_asks

APPEND_RECORDS_MAX = 1_000  # of one write
ASKS_MAX = 100_000  # kept while names are compared, 20 MB; the next --repair continues

_LOG_SIDES = (Side.UPSTREAM, Side.STATE, Side.METADATA, Side.RELEASES)
_OWED = (Why.PENDING, Why.PARKED, Why.ABSENT_ONCE)  # these are asked for anyway
_DOCUMENTS = (Side.METADATA, Side.RELEASES)


def ask_for(
    seen: Seen, state: State | None, findings: Sequence[Finding], map_serial: int
) -> tuple[NormalizedName, Ask] | None:
    """The ask that mends a name; None if no ask would.

    If only a sink differs, it is mended from the log. If the log differs from its own `state`, the
    document itself is needed, and asked for without an ETag. Pure.
    """
    wanted = [each for each in findings if each.side in _LOG_SIDES and each.why not in _OWED]
    if not wanted:
        return None
    spelled = state.name or state.event_name if state is not None else ""
    listed = seen.listed or Listed(spelled or seen.name, state.event if state is not None else 0)
    ask = Ask(
        listed.name,
        Reason.REPAIR,
        listed.serial,
        map_serial,
        gone=map_serial > 0 and seen.listed is None,
        whole=any(each.side in _DOCUMENTS for each in wanted),
    )
    return NormalizedName(seen.name), ask


async def repair(
    log: Log, clock: Clock, asks: Sequence[tuple[NormalizedName, Ask]]
) -> RepairReport:
    """Write as many asks as there is room for, even if no worker reads them."""
    room = await _room(log)
    fitting: list[tuple[NormalizedName, Ask]] = []
    for name, ask in asks[:ASKS_MAX]:
        partition = partition_of(name, log.partitions)
        if room[partition] > 0:
            room[partition] -= 1
            fitting.append((name, ask))
    for start in range(0, len(fitting), APPEND_RECORDS_MAX):
        chunk = fitting[start : start + APPEND_RECORDS_MAX]
        now_ms = clock.now_ms()
        await log.append([ask_record(name, ask, now_ms) for name, ask in chunk])
    return RepairReport(len(fitting), len(asks) - len(fitting))


async def _room(log: Log) -> list[int]:
    """How many asks each partition may take until a backfill would wait."""
    unread = await unread_asks(log, await read_progress(log))
    return [UNREAD_ASKS_MAX - count for count in unread]
