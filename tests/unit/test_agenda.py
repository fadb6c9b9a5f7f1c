"""Who is asked for next, and how far a partition is decided."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from processors.agenda import SETTLE_ROUNDS_MAX, URGENT, WAITING_MS_MAX, Agenda, Lane
from schemas.names import NormalizedName
from schemas.records import Ask, ChangelogEntry, Kind, Reason, State, Status
from schemas.topics import Offset, Topic
from streams.states import States

NOW = 1_700_000_000_000
SETTLE_MS = 3_000
FOO, BAR, BAZ = (NormalizedName(name) for name in ("foo", "bar", "baz"))
SWEPT = NormalizedName("swept")
OK = State(Status.OK, 3, body=3, etag="x")


def agenda(*known: tuple[NormalizedName, State], slots: int = 8) -> Agenda:
    states = States({})
    for name, state in known:
        states.put(name, state)
    positions = {Topic.CHANGELOG: Offset(0), Topic.REFETCH: Offset(0)}
    return Agenda(states, positions, now=NOW, settle_ms=SETTLE_MS, slots=slots)


def entry(serial: int, at_ms: int = NOW) -> ChangelogEntry:
    return ChangelogEntry(serial, "Foo", None, at_ms // 1000, "new release", Kind.NEW_RELEASE)


def take(found: Agenda, offset: int, name: NormalizedName, serial: int, now: int = NOW) -> None:
    found.take_entry(Offset(offset), name, entry(serial, now), now)
    found.positions[Topic.CHANGELOG].read_to = Offset(offset + 1)


def ask(found: Agenda, offset: int, name: NormalizedName, serial: int = 5) -> None:
    found.take_ask(Offset(offset), name, Ask(name, Reason.BACKFILL, serial, 9), NOW)
    found.positions[Topic.REFETCH].read_to = Offset(offset + 1)


def settle(found: Agenda, name: NormalizedName) -> None:
    state = found.states.get(name)
    assert state is not None
    found.answered(name, replace(state, status=Status.OK, body=state.event, ask=None), NOW)


def test_a_burst_is_waited_out_and_costs_one_fetch() -> None:
    found = agenda()
    for offset in range(5):
        take(found, offset, FOO, 10 + offset, NOW + 400 * offset)

    assert found.next_work(NOW + SETTLE_MS) is None
    work = found.next_work(NOW + 1_600 + SETTLE_MS)
    assert work is not None
    assert (work.name, work.event, work.lane) == (FOO, 14, Lane.LIVE)
    assert found.next_work(NOW + 60_000) is None


def test_a_name_that_never_falls_silent_is_fetched_all_the_same() -> None:
    found = agenda()
    now = NOW
    for offset in range(40):
        now = NOW + offset * 1_000
        take(found, offset, FOO, 10 + offset, now)

    assert found.next_work(NOW + SETTLE_ROUNDS_MAX * SETTLE_MS) is not None


def test_live_events_come_before_parked_work_before_asks_before_second_looks_before_sweeps() -> (
    None
):
    parked = State(Status.PARKED, 3, attempts=1, first_ms=1, next_ms=NOW)
    absent = State(Status.ABSENT, 3, attempts=1, next_ms=NOW)
    found = agenda((BAR, parked), (BAZ, absent), (SWEPT, OK))
    found.take_ask(Offset(0), SWEPT, Ask("", Reason.SWEEP), NOW)
    ask(found, 1, NormalizedName("asked"))
    take(found, 0, FOO, 10, NOW - SETTLE_MS)

    lanes = []
    while work := found.next_work(NOW):
        lanes.append(work.lane)

    assert lanes == list(Lane)


def test_a_sweep_puts_nothing_off_that_was_asked_for_before() -> None:
    found = agenda((SWEPT, OK))
    found.take_ask(Offset(0), SWEPT, Ask("", Reason.OPERATOR), NOW)
    found.take_ask(Offset(1), SWEPT, Ask("", Reason.SWEEP), NOW)
    work = found.next_work(NOW)

    assert work is not None
    assert work.lane is Lane.REFETCH
    settle(found, SWEPT)
    assert len(found.positions[Topic.REFETCH]) == 0


def test_an_ask_for_what_a_sweep_asked_for_is_served_as_an_ask() -> None:
    found = agenda((SWEPT, OK))
    found.take_ask(Offset(0), SWEPT, Ask("", Reason.SWEEP), NOW)
    found.take_ask(Offset(1), SWEPT, Ask("", Reason.OPERATOR), NOW)

    assert [work.lane for work in iter(lambda: found.next_work(NOW), None)] == [Lane.REFETCH]


@pytest.mark.parametrize(("whole", "etag"), [(False, "x"), (True, "")])
def test_an_ask_for_the_whole_document_goes_without_an_etag(whole: bool, etag: str) -> None:
    found = agenda((SWEPT, OK))
    found.take_ask(Offset(0), SWEPT, Ask("", Reason.SWEEP, whole=whole), NOW)
    work = found.next_work(NOW)

    assert work is not None
    assert work.etag == etag


def test_nobody_waits_for_what_a_sweep_asked_for() -> None:
    found = agenda((SWEPT, OK))
    found.take_ask(Offset(0), SWEPT, Ask("", Reason.SWEEP), NOW)

    assert found.idle(NOW)
    assert found.next_work(NOW) is not None
    assert found.idle(NOW)


def test_the_last_slot_serves_only_urgent_work() -> None:
    found = agenda()
    ask(found, 0, FOO)

    assert found.next_work(NOW, URGENT) is None
    assert found.next_work(NOW) is not None


def test_one_fetch_per_name_is_in_flight_and_a_newer_event_follows_it() -> None:
    found = agenda()
    take(found, 0, FOO, 10, NOW - SETTLE_MS)
    assert found.next_work(NOW) is not None
    take(found, 1, FOO, 11, NOW)
    assert found.next_work(NOW + 60_000) is None

    state = found.states.get(FOO)
    assert state is not None
    found.answered(FOO, state, NOW)

    again = found.next_work(NOW + 60_000)
    assert again is not None
    assert again.event == 11


def test_the_position_is_the_lowest_entry_not_yet_decided() -> None:
    found = agenda()
    take(found, 0, FOO, 10, NOW - SETTLE_MS)
    take(found, 1, BAR, 11, NOW - SETTLE_MS)
    position = found.positions[Topic.CHANGELOG]
    found.next_work(NOW)
    found.next_work(NOW)

    settle(found, BAR)
    assert position.decided == 0
    settle(found, FOO)
    assert position.decided == 2


def test_an_entry_that_waits_too_long_goes_to_state_and_blocks_nothing() -> None:
    found = agenda()
    take(found, 0, FOO, 10)

    assert found.overdue(NOW + WAITING_MS_MAX - 1) == []
    assert found.overdue(NOW + WAITING_MS_MAX) == [FOO]
    found.written(FOO)

    assert found.positions[Topic.CHANGELOG].decided == 1
    assert found.overdue(NOW + 60_000) == []
    assert found.next_work(NOW + SETTLE_MS) is not None


def test_a_full_window_puts_everything_that_waits_into_state() -> None:
    found = agenda(slots=1)
    names = [NormalizedName(f"n{i}") for i in range(found.room(Topic.CHANGELOG))]
    for offset, name in enumerate(names):
        take(found, offset, name, 10 + offset)

    assert found.room(Topic.CHANGELOG) == 0
    assert found.overdue(NOW) == names


def test_an_ask_is_never_parked_for_waiting() -> None:
    found = agenda()
    ask(found, 0, FOO)

    assert found.overdue(NOW + 60_000) == []
    assert found.positions[Topic.REFETCH].decided == 0


def test_a_fetch_that_was_not_made_is_due_again_and_is_no_attempt() -> None:
    found = agenda()
    take(found, 0, FOO, 10, NOW - SETTLE_MS)
    found.next_work(NOW)
    found.unanswered(FOO, NOW + 5)

    work = found.next_work(NOW + 5)
    assert work is not None
    state = found.states.get(FOO)
    assert state is not None
    assert state.attempts == 0


def test_what_an_outage_parked_is_due_when_it_is_over() -> None:
    down = State(Status.PARKED, 3, attempts=7, first_ms=1, next_ms=NOW + 900_000)
    found = agenda(
        (FOO, replace(down, reason="transport: reset")), (BAR, replace(down, reason="stale"))
    )

    assert found.outage_over(NOW) == 1
    work = found.next_work(NOW)
    assert work is not None
    assert work.name == FOO
    assert found.next_work(NOW) is None


def test_what_was_given_up_in_an_outage_is_looked_at_once_more_when_it_is_over() -> None:
    dead = State(Status.DEAD, 3, attempts=11, reason="transport: reset")
    found = agenda((FOO, dead), (BAR, replace(dead, reason="undecodable: x")))

    assert found.outage_over(NOW) == 1
    work = found.next_work(NOW)
    assert work is not None
    assert work.name == FOO
    found.answered(FOO, replace(dead, attempts=12), NOW)
    assert found.next_work(NOW) is None
    assert found.outage_names == 1


def test_a_map_settles_a_name_that_an_outage_parked() -> None:
    """Nothing of it is left: neither for the end of the outage nor for a later fetch."""
    parked = State(
        Status.PARKED, 8, body=5, attempts=3, first_ms=1, next_ms=NOW, reason="transport: reset"
    )
    found = agenda((FOO, parked))

    found.take_ask(Offset(0), FOO, Ask("foo", Reason.RECONCILE, 5, 9), NOW)

    assert found.outage_over(NOW) == 0
    assert found.next_work(NOW) is None
    assert found.positions[Topic.REFETCH].decided == 0
    assert found.settled_written() == [FOO]
    found.positions[Topic.REFETCH].read_to = Offset(1)
    assert found.positions[Topic.REFETCH].decided == 1


def test_an_entry_after_a_map_has_settled_its_name_is_owed() -> None:
    parked = State(Status.PARKED, 8, body=5, attempts=3, first_ms=1, next_ms=NOW + 900_000)
    found = agenda((FOO, parked))

    found.take_ask(Offset(0), FOO, Ask("foo", Reason.RECONCILE, 5, 9), NOW)
    take(found, 0, FOO, 10)
    found.settled_written()

    state = found.states.get(FOO)
    assert state is not None
    assert (state.status, state.event) == (Status.PENDING, 10)
    assert found.positions[Topic.CHANGELOG].decided == 0


def test_a_row_whose_time_lies_far_ahead_is_due_after_a_restart_too() -> None:
    pending = State(Status.PENDING, 9, event_time=2**62, event_kind=Kind.CREATE)

    assert agenda((FOO, pending)).next_work(NOW + SETTLE_MS) is not None


def test_a_burst_after_a_fetch_is_waited_out_again() -> None:
    found = agenda()
    take(found, 0, FOO, 10, NOW)
    later = NOW + 2 * SETTLE_ROUNDS_MAX * SETTLE_MS
    assert found.next_work(later) is not None

    take(found, 1, FOO, 11, later)
    state = found.states.get(FOO)
    assert state is not None
    found.answered(FOO, state, later)

    assert found.next_work(later) is None
    assert found.next_work(later + SETTLE_MS) is not None


def test_an_equal_row_of_state_is_not_written_again() -> None:
    known = State(Status.OK, 5, body=5)
    found = agenda((FOO, known))
    found.states.unwritten(FOO)
    found.take_ask(Offset(0), FOO, Ask("foo", Reason.SWEEP, 5, 9), NOW)
    found.next_work(NOW)
    found.answered(FOO, known, NOW)

    assert found.states.unwritten(FOO) is None
    found.states.put(FOO, replace(known, etag="x"))
    assert found.states.unwritten(FOO) is not None


def test_what_is_owed_outlives_a_restart() -> None:
    pending = State(Status.PENDING, 9, event_time=NOW // 1000, event_kind=Kind.CREATE)
    settled = State(Status.OK, 9, body=9)
    found = agenda((FOO, pending), (BAR, settled))

    work = found.next_work(NOW + SETTLE_MS)
    assert work is not None
    assert work.name == FOO
    assert found.next_due_ms() is None


def test_idle_looks_no_further_than_the_horizon_and_not_at_second_looks() -> None:
    parked = State(Status.PARKED, 3, attempts=1, first_ms=1, next_ms=NOW + 10_000)
    absent = State(Status.ABSENT, 3, attempts=1, next_ms=NOW)
    found = agenda((FOO, parked), (BAR, absent))

    assert found.idle(NOW + 9_999)
    assert not found.idle(NOW + 10_000)
