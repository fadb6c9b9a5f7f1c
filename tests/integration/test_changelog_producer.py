"""The producer on the in-memory log: every row once, in order; markers, restarts, bad rows."""

from __future__ import annotations

import asyncio

import pytest

from producers.changelog import ChangelogProducer, ProducerSettings, _backoff
from producers.history import CALL_SECONDS
from schemas import codec
from schemas.errors import LogMismatch, SerialJumped, UpstreamUnavailable, WriterFenced
from schemas.records import ChangelogEntry, DeadLetter, Filter, Marker
from schemas.topics import Topic, partition_of
from streams.log import LogUnavailable, Record
from streams.memory_log import MemoryLog
from streams.progress import read_progress
from tests.support.schema_check import ValidatingLog
from tests.support.scripted_upstream import ScriptedUpstream
from upstream.source import BadRow, JournalPage, JournalRow


class FakeClock:
    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms


class World:
    def __init__(self, partitions: int = 1) -> None:
        self.log = ValidatingLog(MemoryLog(partitions))
        self.upstream = ScriptedUpstream()
        self.clock = FakeClock()

    async def producer(self, **settings: object) -> ChangelogProducer:
        made = ChangelogProducer(
            self.log,
            self.upstream,
            self.clock,
            ProducerSettings(**settings),  # type: ignore[arg-type]
        )
        await made.begin()
        return made

    async def records(self, topic: Topic) -> list[Record]:
        reader = await self.log.reader(await self.log.starts(topic))
        found = []
        while batch := await reader.read(1_000, 0):
            found += batch
        return found

    async def entries(self) -> list[ChangelogEntry]:
        return [
            codec.decode(record.value or b"", ChangelogEntry)
            for record in await self.records(Topic.CHANGELOG)
            if record.key is not None
        ]

    async def markers(self) -> list[Marker]:
        return [
            codec.decode(record.value or b"", Marker)
            for record in await self.records(Topic.CHANGELOG)
            if record.key is None
        ]


@pytest.fixture
def world() -> World:
    return World()


async def test_a_new_log_starts_at_upstream_s_present_serial(world: World) -> None:
    world.upstream.row(5, "old", "create")
    producer = await world.producer()
    world.upstream.row(6, "new", "create")
    await producer.poll()

    assert [entry.serial for entry in await world.entries()] == [6]
    assert await world.markers() == [Marker(5, 6, world.clock.ms // 1000)]


async def test_every_row_is_there_once_in_order_over_pages_and_restarts(world: World) -> None:
    world.upstream.page_rows_max = 7
    for serial in range(1, 60):
        world.upstream.row(serial * 3, f"P.{serial % 5}", "new release", "1")
    producer = await world.producer(base=0)
    await producer.poll()
    for serial in range(60, 80):
        world.upstream.row(serial * 3, f"P.{serial % 5}", "new release", "1")
    successor = await world.producer(base=0)
    await successor.poll()

    assert [entry.serial for entry in await world.entries()] == [3 * s for s in range(1, 80)]
    assert {record.key for record in await world.records(Topic.CHANGELOG) if record.key} == {
        f"p-{number}" for number in range(5)
    }


async def test_the_older_producer_is_fenced(world: World) -> None:
    older = await world.producer(base=0)
    await world.producer(base=0)
    world.upstream.row(1, "foo", "create")

    with pytest.raises(WriterFenced):
        await older.poll()


async def test_a_marker_goes_into_every_partition_and_the_head_knows_their_offsets() -> None:
    world = World(4)
    world.upstream.row(1, "foo", "create")
    producer = await world.producer(base=0)
    await producer.poll()

    assert len(await world.markers()) == 4
    head = (await read_progress(world.log)).head
    assert head is not None
    expected = [1, 1, 1, 1]
    expected[partition_of("foo", 4)] = 2
    assert list(head.changelog) == expected


async def test_markers_are_rare_but_never_forgotten(world: World) -> None:
    """At most one per ten seconds; one that was held back comes with a later, empty poll."""
    producer = await world.producer(base=0)
    await producer.poll()
    world.upstream.row(1, "foo", "create")
    await producer.poll()
    assert [marker.serial for marker in await world.markers()] == [0]

    world.clock.ms += 10_000
    await producer.poll()
    await producer.poll()

    assert [marker.serial for marker in await world.markers()] == [0, 1]


async def test_an_upstream_error_passes_and_nothing_is_lost(world: World) -> None:
    producer = await world.producer(base=0)
    world.upstream.row(1, "foo", "create")
    world.upstream.journal_errors.append(UpstreamUnavailable("down"))

    with pytest.raises(UpstreamUnavailable):
        await producer.poll()
    await producer.poll()

    assert [entry.serial for entry in await world.entries()] == [1]


async def test_a_row_with_a_name_that_is_none_is_a_dead_letter_and_the_page_goes_on(
    world: World,
) -> None:
    world.upstream.row(1, "foo", "create")
    world.upstream.row(2, "../../etc/passwd", "create")
    world.upstream.row(3, "bar", "create")
    producer = await world.producer(base=0)
    await producer.poll()

    letters = await world.records(Topic.DEAD_LETTER)
    assert [entry.serial for entry in await world.entries()] == [1, 3]
    assert [codec.decode(letter.value or b"", DeadLetter).serial for letter in letters] == [2]
    assert [marker.serial for marker in await world.markers()] == [3]


async def test_a_serial_that_jumps_beyond_belief_stops_everything(world: World) -> None:
    producer = await world.producer(base=0)
    world.upstream.journal.append(JournalRow("foo", None, 1, "create", 10_000_001))

    with pytest.raises(SerialJumped):
        await producer.poll()
    assert await world.entries() == []


async def test_a_serial_below_ours_is_waited_out(world: World) -> None:
    world.upstream.row(9, "foo", "create")
    producer = await world.producer(base=0)
    await producer.poll()
    world.upstream.journal.clear()
    world.upstream.row(3, "foo", "create")

    assert await producer.poll() == 0
    assert [entry.serial for entry in await world.entries()] == [9]


async def test_another_filter_is_refused_with_what_mends_it(world: World) -> None:
    await world.producer(base=0, wanted=Filter(("a*",)))

    with pytest.raises(LogMismatch) as caught:
        await world.producer(base=0, wanted=Filter(("b*",)))
    assert "--data" in caught.value.hint
    await world.producer(base=0)


async def test_a_row_whose_time_no_calendar_has_stops_nothing(world: World) -> None:
    """Its header says the nearest moment that RFC 3339 can say; the value is as upstream wrote."""
    producer = await world.producer(base=0)
    world.upstream.journal.append(JournalRow("foo", None, 2**62, "create", 1))
    await producer.poll()

    assert [entry.time for entry in await world.entries()] == [2**62]
    headers = [r.header("ce_time") for r in await world.records(Topic.CHANGELOG) if r.key]
    assert headers == ["9999-12-31T23:59:59Z"]


async def test_a_bad_row_s_serial_does_not_poison_the_head(world: World) -> None:
    producer = await world.producer(base=0)
    page = JournalPage((), (BadRow("the name is no text", 2**62, "x"),), full=False)
    world.upstream.journal_since = lambda _serial: _now(page)  # type: ignore[assignment, method-assign]

    with pytest.raises(SerialJumped):
        await producer.poll()
    assert producer.head is not None
    assert producer.head.serial == 0


async def _now(page: JournalPage) -> JournalPage:
    return page


@pytest.mark.parametrize("bad", [(), (BadRow("the name is no text", 0, "x"),)])
async def test_a_full_page_that_leads_no_further_is_an_error(
    world: World, bad: tuple[BadRow, ...]
) -> None:
    """Asked for again at once it would come again: ten megabytes, ten times a second, for ever."""
    producer = await world.producer(base=5)
    known = JournalRow("foo", None, 1, "create", 5)
    page = JournalPage((known,) if not bad else (), bad, full=True)
    world.upstream.journal_since = lambda _serial: _now(page)  # type: ignore[assignment, method-assign]

    async with asyncio.timeout(60):
        with pytest.raises(UpstreamUnavailable, match="leads no further"):
            await producer.poll()


def test_an_upstream_that_asks_for_no_wait_gets_one() -> None:
    """`Retry-After: 0`, or a date that is past by our clock."""
    assert _backoff(UpstreamUnavailable("down", retry_after_seconds=0.0), 1, 10.0) == CALL_SECONDS
    assert _backoff(UpstreamUnavailable("down", retry_after_seconds=90.0), 1, 10.0) == 90.0


async def test_a_log_that_fails_ends_the_run_so_that_the_id_is_taken_anew(world: World) -> None:
    """The writer is spent after an error; upstream's own errors are waited out instead."""
    world.upstream.row(1, "foo", "create")
    producer = await world.producer(base=0, poll_seconds=0.01)
    await world.log.close()

    with pytest.raises(LogUnavailable):
        async with asyncio.timeout(60):
            await producer.run()
