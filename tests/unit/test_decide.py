"""The rules of the verdict: stale, failed, never back, 404. No I/O, no clock."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from processors.decide import (
    MISSING,
    STALE,
    UNCONFIRMED,
    Attempt,
    Body,
    Effect,
    Failed,
    Missing,
    Unchanged,
    decide,
)
from processors.owing import BY_MAP, owe, owe_ask, settle_by_map
from schemas.records import Ask, Kind, Reason, Status
from tests.support.verdicts import NOW, PATIENCE, answer, body, entry, owed, published


class TestBody:
    def test_a_first_body_is_published(self) -> None:
        verdict = answer(owed(None, 5), body(5))

        assert (verdict.effect, verdict.stale) == (Effect.PUBLISH, False)
        assert (verdict.state.status, verdict.state.body, verdict.state.event) == (Status.OK, 5, 5)

    def test_a_repair_publishes_what_is_known_anew(self) -> None:
        """What lies in the topics may be something else than what `state` has the hash of."""
        asked = owe_ask(published(10), Ask("Foo", Reason.REPAIR, 10, whole=True))
        assert asked is not None

        verdict = answer(asked, body(10))

        assert asked.etag == ""
        assert (verdict.effect, verdict.stale) == (Effect.PUBLISH, False)
        assert replace(verdict.state, etag='"x"') == published(10)
        assert answer(asked, body(10, "b")).effect is Effect.NONE  # one look is not believed

    def test_a_repair_makes_a_tombstone_where_nothing_is_known_and_nothing_is_there(self) -> None:
        """For a document that lies in the topics all the same. Two looks, as for any absent one."""
        asked = owe_ask(None, Ask("Foo", Reason.REPAIR, 10))
        assert asked is not None
        first = answer(asked, Missing())
        second = answer(first.state, Missing(), 60)

        assert (first.effect, second.effect) == (Effect.NONE, Effect.TOMBSTONE)
        assert second.state.status is Status.ABSENT
        assert not second.state.exception

    def test_a_body_below_the_event_but_above_what_is_published_is_published_as_stale(self) -> None:
        verdict = answer(owed(published(10), 20), body(15, "b"))

        assert (verdict.effect, verdict.stale) == (Effect.PUBLISH, True)
        assert (verdict.state.status, verdict.state.reason) == (Status.PARKED, STALE)

    @pytest.mark.parametrize("serial", [1, 9])
    def test_a_project_never_goes_back(self, serial: int) -> None:
        verdict = answer(owed(published(10), 20), body(serial, "old"))

        assert verdict.effect is Effect.NONE
        assert (verdict.state.body, verdict.state.status) == (10, Status.PARKED)

    def test_a_lower_serial_is_taken_if_the_display_name_became_that_of_the_event(self) -> None:
        state = owe(published(10), entry(20, name="foo"))
        assert state is not None

        verdict = answer(state, body(8, "b", name="foo"))

        assert (verdict.effect, verdict.stale) == (Effect.PUBLISH, True)
        assert answer(state, body(8, "b", name="fOO")).effect is Effect.NONE

    def test_an_equal_serial_with_other_content_needs_a_second_identical_answer(self) -> None:
        asked = owe_ask(published(10), Ask("Foo", Reason.SWEEP, 10))
        assert asked is not None

        first = answer(asked, body(10, "b"))
        assert (first.effect, first.state.reason) == (Effect.NONE, UNCONFIRMED)

        other = answer(first.state, body(10, "c"), 2)
        assert other.effect is Effect.NONE

        second = answer(other.state, body(10, "c"), 4)
        assert second.effect is Effect.PUBLISH
        assert second.state.hash == "c"

    def test_a_serial_that_only_a_header_claimed_is_taken_back_after_a_second_answer(self) -> None:
        """The content is the same: nothing goes back, and rows up to the claim are owed again."""
        asked = owe_ask(published(17), Ask("", Reason.SWEEP, whole=True))
        assert asked is not None
        told = body(10)._replace(own_serial=False)

        first = answer(asked, told)
        assert (first.effect, first.state.body) == (Effect.NONE, 17)
        second = answer(first.state, told, 1)
        assert second.effect is Effect.PUBLISH
        assert (second.state.status, second.state.body, second.state.event) == (Status.OK, 10, 10)
        assert owe(published(17), entry(12)) is None
        assert owe(second.state, entry(12)) is not None

    @pytest.mark.parametrize(
        "told",
        [
            body(10),  # the document's own serial
            body(10, "b")._replace(own_serial=False),  # other content
            body(10, name="foo")._replace(own_serial=False),  # another spelling
            body(0)._replace(own_serial=False),  # no serial at all
        ],
    )
    def test_what_is_not_the_same_document_under_a_lower_header_is_refused(
        self, told: Body
    ) -> None:
        asked = owe_ask(published(17), Ask("", Reason.SWEEP, whole=True))
        assert asked is not None
        state = asked
        for second in range(12):
            verdict = answer(state, told, second * 600)
            assert verdict.effect is Effect.NONE
            state = verdict.state
        assert (state.status, state.body) == (Status.STALE, 17)

    def test_while_a_row_is_owed_no_lower_header_is_believed(self) -> None:
        told = body(10)._replace(own_serial=False)
        state = owed(published(17), 20)
        for second in (0, 1, 2):
            verdict = answer(state, told, second)
            assert (verdict.effect, verdict.state.body) == (Effect.NONE, 17)
            state = verdict.state

    def test_a_map_that_lacks_a_name_does_not_settle_it(self) -> None:
        """Its ask bears the serial that was known, not one that the map gave."""
        parked = answer(owed(published(10), 20, Kind.REMOVE_PROJECT), Failed("foreign: x")).state

        assert settle_by_map(parked, Ask("Foo", Reason.RECONCILE, 10, 30, gone=True)) is None

    def test_unchanged_withdraws_what_waits_for_its_confirmation(self) -> None:
        """So that a map may settle the name again."""
        stale = answer(owed(published(10), 20), body(10, "b")).state
        assert stale.seen == "b"

        same = answer(stale, Unchanged(), 1).state
        assert settle_by_map(same, Ask("Foo", Reason.RECONCILE, 10, 20)) is not None

    def test_an_old_body_after_a_removal_does_not_bring_a_project_back(self) -> None:
        removed = answer(owed(published(10), 20, Kind.REMOVE_PROJECT), Missing()).state
        swept = owe_ask(removed, Ask("Foo", Reason.SWEEP, 20))
        assert swept is not None

        for serial in (10, 20, 25):
            assert answer(swept, body(serial)).effect is Effect.NONE

    def test_a_name_used_again_comes_back(self) -> None:
        removed = answer(owed(published(10), 20, Kind.REMOVE_PROJECT), Missing()).state

        verdict = answer(owed(removed, 30, Kind.CREATE), body(31))

        assert verdict.effect is Effect.PUBLISH
        assert verdict.state.published

    def test_a_body_not_newer_than_the_removal_stays_out_after_a_new_creation(self) -> None:
        removed = answer(owed(published(10), 20, Kind.REMOVE_PROJECT), Missing()).state

        assert answer(owed(removed, 30, Kind.CREATE), body(10)).effect is Effect.NONE

    def test_unchanged_settles_what_is_reflected_and_parks_what_is_not(self) -> None:
        swept = owe_ask(published(10), Ask("Foo", Reason.SWEEP, 10))
        assert swept is not None

        assert answer(swept, Unchanged()).state.status is Status.OK
        assert answer(owed(published(10), 20), Unchanged()).state.reason == STALE

    def test_unchanged_under_a_newer_header_is_asked_for_without_the_etag(self) -> None:
        """A document that names no serial has the header's, and only a whole answer brings it."""
        parked = answer(owed(published(10), 20), Unchanged(20)).state
        verdict = answer(parked, body(20), 1)

        assert (parked.status, parked.etag) == (Status.PARKED, "")
        assert (verdict.effect, verdict.state.status) == (Effect.PUBLISH, Status.OK)
        assert (verdict.state.body, verdict.stale) == (20, False)
        assert answer(owed(published(10), 20), Unchanged(10)).state.etag == published(10).etag

    def test_an_answer_to_an_older_question_counts_as_no_attempt(self) -> None:
        state = owed(owed(published(10), 20), 21)

        verdict = decide(state, body(20, "b"), Attempt(20, NOW), PATIENCE)

        assert (verdict.effect, verdict.stale) == (Effect.PUBLISH, True)
        assert (verdict.state.status, verdict.state.attempts) == (Status.PENDING, 0)


class TestMissing:
    @pytest.mark.parametrize(
        ("kind", "reason"),
        [(Kind.REMOVE_PROJECT, "removed"), (Kind.QUARANTINE, "quarantined")],
    )
    def test_a_removal_row_proves_a_404(self, kind: Kind, reason: str) -> None:
        verdict = answer(owed(published(10), 20, kind), Missing())

        assert verdict.effect is Effect.TOMBSTONE
        assert (verdict.state.gone, verdict.state.reason) == (20, reason)
        assert not verdict.state.exception

    def test_any_other_404_is_asked_again_and_proves_a_removal_after_five_minutes(self) -> None:
        state = owed(published(10), 20, Kind.REMOVE_RELEASE)
        for seconds in (0, 1, 2, 4, 8, 16, 32, 60):
            verdict = answer(state, Missing(), seconds)
            assert verdict.effect is Effect.NONE
            assert (verdict.state.status, verdict.state.reason) == (Status.PARKED, MISSING)
            state = verdict.state

        proven = answer(state, Missing(), 300)
        assert (proven.effect, proven.state.reason) == (Effect.TOMBSTONE, "no-releases")

    def test_one_404_after_five_minutes_of_other_answers_proves_nothing(self) -> None:
        state = owed(published(10), 20)
        for seconds in (0, 1, 2, 4, 8, 16, 32, 60):
            state = answer(state, Unchanged(), seconds).state

        first = answer(state, Missing(), 300)
        assert first.effect is Effect.NONE
        assert answer(first.state, Missing(), 600).effect is Effect.TOMBSTONE
        late = answer(first.state, Unchanged(), 600).state
        assert answer(late, Missing(), 900).effect is Effect.NONE

    def test_a_404_seen_shortly_before_the_last_attempt_gets_its_five_minutes(self) -> None:
        """First seen out of turn, because an outage seemed over: that counts as no attempt."""
        state = owed(published(10), 20, Kind.REMOVE_RELEASE)
        for seconds in (0, *PATIENCE.schedule_seconds[:-1]):
            state = answer(state, Failed("transport: 503"), seconds).state
        out_of_turn = answer(state, Missing(), 800).state
        assert out_of_turn.attempts == state.attempts

        last = answer(out_of_turn, Missing(), PATIENCE.schedule_seconds[-1])

        assert (last.state.status, last.state.next_ms) == (Status.PARKED, NOW + 1_100_000)
        assert answer(last.state, Missing(), 1_100).effect is Effect.TOMBSTONE

    def test_what_a_404_alone_removed_comes_back_with_the_row_s_own_serial(self) -> None:
        """No row said so: a document as new as the row that was asked for is newer than that."""
        state = owed(published(10), 20)
        first = answer(state, Missing()).state
        removed = answer(first, Missing(), 300)
        assert removed.effect is Effect.TOMBSTONE
        swept = owe_ask(removed.state, Ask("Foo", Reason.SWEEP, 20))
        assert swept is not None

        assert answer(swept, body(19, "b")).effect is Effect.NONE
        assert answer(swept, body(20, "b")).effect is Effect.PUBLISH

    def test_a_removed_name_that_the_map_has_again_gets_two_looks(self) -> None:
        removed = answer(owed(published(10), 20, Kind.REMOVE_PROJECT), Missing()).state
        again = owe_ask(removed, Ask("foo", Reason.RECONCILE, 30, 30))
        assert again is not None

        first = answer(again, Missing()).state

        assert (first.status, first.exception) == (Status.ABSENT, True)
        assert answer(first, body(30, "b"), 60).effect is Effect.PUBLISH

    def test_an_ask_s_serial_is_no_removal_s(self) -> None:
        """A 404 after an ask with a made-up serial must not keep true documents out for years."""
        asked = owe_ask(published(10), Ask("Foo", Reason.OPERATOR, 2**60))
        assert asked is not None
        removed = answer(answer(asked, Missing()).state, Missing(), 300)
        assert removed.effect is Effect.TOMBSTONE
        assert removed.state.gone == 10

        assert answer(owed(removed.state, 20), body(20, "b")).state.published

    def test_a_sweep_of_an_absent_name_is_one_look(self) -> None:
        asked = owe_ask(None, Ask("Foo", Reason.BACKFILL, 7, 9))
        assert asked is not None
        absent = answer(answer(asked, Missing()).state, Missing(), 60).state
        swept = owe_ask(absent, Ask("Foo", Reason.SWEEP))
        assert swept is not None

        assert not answer(swept, Missing()).state.exception

    def test_any_200_ends_the_matter(self) -> None:
        state = answer(owed(published(10), 20), Missing()).state

        assert answer(state, body(20, "b"), 2).state.status is Status.OK

    def test_a_map_as_new_as_the_event_proves_a_404(self) -> None:
        checked = owe_ask(published(10), Ask("Foo", Reason.RECONCILE, 10, 15, gone=True))
        assert checked is not None
        assert checked.reason == BY_MAP

        assert answer(checked, Missing()).effect is Effect.TOMBSTONE

    def test_an_older_map_proves_nothing(self) -> None:
        state = replace(published(10), event=20)
        checked = owe_ask(state, Ask("Foo", Reason.RECONCILE, 10, 15, gone=True))
        assert checked is not None

        assert answer(checked, Missing()).effect is Effect.NONE

    @pytest.mark.parametrize("kind", [Kind.CREATE, Kind.NEW_RELEASE])
    def test_a_404_right_after_an_arrival_proves_nothing(self, kind: Kind) -> None:
        state = replace(owed(published(10), 20, kind), reason=BY_MAP)

        assert answer(state, Missing(), 59).effect is Effect.NONE
        assert answer(state, Missing(), 61).effect is Effect.TOMBSTONE

    def test_an_unknown_name_is_absent_at_once_and_final_at_the_second_look(self) -> None:
        asked = owe_ask(None, Ask("Foo", Reason.BACKFILL, 7, 9))
        assert asked is not None

        first = answer(asked, Missing()).state
        assert (first.status, first.exception) == (Status.ABSENT, True)
        assert first.next_ms == NOW + 60_000

        second = answer(first, Missing(), 60).state
        assert (second.status, second.exception, second.next_ms) == (Status.ABSENT, False, 0)

    def test_a_failure_between_two_looks_is_no_look(self) -> None:
        asked = owe_ask(None, Ask("Foo", Reason.BACKFILL, 7, 9))
        assert asked is not None

        failed = answer(asked, Failed("transport: reset")).state
        missing = answer(failed, Missing(), 2).state

        assert (missing.status, missing.exception) == (Status.ABSENT, True)

    def test_nothing_is_removed_twice(self) -> None:
        removed = answer(owed(published(10), 20, Kind.REMOVE_PROJECT), Missing()).state

        assert answer(owed(removed, 21, Kind.REMOVE_PROJECT), Missing()).effect is Effect.NONE


class TestSchedule:
    def test_attempts_follow_the_schedule_from_the_first_one(self) -> None:
        state = owed(published(10), 20)
        due = []
        for seconds in (0, *PATIENCE.schedule_seconds):
            state = answer(state, Unchanged(), seconds).state
            due.append((state.next_ms - NOW) / 1000)

        assert due[:-1] == list(PATIENCE.schedule_seconds)
        assert (state.status, state.next_ms) == (Status.STALE, 0)

    def test_what_fails_to_the_end_is_dead_with_evidence(self) -> None:
        state = owed(published(10), 20)
        for seconds in (0, *PATIENCE.schedule_seconds[:-1]):
            state = answer(state, Failed("undecodable: no JSON"), seconds).state
            assert state.status is Status.PARKED

        last = answer(state, Failed("undecodable: no JSON"), 900)

        assert last.effect is Effect.DEAD_LETTER
        assert (last.state.status, last.state.reason) == (Status.DEAD, "undecodable: no JSON")
        assert last.state.published

    def test_attempts_that_were_missed_are_not_made_in_a_rush(self) -> None:
        """A program that was off for an hour goes on with the schedule, it does not use it up."""
        state = answer(owed(published(10), 20), Failed("transport: reset")).state
        state = answer(state, Failed("transport: reset"), 3_600).state
        assert state.next_ms == NOW + 3_600_000 + 1_000

        state = answer(state, Failed("transport: reset"), 3_601).state
        assert state.next_ms == NOW + 3_601_000 + 2_000

    def test_an_attempt_before_its_time_that_fails_costs_nothing(self) -> None:
        state = replace(
            owed(published(10), 20), status=Status.PARKED, attempts=3, first_ms=NOW,
            next_ms=NOW + 8_000, reason="transport: reset",
        )  # fmt: skip

        assert answer(state, Failed("transport: reset"), 1).state == state
