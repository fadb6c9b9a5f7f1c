"""The worker of one partition: entries and asks in, latest metadata out.

Entries, timers and replies are the inputs of one loop: `intake` puts what it reads on the `agenda`,
the dispatcher below asks upstream for what is due, `transactions` decides and writes. Any error
ends the session: the next one takes the writer id anew and reads its positions and state from the
log again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from processors.agenda import Agenda, Lane, Work
from processors.decide import (
    DEFAULT_PATIENCE,
    UNANSWERED,
    Body,
    Failed,
    Failure,
    Patience,
    outcome_of,
)
from processors.fetching import Outcome, Weather, ask, is_large, read
from processors.intake import Intake
from processors.json_api import ALL, JsonApi
from processors.marks import Marks
from processors.rewriting import Rewriter
from processors.second_source import Asked, SecondSource
from processors.slots import Slot, Slots
from processors.transactions import Place, Transactions
from schemas import codec
from schemas.records import Bootstrap, Config, Cut, Source, Status
from schemas.redaction import NO_RULES, Rules
from schemas.topics import COMPACTED, Offset, Topic
from streams.bell import woken_within
from streams.clock import Clock
from streams.log import Log, TopicPartition, Writer
from streams.progress import BOOTSTRAP_KEY, CUT_KEY, check_loaded, worker_id
from streams.rules import read_rules
from streams.states import States
from upstream.source import Document, Upstream


@dataclass(frozen=True)
class WorkerSettings:
    """A worker's settings: `partition`, one of `config.partitions`; times in seconds."""

    partition: int
    config: Config
    settle_seconds: float = 3.0
    patience: Patience = DEFAULT_PATIENCE


@dataclass
class Worker:
    """See the module's docstring. `run` goes on until cancelled or until an error ends it."""

    log: Log
    upstream: Upstream
    slots: Slots
    clock: Clock
    settings: WorkerSettings
    session: Session | None = None  # the current one, for displays
    earlier_commits: int = 0  # of the sessions before
    outcomes: Counter[str] = field(default_factory=Counter)  # answers by `outcome_of`

    async def run(self) -> None:
        """Take the writer id, read progress and state, then go on from there."""
        # The id comes first: from then on no predecessor can add to what is read.
        writer = await self.log.writer(worker_id(self.settings.partition))
        try:
            session = await Session.restore(self, writer)
            self.earlier_commits, self.session = self.commits, session
            await session.run()
        finally:
            await writer.close()

    @property
    def commits(self) -> int:
        """Transactions written since this worker was made, over all its sessions."""
        return self.earlier_commits + (self.session.transactions.committed if self.session else 0)

    @property
    def cut(self) -> Cut | None:
        """The last cut written, None before the first."""
        return self.session.transactions.cut if self.session else None

    @property
    def only_asks_wait(self) -> bool:
        """Whether nothing is left to be written, and a marker waits for the asks before it."""
        return self.session is not None and self.session.transactions.only_asks_wait()

    def counts(self) -> dict[Status, int]:
        """The number of names by status."""
        return self.session.agenda.states.counts() if self.session else dict.fromkeys(Status, 0)


class Session:
    """One life of a worker, from taking the id to the first error."""

    def __init__(
        self,
        worker: Worker,
        agenda: Agenda,
        intake: Intake,
        transactions: Transactions,
    ) -> None:
        self.agenda = agenda
        self.transactions = transactions
        self.intake = intake
        self.fetched = 0
        self.failed = 0
        self._worker = worker
        settings = worker.settings
        self._second = SecondSource(
            worker.upstream, settings.patience, settings.config.releases == "all"
        )
        # Before a restart the index had to stand in: a few probes show whether the JSON API is
        # back.
        if agenda.by_index:
            self._second.api = JsonApi(doubted=True, probe_ms=0)
        # Names parked for an outage before a restart are due as soon as upstream answers.
        self._weather = Weather(outage=agenda.outage_names > 0)
        self._changed = asyncio.Event()
        self.rules = NO_RULES
        self._other_rules = asyncio.Event()

    @classmethod
    async def restore(cls, worker: Worker, writer: Writer) -> Session:
        """Read progress and state, and put what is owed on the agenda.

        Raises LogMismatch for a log that is half loaded.
        """
        log, settings = worker.log, worker.settings
        partition = settings.partition
        progress = await log.table(TopicPartition(Topic.PROGRESS, partition))
        loaded = progress.rows.get(BOOTSTRAP_KEY)
        if loaded is not None and loaded.value is not None:
            check_loaded(codec.decode(loaded.value, Bootstrap))
        row = progress.rows.get(CUT_KEY)
        cut = codec.decode(row.value, Cut) if row is not None and row.value is not None else None
        table = await log.table(TopicPartition(Topic.STATE, partition))
        positions = {
            Topic.CHANGELOG: Offset(cut.changelog if cut else 0),
            Topic.REFETCH: Offset(cut.refetch if cut else 0),
        }
        settle_ms = int(settings.settle_seconds * 1000)
        slots = worker.slots.capacity
        now = worker.clock.now_ms()
        states = States(table.rows)
        agenda = Agenda(states, positions, now=now, settle_ms=settle_ms, slots=slots)
        marks = Marks(cut, settings.config.filter)
        intake = Intake(log, worker.clock, agenda, marks, settings.config.filter)
        place = Place(partition, with_releases=settings.config.releases == "all")
        transactions = Transactions(
            writer, place, intake, agenda, marks, worker.clock, settings.patience
        )
        ends = {
            topic: (await log.ends(topic))[TopicPartition(topic, partition)] for topic in COMPACTED
        }
        transactions.start(cut, ends)
        session = cls(worker, agenda, intake, transactions)
        session.adopt(await read_rules(log))
        return session

    def adopt(self, rules: Rules) -> None:
        """Publish by these rules from now on, and rewrite what was published before."""
        if rules.count != self.rules.count:
            self.rules = self._second.rules = rules
            self.transactions.adopt(rules)
            self._other_rules.set()

    async def run(self) -> None:
        """Read, ask and write until cancelled or until one of them fails."""
        partition = self._worker.settings.partition
        self.intake.on_news = self._news
        self.transactions.on_decided = self._changed.set
        self._worker.slots.on_free(self._changed.set)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.intake.read(TopicPartition(Topic.CHANGELOG, partition)))
                tasks.create_task(self.intake.read(TopicPartition(Topic.REFETCH, partition)))
                tasks.create_task(self.transactions.run())
                tasks.create_task(self._rewrite())
                tasks.create_task(self._dispatch(tasks))
        finally:
            self._worker.slots.forget(self._changed.set)
            await self.intake.close()

    def at_rest(self) -> bool:
        """True if everything read is decided and written."""
        return self.transactions.at_rest() and not any(map(len, self.agenda.positions.values()))

    def _news(self) -> None:
        self._changed.set()
        self.transactions.wake()

    async def _rewrite(self) -> None:
        """Apply new rules to what was published before they were known."""
        worker, settings = self._worker, self._worker.settings
        rewriter = Rewriter(
            worker.log,
            settings.partition,
            settings.config.releases == "all",
            self.agenda.states,
            worker.clock,
        )
        while True:
            self._other_rules.clear()
            rules = self.rules
            if self.transactions.redacted < rules.count:
                await self.transactions.rested()  # what was trimmed without them is written
                async for rewrite in rewriter.rewrites(rules):
                    await self.transactions.rewrite(rewrite)
                await self.transactions.rested()
                self.transactions.redacted = rules.count
                self.transactions.wake()
            await self._other_rules.wait()

    async def _dispatch(self, tasks: asyncio.TaskGroup) -> None:
        """Start a fetch whenever one is due, a slot is free and upstream permits."""
        slots, clock = self._worker.slots, self._worker.clock
        while True:
            lanes = slots.lanes(clock.now_ms())
            due_ms = self._due_ms(lanes)
            if due_ms is None or due_ms > clock.now_ms():
                await self._wait_until(due_ms)
                continue
            await self.transactions.room()
            await self._worker.upstream.permit()
            # Choose only now: something more urgent may have come while we waited for the permit.
            now_ms = clock.now_ms()
            work = self.agenda.next_work(now_ms, slots.lanes(now_ms))
            if work is not None:
                slot = slots.take(now_ms)
                task = tasks.create_task(self._fetch(work, slot))
                task.add_done_callback(slot.given_by)  # also if the task never began

    def _due_ms(self, lanes: tuple[Lane, ...]) -> int | None:
        """When a free slot has something to do (Unix ms); None = not before there is news."""
        if not lanes:
            return None
        api, agenda, now_ms = self._second.api, self.agenda, self._worker.clock.now_ms()
        if most := api.due(now_ms, agenda.makeshift_names):
            agenda.ask_makeshift(now_ms, None if most == ALL else most)
        due_ms = agenda.next_due_ms(lanes)
        if api.due_ms is None:
            return due_ms
        return api.due_ms if due_ms is None else min(due_ms, api.due_ms)

    async def _wait_until(self, due_ms: int | None) -> None:
        self._changed.clear()
        wait = None if due_ms is None else max(0.0, (due_ms - self._worker.clock.now_ms()) / 1000)
        await woken_within(self._changed, wait)

    async def _fetch(self, work: Work, slot: Slot) -> None:
        answer = await ask(self._worker.upstream, work)
        small = isinstance(answer, Document) and not is_large(answer)
        if small:
            slot.give()
            await asyncio.sleep(0)  # the next request goes out before this answer is read
        rules = self.rules
        outcome = await self._outcome(work, answer, slot)
        slot.give()
        if outcome is None or (outcome.trimmed is not None and rules is not self.rules):
            self._worker.outcomes[UNANSWERED] += 1
            self.agenda.unanswered(work.name, self._worker.clock.now_ms())
            self._changed.set()
            return
        self.fetched += 1
        self._observe(outcome)
        self.transactions.put(outcome)

    async def _outcome(
        self, work: Work, answer: Document | Outcome | None, slot: Slot
    ) -> Outcome | None:
        """The outcome of an answer, with the index's help where the JSON API lacks something."""
        document = answer if isinstance(answer, Document) else None
        outcome = await self._read(work, answer) if isinstance(answer, Document) else answer
        if outcome is None:
            return None
        state = self.agenda.states.get(work.name)
        if state is None:
            raise AssertionError(work.name)  # a name in flight has a state
        now_ms = self._worker.clock.now_ms()
        asked = Asked(outcome, state, now_ms, document)
        if self._second.needs(asked):
            outcome = await self._instead(asked, slot)
        return None if outcome is None else outcome._replace(answered_ms=now_ms)

    async def _instead(self, asked: Asked, slot: Slot) -> Outcome | None:
        # A slot that was given back may be in use again: then there is one too many for a while,
        # and no other is given out. The client's own bound holds all the time.
        again = slot if slot.held else self._worker.slots.take(self._worker.clock.now_ms())
        try:
            return await self._second.instead(asked)
        finally:
            again.give()

    async def _read(self, work: Work, document: Document) -> Outcome:
        all_releases = self._worker.settings.config.releases == "all"
        left_out = self.rules.fields(work.name)
        return await read(work, document, all_releases=all_releases, left_out=left_out)

    def _observe(self, outcome: Outcome) -> None:
        reply = outcome.reply
        self._worker.outcomes[outcome_of(reply)] += 1
        # If the index stood in, the JSON API failed all the same.
        why = outcome.failed
        if isinstance(reply, Failed):
            self.failed += 1
            why = reply.reason
        if why.startswith(Failure.TRANSPORT):
            self._weather.failed()
            return
        now_ms = self._worker.clock.now_ms()
        if self._weather.answered():
            self.agenda.outage_over(now_ms)
        if (
            isinstance(reply, Body)
            and reply.source is Source.JSON
            and self._second.api.whole(now_ms)
        ):
            self.agenda.ask_makeshift(now_ms)
