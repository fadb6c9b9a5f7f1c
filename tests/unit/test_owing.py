"""What rows, asks and maps make a name owe. No I/O, no clock."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from processors.decide import (
    Effect,
    Failed,
    Missing,
    Unchanged,
)
from processors.owing import owe, owe_ask, owe_ask_beside, settle_by_map
from schemas.records import Ask, Kind, Reason, State, Status
from tests.support.verdicts import NOW, PATIENCE, answer, body, entry, owed, published


class TestOwe:
    def test_a_newer_event_replaces_an_older_one_and_starts_its_attempts_anew(self) -> None:
        parked = replace(owed(None, 5), status=Status.PARKED, attempts=4, first_ms=1, next_ms=2)

        found = owed(parked, 6)

        assert (found.event, found.attempts, found.first_ms, found.next_ms) == (6, 0, 0, 0)
        assert found.status is Status.PENDING

    def test_an_event_that_the_published_body_reflects_owes_nothing(self) -> None:
        assert owe(replace(published(10), event=8), entry(9)) is None

    def test_the_same_event_read_again_owes_nothing_more(self) -> None:
        assert owe(owed(None, 5), entry(5)) is None

    def test_an_event_above_the_tombstone_is_owed(self) -> None:
        gone = State(Status.ABSENT, 10, body=9, gone=10, attempts=2)

        assert owed(gone, 11).event == 11

    def test_an_ask_s_serial_hides_no_row(self) -> None:
        """An ask may name any serial; a row below it is owed all the same, and only once."""
        asked = owe_ask(published(10), Ask("Foo", Reason.RECONCILE, 2**60, 2**60))
        assert asked is not None

        found = owed(asked, 20)

        assert (found.event, found.status, found.attempts) == (2**60, Status.PENDING, 0)
        verdict = answer(found, body(20, "b"))
        assert (verdict.effect, verdict.stale) == (Effect.PUBLISH, True)

    def test_the_row_that_an_ask_was_drawn_from_gives_its_kind(self) -> None:
        absent = answer(owe_ask(None, Ask("Foo", Reason.BACKFILL, 7, 9)), Missing()).state  # type: ignore[arg-type]

        found = owed(absent, 7, Kind.CREATE)

        assert (found.event_kind, found.status) == (Kind.CREATE, Status.PENDING)
        assert owe(found, entry(7)) is None

    def test_a_removal_below_an_ask_s_serial_does_not_speak_for_the_name(self) -> None:
        """Removed and created again: the map was quicker than the journal."""
        asked = owe_ask(published(10), Ask("foo", Reason.RECONCILE, 30, 30))
        assert asked is not None

        removal = owed(asked, 20, Kind.REMOVE_PROJECT)
        missing = answer(removal, Missing())
        created = owed(missing.state, 30, Kind.CREATE)

        assert missing.effect is Effect.NONE
        assert answer(created, body(30, "b"), 2).state.status is Status.OK


class TestAsk:
    def test_beside_a_live_event_a_newer_serial_takes_the_word_from_a_removal(self) -> None:
        live = owed(published(10), 20, Kind.REMOVE_PROJECT)

        found = owe_ask_beside(live, Ask("foo", Reason.RECONCILE, 30, 30))

        assert (found.event, found.event_kind, found.status) == (30, None, Status.PENDING)
        assert answer(found, Missing()).effect is Effect.NONE
        assert owed(found, 30, Kind.CREATE).event_kind is Kind.CREATE

    def test_beside_a_live_event_an_ask_changes_nothing_else(self) -> None:
        live = owed(published(10), 20, Kind.CREATE)

        assert owe_ask_beside(live, Ask("foo", Reason.SWEEP, 20)) == live

    def test_a_sweep_leaves_what_is_under_way_alone(self) -> None:
        parked = answer(owed(published(10), 20), Unchanged()).state

        assert owe_ask(parked, Ask("Foo", Reason.SWEEP, 20)) is None
        assert owe_ask(parked, Ask("Foo", Reason.OPERATOR, 20)) is not None

    @pytest.mark.parametrize("reply", [Unchanged(), Failed("undecodable: x")])
    def test_a_sweep_that_helps_nothing_is_one_look(self, reply: object) -> None:
        """No new schedule, no second dead letter."""
        state = owed(published(10), 20)
        for seconds in (0, *PATIENCE.schedule_seconds):
            state = answer(state, reply, seconds).state
        used_up = state.status
        assert used_up in (Status.STALE, Status.DEAD)
        swept = owe_ask(state, Ask("Foo", Reason.SWEEP, 20))
        assert swept is not None

        verdict = answer(swept, reply, 5_000)

        assert (verdict.effect, verdict.state.status) == (Effect.NONE, used_up)
        assert verdict.state.next_ms == 0

    def test_a_sweep_of_what_is_used_up_looks_twice_where_one_look_proves_nothing(self) -> None:
        stale = replace(published(10), status=Status.STALE, event=20, attempts=11, first_ms=NOW)
        swept = owe_ask(stale, Ask("Foo", Reason.SWEEP))
        assert swept is not None

        changed = answer(swept, body(10, "b"), 5_000).state
        assert changed.next_ms == NOW + 5_001_000
        assert answer(changed, body(10, "b"), 5_001).effect is Effect.PUBLISH
        assert answer(changed, body(10, "c"), 5_001).state.status is Status.STALE

        missing = answer(swept, Missing(), 5_000).state
        assert missing.next_ms == NOW + 5_300_000
        assert answer(missing, Missing(), 5_300).effect is Effect.TOMBSTONE
        assert answer(missing, Unchanged(), 5_300).state.status is Status.STALE

    def test_content_that_changed_between_all_looks_is_settled_by_one_sweep(self) -> None:
        """What was seen last is another one by then: that look, too, has a second one."""
        state = owed(published(10), 20)
        for number, seconds in enumerate((0, *PATIENCE.schedule_seconds)):
            state = answer(state, body(10, f"b{number}"), seconds).state
        assert (state.status, state.next_ms) == (Status.PARKED, NOW + 901_000)
        stale = answer(state, body(10, "c"), 901).state
        assert (stale.status, stale.seen, stale.next_ms) == (Status.STALE, "c", 0)
        swept = owe_ask(stale, Ask("Foo", Reason.SWEEP))
        assert swept is not None

        changed = answer(swept, body(10, "d"), 5_000).state
        assert (changed.status, changed.next_ms) == (Status.PARKED, NOW + 5_001_000)
        shown = answer(changed, body(10, "d"), 5_001)
        assert (shown.effect, shown.state.hash, shown.state.seen) == (Effect.PUBLISH, "d", "")
        assert answer(changed, body(10, "e"), 5_001).state.status is Status.STALE
        assert answer(swept, body(10, "c"), 5_000).effect is Effect.PUBLISH

    def test_what_a_map_settled_a_sweep_does_not_unsettle(self) -> None:
        stale = replace(published(10), status=Status.STALE, event=20, attempts=11)
        settled = settle_by_map(stale, Ask("Foo", Reason.RECONCILE, 10, 20))
        assert settled is not None
        swept = owe_ask(settled, Ask("Foo", Reason.SWEEP, 10))
        assert swept is not None

        for reply in (Unchanged(), body(10, "a"), body(15, "b")):
            verdict = answer(swept, reply)
            assert (verdict.state.status, verdict.stale) == (Status.OK, False)

    def test_a_map_settles_neither_what_is_unconfirmed_nor_what_was_never_behind(self) -> None:
        ask = Ask("Foo", Reason.RECONCILE, 10, 30)
        unconfirmed = replace(published(10), status=Status.PARKED, event=20, seen="b")
        swept = replace(published(10), status=Status.DEAD)

        assert settle_by_map(unconfirmed, ask) is None
        assert settle_by_map(swept, ask) is None

    def test_an_ask_for_an_unknown_name_is_served(self) -> None:
        state = owe_ask(None, Ask("Foo", Reason.BACKFILL, 7, 9))

        assert state is not None
        assert (state.event, state.ask) == (7, Reason.BACKFILL)

    @pytest.mark.parametrize("serial", [9, 10])
    def test_an_ask_whose_serial_is_known_is_decided_without_a_fetch(self, serial: int) -> None:
        assert owe_ask(published(10), Ask("Foo", Reason.RECONCILE, serial, 50)) is None

    @pytest.mark.parametrize("reason", [Reason.SWEEP, Reason.REPAIR, Reason.OPERATOR])
    def test_a_deliberate_ask_fetches_all_the_same(self, reason: Reason) -> None:
        assert owe_ask(published(10), Ask("Foo", reason, 10)) is not None

    def test_a_map_that_gives_the_body_s_own_serial_settles_a_stale_name(self) -> None:
        stale = replace(published(10), status=Status.STALE, event=12)

        settled = settle_by_map(stale, Ask("Foo", Reason.RECONCILE, 10, 12))

        assert settled is not None
        assert settled.status is Status.OK
        assert settle_by_map(stale, Ask("Foo", Reason.RECONCILE, 10, 11)) is None
