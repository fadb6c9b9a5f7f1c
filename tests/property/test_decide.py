"""The verdicts under any order of rows, asks, maps and answers, at any pace."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from processors.decide import (
    REMOVALS,
    Attempt,
    Body,
    Effect,
    Failed,
    Missing,
    Patience,
    Reply,
    Unchanged,
    decide,
)
from processors.owing import owe, owe_ask, owe_ask_beside, settle_by_map
from schemas import codec
from schemas.records import ABSENT_LOOKS, Ask, ChangelogEntry, Kind, Reason, Source, State, Status

PATIENCE = Patience()
START_MS = 1_700_000_000_000
# Each attempt, one more for a first 404 and for a first other body, and both again after a 200.
ATTEMPTS_MAX = 2 * (len(PATIENCE.schedule_seconds) + 4)

serials = st.integers(1, 12)
names = st.sampled_from(["Foo", "foo", "f-o-o"])
bodies = st.builds(Body, serials, st.sampled_from("abc"), names, st.just('"etag"'))
failures = st.sampled_from(["transport: reset", "undecodable: x", "foreign: y"]).map(Failed)
replies: st.SearchStrategy[Reply] = st.one_of(
    bodies, st.just(Unchanged()), st.just(Missing()), failures
)
rows = st.builds(
    lambda serial, name, kind, age: ChangelogEntry(
        serial, name, None, START_MS // 1000 - age, kind.value, kind
    ),
    serials, names, st.sampled_from(list(Kind)), st.integers(-100, 1_000),
)  # fmt: skip
asks = st.builds(
    Ask, names, st.sampled_from(list(Reason)), st.integers(0, 14), st.integers(0, 14), st.booleans()
)
waits = st.sampled_from([0, 1, 900, 1_000, 5_000, 60_000, 300_000, 3_600_000])
steps = st.lists(st.tuples(st.one_of(rows, asks, replies), waits), max_size=40)


@dataclass
class History:
    """A name from nothing on; `apply` holds each step against the rules."""

    state: State | None = None
    now_ms: int = START_MS
    document: Body | None = None  # what a sink would show
    missing_since: int | None = None
    told: bool = False  # a map as new as the event has said that the name is gone

    def apply(self, step: ChangelogEntry | Ask | Reply, wait_ms: int) -> None:
        self.now_ms += wait_ms
        if isinstance(step, ChangelogEntry):
            self.row(step)
        elif isinstance(step, Ask):
            self.ask(step)
        elif self.state is not None:
            self.reply(self.state, step)

    def row(self, row: ChangelogEntry) -> None:
        found = owe(self.state, row)
        if found is None:
            return
        assert owe(found, row) is None or found.event > row.serial
        self.moved(found)
        self.missing_since, self.told = None, False
        assert (found.status, found.attempts) == (Status.PENDING, 0)

    def ask(self, ask: Ask) -> None:
        if settled := settle_by_map(self.state, ask):
            assert self.state is not None
            assert ask.serial == self.state.body
            assert ask.map_serial >= self.state.event
            assert not ask.gone
            self.moved(settled)
            return
        live = self.state is not None and self.state.status is Status.PENDING
        state = self.state
        found = owe_ask_beside(state, ask) if live and state else owe_ask(state, ask)
        if found is None:
            return
        self.told = self.told or (ask.gone and ask.map_serial >= (state.event if state else 0))
        if state is not None and found.event > state.event:
            self.told = ask.gone and ask.map_serial >= found.event
        self.moved(found)

    def reply(self, state: State, reply: Reply) -> None:
        if isinstance(reply, Unchanged) and not state.published:
            reply = Missing()  # no ETag was sent
        attempt = Attempt(state.event, self.now_ms)
        verdict = decide(state, reply, attempt, PATIENCE)
        assert verdict == decide(state, reply, attempt, PATIENCE)
        if isinstance(reply, Missing):
            self.missing_since = self.missing_since or self.now_ms
        elif not isinstance(reply, Failed):
            self.missing_since = None
        if verdict.effect is Effect.PUBLISH:
            assert isinstance(reply, Body)
            self.published(state, reply)
        if verdict.effect is Effect.TOMBSTONE:
            assert isinstance(reply, Missing)
            self.removed(state, verdict.state)
        self.moved(verdict.state)
        assert verdict.state.attempts <= state.attempts + 1 or (
            verdict.state.status is Status.ABSENT and verdict.state.attempts == ABSENT_LOOKS
        )
        waits = verdict.state.status is Status.PARKED
        assert not waits or verdict.state.next_ms > self.now_ms

    def published(self, state: State, body: Body) -> None:
        """Never back."""
        before = self.document
        if before is not None and body.serial < before.serial:
            assert body.display_name not in (before.display_name, "")
            assert body.display_name == state.event_name
        if state.gone:
            assert state.event_kind not in REMOVALS
            assert body.serial >= state.gone
        if before is not None and body.serial == before.serial:
            same = (body.hash, body.display_name) == (before.hash, before.display_name)
            assert not same or state.ask is Reason.REPAIR
            # an older rendering may be served at the same serial: it takes two to be believed
            twice = same or body.hash == state.seen or body.display_name != before.display_name
            assert twice or body.source is Source.JSON is not before.source  # or the API itself
        self.document = body

    def removed(self, state: State, after: State) -> None:
        """A tombstone has its proof. Of what was never published only a repair writes one."""
        if self.document is None:
            assert state.ask is Reason.REPAIR
            assert (after.status, after.exception) == (Status.ABSENT, False)
            return
        waited = self.now_ms - (self.missing_since or self.now_ms)
        assert (
            state.event_kind in REMOVALS
            or self.told
            or waited >= PATIENCE.missing_proof_seconds * 1_000
        )
        self.document = None

    def moved(self, found: State) -> None:
        if self.state is not None:
            assert found.event >= self.state.event
        assert found.published == (self.document is not None)
        if self.document is not None:
            assert (found.body, found.hash) == (self.document.serial, self.document.hash)
        assert codec.decode(codec.encode(found), State) == found
        self.state = found


@given(steps)
def test_no_order_of_things_breaks_a_rule(history: list[tuple[object, int]]) -> None:
    """Never back, no tombstone without proof, never an exception, each attempt counted once."""
    known = History()
    for step, wait_ms in history:
        known.apply(step, wait_ms)  # type: ignore[arg-type]


@given(steps, st.lists(replies, min_size=ATTEMPTS_MAX, max_size=ATTEMPTS_MAX))
def test_what_is_owed_comes_to_an_end(history: list[tuple[object, int]], last: list[Reply]) -> None:
    """Whatever upstream answers, each at its time: OK, absent, stale or dead after a few looks."""
    known = History()
    for step, wait_ms in history:
        known.apply(step, wait_ms)  # type: ignore[arg-type]
    if known.state is None:
        return
    for reply in last:
        state = known.state
        if state.status is not Status.PENDING and not state.next_ms:
            break
        known.apply(reply, max(0, state.next_ms - known.now_ms))
    else:
        raise AssertionError(known.state)


@given(steps, bodies)
def test_an_answer_to_an_older_question_counts_as_no_attempt(
    history: list[tuple[object, int]], body: Body
) -> None:
    known = History()
    for step, wait_ms in history:
        known.apply(step, wait_ms)  # type: ignore[arg-type]
    if known.state is None:
        return
    newer = replace(known.state, event=known.state.event + 1, status=Status.PENDING, attempts=0)
    for reply in (body, Missing(), Failed("transport: x")):
        found = decide(newer, reply, Attempt(newer.event - 1, known.now_ms), PATIENCE).state
        assert found.attempts == 0
