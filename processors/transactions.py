"""Records out: what was decided within GATHER_SECONDS becomes one transaction with its cut.

`decide` runs here, on the state at the time of the commit: it may have changed during the fetch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from processors import publication
from processors.agenda import Agenda
from processors.decide import Attempt, Effect, Patience, decide
from processors.fetching import Outcome
from processors.intake import Intake
from processors.marks import Marks
from processors.publication import Answered
from processors.rewriting import Rewrite
from schemas.names import NormalizedName
from schemas.records import Cut, Reason
from schemas.redaction import NO_RULES, Rules
from schemas.topics import COMPACTED, Offset, Topic
from streams.bell import woken_within
from streams.clock import Clock
from streams.log import NextOffsets, Outgoing, TopicPartition, Writer
from streams.progress import CUT_KEY, progress_record

GATHER_SECONDS = 0.05  # decisions within this time share a transaction (13 ms each on Kafka)
RECORDS_MAX = 1_000  # of one transaction
BYTES_MAX = 32 * 1024 * 1024  # of one transaction, and of answers that wait for one
PROGRESS_SECONDS = 1.0  # a position that moved without any effect is stored this often


@dataclass(frozen=True)
class Place:
    """Where a worker writes: its partition, and whether `releases` is on."""

    partition: int
    with_releases: bool


class Transactions:
    """The one writer of a partition's effects; one transaction at a time."""

    def __init__(
        self,
        writer: Writer,
        place: Place,
        intake: Intake,
        agenda: Agenda,
        marks: Marks,
        clock: Clock,
        patience: Patience,
    ) -> None:
        self._writer = writer
        self._place = place
        self._intake = intake
        self._agenda = agenda
        self._marks = marks
        self._clock = clock
        self._patience = patience
        self._outcomes: deque[Outcome] = deque()
        self._rewrites: deque[Rewrite] = deque()
        self._waiting_bytes = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._committing = False
        self.rules = NO_RULES
        self.redacted = 0  # how many rules are applied to what was published before
        self.on_decided: Callable[[], object] = bool
        """Called when something was decided: the agenda may owe a new attempt. And every
        PROGRESS_SECONDS: the clock may have jumped to what is due."""
        self.cut: Cut | None = None
        self.committed = 0
        self.published = 0

    def start(self, cut: Cut | None, ends: Mapping[Topic, Offset]) -> None:
        """Begin at `cut`; `ends` are the next offsets of the compacted topics here."""
        self.cut = cut
        self._ends = dict(ends)
        self._swept = cut.swept if cut else 0
        self.redacted = cut.redacted if cut else 0

    def at_rest(self) -> bool:
        """True if nothing waits for a transaction."""
        decided = self._outcomes or self._rewrites or self._agenda.settled or self._intake.refused
        return not (decided or self._committing)

    def only_asks_wait(self) -> bool:
        """True if nothing waits for a transaction, but a marker for asks."""
        return self.at_rest() and self._marks.waits

    def wake(self) -> None:
        """Look whether there is something to write."""
        self._news.set()

    async def room(self) -> None:
        """Wait while more than BYTES_MAX await a transaction: no fetch is begun meanwhile."""
        while self._waiting_bytes > BYTES_MAX:
            self._room.clear()
            await self._room.wait()

    def put(self, outcome: Outcome) -> None:
        """Hand in an answer."""
        self._outcomes.append(outcome)
        self._waiting_bytes += outcome.size
        self._news.set()

    def adopt(self, rules: Rules) -> None:
        """From now on publish nothing that was trimmed without these rules: it is fetched again."""
        self.rules = rules
        trimmed = [outcome for outcome in self._outcomes if outcome.trimmed is not None]
        self._outcomes = deque(each for each in self._outcomes if each.trimmed is None)
        for outcome in trimmed:
            self._waiting_bytes -= outcome.size
            self._agenda.unanswered(outcome.work.name, self._clock.now_ms())
        self._room.set()
        self.on_decided()

    async def rewrite(self, rewrite: Rewrite) -> None:
        """Hand in a document that is to be published anew; waits for room."""
        await self.room()
        self._rewrites.append(rewrite)
        self._waiting_bytes += rewrite.size
        self._news.set()

    async def rested(self) -> None:
        """Wait until everything handed in for rewriting or in progress is written."""
        while self._rewrites or self._committing:
            self._room.clear()
            await self._room.wait()

    async def run(self) -> None:
        """Write what is decided, until cancelled."""
        loop = asyncio.get_running_loop()
        tell_at = loop.time()
        while True:
            await self._something_decided()
            if 0 < len(self._outcomes) < RECORDS_MAX:
                await asyncio.sleep(GATHER_SECONDS)
            decided = bool(self._outcomes)
            records = self._batch()
            cut = self._next_cut()
            if decided or loop.time() >= tell_at:
                self.on_decided()
                tell_at = loop.time() + PROGRESS_SECONDS
            if records or cut != self.cut:
                self._committing = True
                await self._commit(records, cut)
                self._committing = False
            self._room.set()
            self._intake.room_again()

    async def _something_decided(self) -> None:
        self._news.clear()
        now_ms = self._clock.now_ms()
        if not self.at_rest() or self._agenda.overdue(now_ms):
            return
        wait = PROGRESS_SECONDS
        overdue_ms = self._agenda.next_overdue_ms()
        if overdue_ms is not None:
            wait = min(wait, max(0.0, (overdue_ms - now_ms) / 1000))
        # Then it is time to look for overdue entries and for positions that moved.
        await woken_within(self._news, wait)

    def _batch(self) -> list[Outgoing]:
        """Everything that can be written now, within the bounds of one transaction."""
        now_ms = self._clock.now_ms()
        records: list[Outgoing] = []
        touched: dict[NormalizedName, None] = {}
        size = 0
        while self._outcomes and len(records) < RECORDS_MAX and size <= BYTES_MAX:
            outcome = self._outcomes.popleft()
            size += outcome.size
            records += self._decide(outcome, now_ms)
            touched[outcome.work.name] = None
        while self._rewrites and len(records) < RECORDS_MAX and size <= BYTES_MAX:
            rewrite = self._rewrites.popleft()
            size += rewrite.size
            if state := rewrite.on(self._agenda.states.get(rewrite.name)):
                self._agenda.states.put(rewrite.name, state)
                records += rewrite.records
                touched[rewrite.name] = None
        self._waiting_bytes -= size
        for name in self._agenda.settled_written():
            touched[name] = None
        records += self._intake.refused_written()
        for name in self._agenda.overdue(now_ms):
            self._agenda.written(name)
            touched[name] = None
        return records + self._states(touched, now_ms)

    def _states(self, names: Iterable[NormalizedName], now_ms: int) -> list[Outgoing]:
        rows = ((name, self._agenda.states.unwritten(name)) for name in names)
        return [publication.state_record(name, raw, now_ms) for name, raw in rows if raw]

    def _decide(self, outcome: Outcome, now_ms: int) -> list[Outgoing]:
        name = outcome.work.name
        before = self._agenda.states.get(name)
        if before is None:
            raise AssertionError(name)  # a name in flight has a state
        attempt = Attempt(outcome.work.event, outcome.answered_ms)
        verdict = decide(before, outcome.reply, attempt, self._patience)
        self._agenda.answered(name, verdict.state, now_ms)
        self.published += verdict.effect is Effect.PUBLISH
        if before.ask is Reason.SWEEP and verdict.effect in (Effect.PUBLISH, Effect.TOMBSTONE):
            self._swept += 1
        evidence = b"" if self.rules.fields(name) else outcome.evidence  # not counted by anyone
        answered = Answered(
            name, before, verdict, now_ms, outcome.trimmed, outcome.source, evidence,
            outcome.failed,
        )  # fmt: skip
        return publication.records(answered, with_releases=self._place.with_releases)

    def _next_cut(self) -> Cut:
        changelog = self._agenda.positions[Topic.CHANGELOG].decided
        refetch = self._agenda.positions[Topic.REFETCH].decided
        self._marks.pass_changelog(changelog)
        self._marks.pass_refetch(refetch)
        metadata, releases, state = (self._ends[topic] for topic in COMPACTED)
        begin = self._marks.held(changelog)
        cut = Cut(
            *(begin, refetch, metadata, releases, state), swept=self._swept, redacted=self.redacted
        )
        return self._marks.on(cut)

    async def _commit(self, records: list[Outgoing], cut: Cut) -> None:
        partition = self._place.partition

        def closing(ends: NextOffsets) -> list[Outgoing]:
            nonlocal cut
            for topic in COMPACTED:
                self._ends[topic] = ends.get(TopicPartition(topic, partition), self._ends[topic])
            metadata, releases, state = (self._ends[topic] for topic in COMPACTED)
            cut = replace(cut, metadata=metadata, releases=releases, state=state)
            now_ms = self._clock.now_ms()
            of = f"cut:{partition}:{now_ms}"
            return [progress_record(partition, CUT_KEY, cut, now_ms, of=of, kind="cut")]

        await self._writer.commit(records, closing)
        self.cut = cut
        self.committed += 1
