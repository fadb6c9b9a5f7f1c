"""The changes feed has one order, however its partitions are read, and wherever one resumes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Head
from schemas.topics import Offset, Topic
from sinks.changes import feed as changes_feed
from sinks.changes.feed import ChangesReader, HeadWatch, Place, serial_before
from sinks.changes.order import Change, ChangesOrder
from sinks.changes.pages import page_after, page_before
from streams.log import Log, Record, TopicPartition
from streams.memory_log import MemoryLog
from tests.support.changes_world import BEGIN, Journal, Page, row
from tests.support.logs import read_all

NAMES = [f"name-{number}" for number in range(30)]
pytestmark = pytest.mark.timeout(900)  # of the long run: five thousand logs each
Told = list[tuple[int, str, str]]


@pytest.fixture(autouse=True, scope="module")
def _little_displaced() -> Iterator[None]:
    """Few rows are displaced here, so that a place that was found is no place near the start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(changes_feed, "DISPLACED_OFFSETS_MAX", 24)
        patch.setattr(changes_feed, "READ_RECORDS", 7)
        yield


@st.composite
def pages(draw: st.DrawFn) -> list[Page]:
    """Pages of rising rows; with markers, late rows, and rows an index gives ahead of itself."""
    serial, found = 0, []
    ahead: set[int] = set()
    for _ in range(draw(st.integers(0, 12))):
        by_index = draw(st.booleans())
        rows = []
        for _ in range(draw(st.integers(0, 6))):
            serial += draw(st.integers(1, 3))
            name = draw(st.sampled_from(NAMES))
            if serial not in ahead:  # upstream gives a serial once
                rows.append(row(serial, name, by_index=by_index))
        head = serial
        if by_index and draw(st.booleans()):
            name = draw(st.sampled_from(NAMES))
            given = serial + draw(st.integers(1, 5))
            if given not in ahead:
                ahead.add(given)
                rows.append(row(given, name, by_index=True))
                if draw(st.booleans()):  # and the journal has it, too
                    found.append(Page(rows, head, marker=True))
                    rows = [row(given, name)]
                    serial = head = given
                    by_index = False
        if draw(st.booleans()):
            rows.insert(0, row(draw(st.integers(1, 500)), "old", late=True))
        found.append(Page(rows, head, marker=by_index or draw(st.booleans())))
    return found


def told(changes: Sequence[Change]) -> Told:
    return [(each.serial, each.project, each.entry.action) for each in changes]


async def written(partitions: int, given: Sequence[Page]) -> tuple[Log, Journal]:
    log = MemoryLog(partitions)
    journal = Journal(log)
    await journal.found()
    for page in given:
        await journal.write(page)
    return log, journal


def expected(given: Sequence[Page], upto: int) -> Told:
    """The rows that are not late, each serial of a project once, up to the head, sorted."""
    rows = {
        (int(headers["event-serial"]), str(record.key), "new release")
        for page in given
        for record in page.rows
        for headers in [dict(record.headers)]
        if "late" not in headers and int(headers["event-serial"]) <= upto
    }
    return sorted(rows)


async def read_on(log: Log, head: Head, place: Place) -> tuple[Told, Place]:
    async with ChangesReader(log, head, place) as reader:
        found = [change async for piece in reader.up_to(head) for change in piece]
        return told(found), reader.place


@given(st.sampled_from([1, 3, 12]), pages(), st.integers(0, 2**32), st.data())
async def test_any_interleaving_gives_the_same_order(
    partitions: int, given: list[Page], seed: int, data: st.DataObject
) -> None:
    """Records of the partitions shuffled together, given as soon as possible: nothing differs."""
    log, journal = await written(partitions, given)
    places = [TopicPartition(Topic.CHANGELOG, number) for number in range(partitions)]
    by_partition: list[list[Record]] = [
        [record for record in await read_all(log, [at]) if record.topic is Topic.CHANGELOG]
        for at in places
    ]
    chance = random.Random(seed)
    above = data.draw(st.integers(0, journal.head.serial + 2))
    order = ChangesOrder(partitions, above)
    found: Told = []
    while any(by_partition):
        lane = chance.choice([each for each in by_partition if each])
        order.take(lane.pop(0))
        if chance.random() < 0.5:
            found += told(order.ready())
    order.settle(journal.head.serial)
    found += told(order.ready())

    assert [each for each in expected(given, journal.head.serial) if each[0] > above] == found


@given(st.sampled_from([1, 3]), pages(), st.data())
async def test_restarts_at_every_head_leave_no_gap_and_repeat_nothing(
    partitions: int, given: list[Page], data: st.DataObject
) -> None:
    """A head that lags, a reader that begins anew by place or by plain serial: one sequence."""
    log = MemoryLog(partitions)
    journal = Journal(log)
    await journal.found()
    place, found = Place(0), Told()
    async with HeadWatch(log) as heads:
        for page in given:
            await journal.write(page)
            if data.draw(st.booleans()):
                continue  # the reader has not looked yet
            known = await heads.look(0)
            assert known is not None
            more, place = await read_on(log, known.head, place)
            found += more
            if data.draw(st.booleans()):
                place = Place(place.serial)  # all that a client keeps
        known = await heads.look(0)
    assert known is not None
    more, place = await read_on(log, known.head, place)

    assert expected(given, journal.head.serial) == found + more
    assert place.serial == journal.head.serial


@given(pages(), st.integers(1, 5), st.data())
async def test_pages_in_both_directions_cover_all(
    given: list[Page], limit: int, data: st.DataObject
) -> None:
    """Paged forwards from any serial, or backwards from the end, with a filter: each row once."""
    log, journal = await written(3, given)
    head = journal.head
    names = set(data.draw(st.lists(st.sampled_from(NAMES), min_size=1)))
    since = data.draw(st.integers(0, head.serial))
    forwards, at = Told(), since
    while at < head.serial:
        page = await page_after(log, head, at, limit, lambda change: change.project in names)
        assert page.through > at
        forwards += told(page.changes)
        at = page.through
    backwards, at = Told(), head.serial
    while at > head.base:
        page = await page_before(log, head, at, limit, lambda change: change.project in names)
        assert page.after < at
        backwards = told(page.changes) + backwards
        at = page.after

    wanted = [each for each in expected(given, head.serial) if each[1] in names]
    assert [each for each in wanted if each[0] > since] == forwards
    assert wanted == backwards


@given(pages(), st.data())
async def test_a_time_is_a_serial(given: list[Page], data: st.DataObject) -> None:
    """Reading on after it gives what happened at that time or later, and nothing is left out."""
    log, journal = await written(3, given)
    moment = data.draw(st.integers(0, journal.head.serial + 2))
    serial = await serial_before(log, journal.head, BEGIN + moment)
    found, _ = await read_on(log, journal.head, Place(serial))

    wanted = [each for each in expected(given, journal.head.serial) if each[0] >= moment]
    assert wanted == found


async def test_a_row_that_an_index_gave_ahead_of_itself_hides_none_before_it() -> None:
    """It lies before the journal's rows of its time, which are looked for behind it."""
    given = [
        Page([row(1, "a"), row(9, "a", by_index=True)], head=1, marker=True),
        *(Page([row(serial, "a")], head=serial) for serial in range(2, 9)),
    ]
    log, journal = await written(1, given)
    for moment in range(1, 9):
        assert await serial_before(log, journal.head, BEGIN + moment) == moment - 1


async def test_one_serial_for_two_projects_is_never_divided() -> None:
    """Upstream gives a serial once; should it not, no page ends between the two."""
    given = [Page([row(1, "a"), row(2, "b"), row(2, "c"), row(3, "d")])]
    log, journal = await written(4, given)
    page = await page_after(log, journal.head, 0, 2, lambda _: True)
    before = await page_before(log, journal.head, 2, 1, lambda _: True)

    assert [(1, "a"), (2, "b"), (2, "c")] == sorted(each[:2] for each in told(page.changes))
    assert [True, False, True] == [change.last for change in page.changes]
    assert (2, 1) == (page.through, before.after)
    assert {"b", "c"} == {change.project for change in before.changes}


async def test_a_reader_left_in_the_middle_goes_on_at_its_place() -> None:
    """Many rows, read in pieces: the place after a piece is exactly there."""
    rows = [row(serial, f"p{serial % 50}") for serial in range(1, 5001)]
    log, journal = await written(5, [Page(rows[i : i + 700]) for i in range(0, 5000, 700)])
    place, found = Place(0), Told()
    while place.serial < journal.head.serial:
        async with (
            ChangesReader(log, journal.head, place) as reader,
            aclosing(reader.up_to(journal.head)) as pieces,
        ):
            while reader.serial == place.serial:  # what was read of one partition waits for others
                found += told(await anext(pieces))
            place = reader.place
            assert Offset(0) <= min((place.positions or {}).values())

    assert [serial for serial, _, _ in found] == list(range(1, 5001))
