"""When the index is asked, and what its word is worth."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from processors.agenda import Agenda, Lane
from processors.decide import (
    Attempt,
    Body,
    Effect,
    Failed,
    Missing,
    Patience,
    Reply,
    Unchanged,
    Verdict,
    decide,
)
from processors.json_api import (
    AGAIN_MS,
    ALL,
    LACKING_IN_A_ROW,
    PROBE_MS_FIRST,
    PROBE_MS_MAX,
    PROBED_NAMES,
    JsonApi,
)
from processors.publication import Answered
from processors.second_source import display_name, stands_still, wanted
from schemas.names import normalize
from schemas.records import Kind, Reason, Source, State, Status
from schemas.topics import Offset, Topic
from streams.states import States

NOW = 1_800_000_000_000
PATIENCE = Patience(schedule_seconds=(1, 2, 4))
NAME = normalize("foo")
OK = State(Status.OK, 10, body=10, name="Foo", hash="a", etag='"e"')
OWED = replace(
    OK, status=Status.PARKED, event=20, event_kind=Kind.ADD_FILE, event_time=NOW // 1000 - 400,
    event_name="Foo",
)  # fmt: skip
FAILED = Failed("undecodable: x")


def asks(state: State, reply: Reply, event: int | None = None) -> bool:
    return wanted(state, reply, Attempt(state.event if event is None else event, NOW), PATIENCE)


def index(serial: int, text: str = "b", source: Source = Source.INDEX) -> Body:
    return Body(serial, text, "Foo", "", source=source)


def answer(state: State, reply: Reply) -> Verdict:
    return decide(state, reply, Attempt(state.event, NOW), PATIENCE)


def test_a_failure_asks_at_the_last_attempt() -> None:
    """Not before: most failures pass. Never for an event that is not the newest any more."""
    attempts = [asks(replace(OWED, attempts=n, first_ms=NOW), FAILED) for n in range(5)]

    assert attempts == [False, False, False, True, True]
    assert not asks(replace(OWED, attempts=3), FAILED, event=19)
    assert asks(replace(OWED, attempts=3), Failed("transport: x"))


def test_who_was_served_by_the_index_asks_at_once() -> None:
    """Unless all of upstream is away."""
    served = replace(OWED, source=Source.INDEX)

    assert asks(served, FAILED)
    assert asks(served, Missing())
    assert not asks(served, Failed("transport: no connection"))
    assert not asks(served, Unchanged())
    assert not asks(served, index(20))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),  # the first 404
        ({"missing_ms": NOW - 299_000}, False),
        ({"missing_ms": NOW - 300_000}, True),  # would be a tombstone now
        ({"missing_ms": NOW - 300_000, "event_kind": Kind.REMOVE_PROJECT}, False),
        ({"missing_ms": NOW - 300_000, "event_kind": Kind.QUARANTINE}, False),
        ({"reason": "not-in-index"}, True),  # a list may be incomplete, the page is not
    ],
)
def test_a_404_asks_before_it_is_believed(changes: dict[str, object], expected: bool) -> None:
    """Not where a row or a map says the same."""
    assert asks(replace(OWED, **changes), Missing()) is expected


def test_what_the_index_makes_replaces_what_is_older_only() -> None:
    """At an equal serial it tells less than what the JSON API told."""
    newer, equal = answer(OWED, index(20)), answer(replace(OK, ask=Reason.SWEEP), index(10))

    assert newer.effect is Effect.PUBLISH
    assert (newer.state.status, newer.state.source) == (Status.OK, Source.INDEX)
    assert newer.state.etag == ""
    assert equal.effect is Effect.NONE
    assert (equal.state.status, equal.state.source, equal.state.etag) == (Status.OK, "json", '"e"')
    assert answer(replace(OWED, body=15, event=15), index(12)).effect is Effect.NONE


@pytest.mark.parametrize(
    ("before", "due"),
    [
        (replace(OWED, attempts=3), True),
        (replace(OWED, attempts=3, source=Source.INDEX), False),  # written when that began
        # The index told of an absence once: of a document it has told nothing yet.
        (State(Status.PENDING, 20, gone=10, body=9, source=Source.INDEX, attempts=3), True),
        (State(Status.PENDING, 20, source=Source.INDEX, attempts=3), True),
        # The index could not be asked then: the letter is written.
        (replace(OWED, status=Status.DEAD, reason="undecodable: y", attempts=4), False),
        (replace(OWED, status=Status.DEAD, reason="oversized: y", attempts=4), True),
    ],
)
def test_a_stand_in_leaves_one_letter(before: State, due: bool) -> None:
    """When the JSON API is given up for a name, and not again with each event."""
    verdict = answer(before, index(20))

    assert verdict.effect is Effect.PUBLISH
    assert Answered(NAME, before, verdict, NOW, failed=FAILED.reason).given_up is due
    assert not Answered(NAME, before, verdict, NOW).given_up  # a 404 is no failure


def test_a_page_that_stands_still_replaces_no_failure() -> None:
    """Else the name would count as stale, without a letter that says why."""
    assert stands_still(OWED, 10)
    assert not stands_still(OWED, 11)
    assert not stands_still(OK, 10)
    assert not stands_still(State(Status.PENDING, 20), 10)
    assert answer(replace(OWED, attempts=3), FAILED).effect is Effect.DEAD_LETTER


def test_the_json_api_takes_back_its_place_at_once() -> None:
    """No second look: it is known that what is published tells less."""
    from_index = replace(OK, source=Source.INDEX)
    back = answer(from_index, Body(10, "c", "Foo", '"n"'))

    assert back.effect is Effect.PUBLISH
    assert (back.state.source, back.state.etag) == (Source.JSON, '"n"')
    completed = replace(OK, source=Source.BOTH)
    assert answer(completed, Body(10, "c", "Foo", "")).effect is Effect.PUBLISH
    assert answer(completed, index(10)).effect is Effect.NONE
    # Shapes roll out without a serial: with the rest of the document it is told twice, as ever.
    assert answer(OK, index(10, source=Source.BOTH)).state.seen == "b"


def test_nothing_comes_back_from_the_dead() -> None:
    """After a removal the index's word counts no more than the JSON API's."""
    gone = replace(OK, status=Status.ABSENT, gone=20, event=20, event_kind=Kind.REMOVE_PROJECT)

    assert answer(gone, index(10)).effect is Effect.NONE
    assert answer(gone, index(30)).effect is Effect.NONE


def test_an_absence_by_the_index_is_remembered() -> None:
    """A release without files is in the JSON API alone; a look that finds nothing settles it."""
    asked = State(Status.ABSENT, 7, attempts=1, next_ms=NOW, ask=Reason.BACKFILL, event_name="Foo")
    absent = answer(asked, Missing(by_index=True)).state

    assert (absent.status, absent.exception, absent.source) == (Status.ABSENT, False, Source.INDEX)
    again = answer(absent, Missing())
    assert again.effect is Effect.NONE
    assert (again.state.exception, again.state.source) == (False, Source.JSON)
    assert answer(absent, Body(7, "c", "Foo", "")).effect is Effect.PUBLISH


def test_a_doubt_needs_many_in_a_row() -> None:
    """One whole document in between and it begins anew."""
    api = JsonApi()
    looks = [api.missed() for _ in range(LACKING_IN_A_ROW - 1)]
    api.caught(NOW)

    assert not any(looks)
    assert not api.whole(NOW)  # there was no doubt to end
    for _ in range(LACKING_IN_A_ROW - 1):
        api.lacked()
    assert api.missed()
    api.caught(NOW)
    assert api.missed()
    assert [True, False] == [api.whole(NOW), api.whole(NOW)]


def test_absent_names_cost_an_eighth() -> None:
    """A round of second looks, where the index has nothing either."""
    api = JsonApi()

    assert sum(api.missed() for _ in range(800)) == 800 // LACKING_IN_A_ROW


@pytest.mark.parametrize(
    ("lacking", "most"), [(LACKING_IN_A_ROW, PROBED_NAMES), (1, LACKING_IN_A_ROW)]
)
def test_probes_come_ever_later(lacking: int, most: int) -> None:
    """Up to a quarter of an hour apart: three names in a doubt, eight where too few raise none."""
    api = JsonApi(lacking=lacking)
    api.caught(NOW)
    assert not api.due(NOW, names=1)
    pauses, now = [], NOW
    for _ in range(12):
        assert api.probe_ms is not None
        pauses.append(api.probe_ms - now)
        now = api.probe_ms
        assert api.due(now - 1, names=1) == 0
        assert api.due(now, names=1) == most

    assert pauses[:3] == [PROBE_MS_FIRST, 2 * PROBE_MS_FIRST, 4 * PROBE_MS_FIRST]
    assert pauses[-1] == PROBE_MS_MAX


def test_no_probe_without_a_name() -> None:
    """None was stood in for, or the last of them has its own document: a next one begins anew."""
    api, first = JsonApi(), PROBE_MS_FIRST
    looks = [(NOW, 0), (NOW, 1), (NOW + first, 1), (NOW + PROBE_MS_MAX, 0), (NOW, 1)]
    due_ms = [(api.due(now_ms, names), api.due_ms)[1] for now_ms, names in looks]

    assert due_ms == [None, NOW + first, NOW + 3 * first, None, NOW + first]


def test_after_a_doubt_all_are_asked_some_times_more() -> None:
    """Answers that were on their way when it ended are found by that."""
    api = JsonApi(doubted=True)
    assert api.whole(NOW)

    looks = sorted({0} | {wait + around for wait in AGAIN_MS for around in (-1, 0, 1)})
    asked = [wait for wait in looks if api.due(NOW + wait, names=1) == ALL]
    assert asked == list(AGAIN_MS)


def test_makeshift_names_are_due_some_at_a_time_or_all() -> None:
    """Each in its turn. What is absent by the index's word shows nothing, so it comes with all."""
    states = States({})
    for name in ("a", "b", "c"):
        states.put(normalize(name), replace(OK, source=Source.INDEX, etag=""))
    states.put(normalize("d"), OK)
    states.put(normalize("e"), State(Status.ABSENT, 5, source=Source.INDEX))
    states.put(normalize("f"), replace(OK, source=Source.BOTH))  # the JSON API's is no other
    positions = {Topic.CHANGELOG: Offset(0), Topic.REFETCH: Offset(0)}
    agenda = Agenda(states, positions, now=NOW, settle_ms=0, slots=4)

    assert (agenda.makeshift_names, agenda.by_index) == (3, 4)
    agenda.ask_makeshift(NOW, most=1)
    first = agenda.next_work(NOW)
    assert first is not None
    assert (first.name, first.lane, first.etag) == ("a", Lane.PARKED, "")
    assert agenda.next_work(NOW) is None
    agenda.answered(first.name, replace(OK, source=Source.JSON), NOW)
    agenda.ask_makeshift(NOW)
    rest = [agenda.next_work(NOW), agenda.next_work(NOW), agenda.next_work(NOW)]
    assert [work and work.name for work in rest] == ["b", "c", "e"]
    assert agenda.next_work(NOW) is None


@pytest.mark.parametrize(
    ("state", "serial", "expected"),
    [
        (OWED, 20, "Foo"),
        (replace(OWED, event_name="FOO"), 20, "FOO"),
        (replace(OWED, event_name="FOO"), 19, "Foo"),  # a row under an earlier spelling
        (replace(OWED, event_name="FOO", name=""), 19, "FOO"),
        (replace(OWED, event_name="F.O.O"), 20, "Foo"),  # another project's: cannot be
        (State(Status.PENDING, 1), 1, ""),
        (State(Status.PENDING, 1, event_name="no name"), 1, ""),
    ],
)
def test_the_journal_says_how_a_name_is_spelled(state: State, serial: int, expected: str) -> None:
    """The row of the page's own serial does, else what is published."""
    assert display_name(state, NAME, serial) == expected
