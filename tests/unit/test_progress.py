"""The watermark, and folding the progress topic."""

from __future__ import annotations

import pytest

from schemas.codec import encode
from schemas.errors import LogCorrupt
from schemas.records import BackfillProgress, Config, Cut, Head
from schemas.topics import Offset, Topic
from streams.log import Outgoing, Record
from streams.memory_log import MemoryLog
from streams.progress import Progress, ProgressWatch, Watermark, folded, read_progress, watermark


def cut(serial: int = 0, base: int = 0, backfill: BackfillProgress | None = None) -> Cut:
    """A cut of which only the claim matters."""
    return Cut(1, 2, 3, 4, 5, base=base, serial=serial, backfill=backfill)


def test_it_is_the_least_marker_of_the_partitions() -> None:
    """The slowest partition decides."""
    assert Watermark(70, 0, 70) == watermark([cut(90), cut(70), cut(80)])


@pytest.mark.parametrize("others", [[None], [cut(0)], [None, cut(0)]])
def test_a_partition_without_a_marker_means_none(others: list[Cut | None]) -> None:
    """Neither a partition that never wrote nor one without a marker allows a claim."""
    assert Watermark(None, 0, 0) == watermark([cut(90), *others])


def test_no_partition_at_all_claims_nothing() -> None:
    """An empty set of cuts is no proof."""
    assert watermark([]).serial is None


def test_a_log_that_starts_late_claims_only_what_came_after() -> None:
    """Without a backfill there is no watermark, but (base, reached] is complete."""
    assert Watermark(None, 50, 90) == watermark([cut(90, base=50)])


def test_an_owed_backfill_is_counted() -> None:
    """Until every partition has passed the closing marker there is none, and n/m is told."""
    cuts = [
        cut(90, base=50, backfill=BackfillProgress("r", names=10, done=4)),
        cut(95, base=50, backfill=BackfillProgress("r", names=20, done=20, closed=True)),
        cut(99),
    ]
    assert Watermark(None, 50, 90, 24, 30) == watermark(cuts)


def test_a_backfill_that_is_closed_everywhere_is_not_counted() -> None:
    """Its map was older than the base: nothing is claimed, and nothing is under way."""
    closed = BackfillProgress("r", names=20, done=20, closed=True)
    assert Watermark(None, 50, 90) == watermark([cut(90, base=50, backfill=closed)])


def test_a_second_backfill_does_not_take_the_watermark_away() -> None:
    """Once base is 0 the claim holds, whatever is fetched again."""
    assert Watermark(90, 0, 90) == watermark([cut(90, backfill=BackfillProgress("r2", 10, 4))])


def test_folding_skips_what_it_does_not_know() -> None:
    """Keys of later versions and tombstones change nothing."""
    nothing = Progress(None, None, (None,))
    for key, value in (("p", None), ("later", b"{}"), ("config", b"[]")):
        record = Record(Topic.PROGRESS, 0, Offset(0), 0, key, value, ())
        assert nothing == folded(nothing, record)


def test_a_cut_that_cannot_be_read_is_an_error() -> None:
    """Guessing a position would lose records."""
    record = Record(Topic.PROGRESS, 0, Offset(0), 0, "p", b'{"changelog":"x"}', ())
    with pytest.raises(LogCorrupt):
        folded(Progress(None, None, (None,)), record)


async def test_the_watch_sees_what_comes_and_a_look_sees_what_is() -> None:
    """Config, head and cuts of every partition, at once and afterwards."""
    log = MemoryLog(2)
    config = Config("log-1", 2, 1)
    await log.append([Outgoing(Topic.PROGRESS, "config", encode(config), partition=2)])
    async with ProgressWatch(log) as watch:
        assert Progress(config, None, (None, None)) == watch.progress
        head = Head(9, 0, 1, (3, 4))
        await log.append(
            [
                Outgoing(Topic.PROGRESS, "head", encode(head), partition=2),
                Outgoing(Topic.PROGRESS, "p", encode(cut(5)), partition=1),
                Outgoing(Topic.PROGRESS, "p", encode(cut(7)), partition=1),
                Outgoing(Topic.PROGRESS, "hold", b"{}", partition=3),
            ]
        )
        assert Progress(config, head, (None, cut(7))) == await watch.look(1.0)
    assert Progress(config, head, (None, cut(7))) == await read_progress(log)
