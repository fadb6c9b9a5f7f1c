"""The agenda as a machine: whatever comes in any order, nothing owed is forgotten."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from processors.agenda import WAITING_MS_MAX, Agenda, Lane, Work
from processors.decide import Attempt, Body, Failed, Missing, Patience, Reply, Unchanged, decide
from schemas.names import NormalizedName
from schemas.records import Ask, ChangelogEntry, Kind, Reason, Status
from schemas.topics import Offset, Topic
from streams.states import States

START_MS = 1_700_000_000_000
SETTLE_MS = 3_000
DAY_MS = 86_400_000
NAMES = [NormalizedName(name) for name in ("foo", "bar", "baz")]
PATIENCE = Patience()

names = st.sampled_from(NAMES)
steps = st.sampled_from([0, 1, 500, 2_000, 10_000, 400_000])
replies: st.SearchStrategy[Reply] = st.one_of(
    st.builds(Body, st.integers(1, 60), st.sampled_from("ab"), st.just("Foo"), st.just("e")),
    st.just(Missing()),
    st.just(Failed("transport: reset")),
    st.just(Failed("undecodable: x")),
    st.just(Unchanged()),
)


class AgendaMachine(RuleBasedStateMachine):
    """`written` is what the log would hold, `covered` the newest row per name that was taken."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START_MS
        self.serial = 10
        self.ends = {Topic.CHANGELOG: 0, Topic.REFETCH: 0}
        self.decided = dict(self.ends)
        self.rows: dict[int, tuple[NormalizedName, int]] = {}  # changelog offset: name, serial
        self.log = States({})
        self.flying: dict[NormalizedName, Work] = {}
        self.restart()

    def restart(self) -> None:
        """From what the log holds; entries from the position on are read again."""
        states = States({})
        for name, state in self.log.items():
            states.put(name, state)
            states.unwritten(name)
        positions = {topic: Offset(at) for topic, at in self.decided.items()}
        self.agenda = Agenda(states, positions, now=self.now, settle_ms=SETTLE_MS, slots=8)
        self.flying.clear()

    @rule(ahead=steps)
    def time_passes(self, ahead: int) -> None:
        self.now += ahead

    @rule(name=names, kind=st.sampled_from(list(Kind)), gap=st.integers(1, 3), age=steps)
    def row(self, name: NormalizedName, kind: Kind, gap: int, age: int) -> None:
        self.serial += gap
        offset = self.ends[Topic.CHANGELOG]
        when = (self.now - age) // 1000
        entry = ChangelogEntry(self.serial, "Foo", None, when, kind.value, kind)
        self.agenda.take_entry(Offset(offset), name, entry, self.now)
        self.rows[offset] = (name, self.serial)
        self._end(Topic.CHANGELOG)

    @rule(
        name=names, reason=st.sampled_from(list(Reason)), serial=st.integers(0, 70),
        map_serial=st.integers(0, 70), gone=st.booleans(),
    )  # fmt: skip
    def ask(
        self, name: NormalizedName, reason: Reason, serial: int, map_serial: int, gone: bool
    ) -> None:
        ask = Ask("Foo", reason, serial, map_serial, gone)
        self.agenda.take_ask(Offset(self.ends[Topic.REFETCH]), name, ask, self.now)
        self._end(Topic.REFETCH)

    def _end(self, topic: Topic) -> None:
        self.ends[topic] += 1
        self.agenda.positions[topic].read_to = Offset(self.ends[topic])

    @rule(lanes=st.sampled_from([tuple(Lane), (Lane.LIVE,)]))
    def fetch(self, lanes: tuple[Lane, ...]) -> None:
        work = self.agenda.next_work(self.now, lanes)
        if work is None:
            due = self.agenda.next_due_ms(lanes)
            assert due is None or due > self.now
            return
        assert work.name not in self.flying
        self.flying[work.name] = work

    @precondition(lambda self: self.flying)
    @rule(reply=replies, pick=st.integers(0, 10))
    def answer(self, reply: Reply, pick: int) -> None:
        name = sorted(self.flying)[pick % len(self.flying)]
        work = self.flying.pop(name)
        state = self.agenda.states.get(name)
        assert state is not None
        if isinstance(reply, Unchanged) and not work.etag:
            reply = Missing()
        verdict = decide(state, reply, Attempt(work.event, self.now), PATIENCE)
        self.agenda.answered(name, verdict.state, self.now)
        self.write(name)

    @precondition(lambda self: self.flying)
    @rule()
    def not_asked(self) -> None:
        name = min(self.flying)
        del self.flying[name]
        self.agenda.unanswered(name, self.now)

    @rule()
    def outage_over(self) -> None:
        self.agenda.outage_over(self.now)

    @rule()
    def commit(self) -> None:
        for name in self.agenda.overdue(self.now):
            self.agenda.written(name)
            self.write(name)

    def write(self, *names_: NormalizedName) -> None:
        """One transaction: states, and the positions of that moment."""
        for name in (*names_, *self.agenda.settled_written()):
            if self.agenda.states.unwritten(name) is not None:
                state = self.agenda.states.get(name)
                assert state is not None
                self.log.put(name, state)
        for topic, position in self.agenda.positions.items():
            assert self.decided[topic] <= position.decided <= self.ends[topic]
            self.decided[topic] = position.decided

    @rule()
    def crash(self) -> None:
        self.restart()
        for offset in range(self.decided[Topic.CHANGELOG], self.ends[Topic.CHANGELOG]):
            name, serial = self.rows[offset]
            entry = ChangelogEntry(serial, "Foo", None, self.now // 1000, "x", Kind.CHANGE)
            self.agenda.take_entry(Offset(offset), name, entry, self.now)
        self.agenda.positions[Topic.CHANGELOG].read_to = Offset(self.ends[Topic.CHANGELOG])
        self.decided[Topic.REFETCH] = self.ends[Topic.REFETCH]  # asks may be asked again or not
        self.agenda.positions[Topic.REFETCH].read_to = Offset(self.ends[Topic.REFETCH])

    @invariant()
    def what_lies_before_the_position_is_in_the_log(self) -> None:
        """Each row there is reflected by the name's row of state, or owed in it."""
        for offset, (name, serial) in self.rows.items():
            if offset < self.decided[Topic.CHANGELOG]:
                state = self.log.get(name)
                assert state is not None
                assert max(state.event, state.body) >= serial

    @invariant()
    def what_is_owed_is_offered(self) -> None:
        """Every name that owes something is in flight or has its time, and within a day."""
        due = self.agenda.next_due_ms()
        owing = [
            name
            for name, state in self.agenda.states.items()
            if (state.status in (Status.PENDING, Status.PARKED) or state.next_ms)
            and name not in self.flying
        ]
        assert not owing or (due is not None and due <= self.now + DAY_MS)

    @invariant()
    def overdue_rows_are_known(self) -> None:
        first = self.agenda.next_overdue_ms()
        if first is not None and first <= self.now:
            assert self.agenda.overdue(self.now)
        assert first is None or first <= self.now + WAITING_MS_MAX

    def teardown(self) -> None:
        """Served to the end with true answers, nothing is owed and nothing is undecided."""
        for name in self.flying:
            self.agenda.unanswered(name, self.now)
        self.flying.clear()
        for _ in range(200):
            due = self.agenda.next_due_ms()
            if due is None:
                break
            self.now = max(self.now, due)
            found = self.agenda.next_work(self.now)
            assert found is not None
            state = self.agenda.states.get(found.name)
            assert state is not None
            body = Body(max(state.event, state.body, state.gone + 1) + 100, "z", "Foo", "e")
            state = replace(state, event_kind=None)
            verdict = decide(state, body, Attempt(found.event, self.now), PATIENCE)
            self.agenda.answered(found.name, verdict.state, self.now)
            self.write(found.name)
        self.write()
        for topic, position in self.agenda.positions.items():
            assert position.decided == self.ends[topic]


TestAgenda = AgendaMachine.TestCase
