"""Twelve bugs, one for each invariant: what the checker must be able to see.

Each is a shipped function put in place of itself for as long as a test wants it, wrong in a way in
which such programs are wrong. No switch for any of them is in the program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from processors import publication, transactions
from processors.agenda import Lane
from processors.decide import Body, decide
from processors.slots import Slots
from producers.head_writer import HeadWriter
from pypistream import restarts
from schemas.errors import LogFull, Retriable
from schemas.manifest import MANIFEST_FILE
from schemas.topics import Topic
from sinks.duckdb.intake import Intake
from sinks.duckdb.staged import Staged
from sinks.dump import frame_store
from sinks.dump.frames import latest
from sinks.durable import write_synced
from sinks.publication import Publication, link
from streams.log import LogUnavailable, Outgoing
from tests.support import sim_schedule
from tests.support.sim_schedule import Schedule
from tests.support.simulation import DUCKDB_ONE_IN, Outcome, Simulation

HEAD_OF_LINE_SECONDS = (
    30.0  # a write that came just too late waits twice as long, more than I9 allows
)


@dataclass(frozen=True)
class Bug:
    """`what` is wrong; `fault`: the kind that brings it to light, "" = any schedule may."""

    invariant: str
    what: str
    plant: Callable[[], Any]
    fault: str = ""
    step: int = 1  # between two seeds that are tried

    def caught_by(self, seed: int) -> list[str]:
        """What the checker says of this invariant, in the schedule of that seed with the bug."""
        with self.plant():
            return [text for text in self.play(seed).problems if self.names(text)]

    def names(self, text: str) -> bool:
        """Whether a line of the checker's is about this invariant."""
        return text.partition(" ")[0] == self.invariant

    def play(self, seed: int) -> Outcome:
        """The schedule, with all of its faults of the one kind if there is one."""
        return Simulation(self.schedule(seed)).play()

    def schedule(self, seed: int) -> Schedule:
        """The same without playing it."""
        drawn = sim_schedule.drawn(seed)
        if not self.fault:
            return drawn
        return replace(
            drawn, faults=tuple(replace(fault, kind=self.fault) for fault in drawn.faults)
        )


def _same_serial_is_the_same() -> Any:
    real = decide

    def decided(state: Any, reply: Any, attempt: Any, patience: Any) -> Any:
        if isinstance(reply, Body) and state.published and reply.serial == state.body:
            reply = reply._replace(hash=state.hash)
        return real(state, reply, attempt, patience)

    return patch.object(transactions, "decide", decided)


def _whatever_comes_is_published() -> Any:
    real = decide

    def decided(state: Any, reply: Any, attempt: Any, patience: Any) -> Any:
        if isinstance(reply, Body) and state.published and reply.serial < state.body:
            state = msgspec.structs.replace(state, body=0)
        return real(state, reply, attempt, patience)

    return patch.object(transactions, "decide", decided)


def _position_before_rows() -> Any:
    real = HeadWriter.commit

    async def commit(self: Any, records: Any, head: Any, history: Any = None) -> None:
        await real(self, [], head, history)
        await real(self, records, head, history)

    return patch.object(HeadWriter, "commit", commit)


def _tried_again_blindly() -> Any:
    real = transactions.Transactions._commit

    async def commit(self: Any, records: Any, cut: Any) -> None:
        try:
            await real(self, records, cut)
        except LogUnavailable:
            await real(self, records, cut)

    return patch.object(transactions.Transactions, "_commit", commit)


def _without(unwanted: Callable[[Outgoing], bool]) -> Any:
    real = publication.records

    def records(*given: Any, **named: Any) -> list[Outgoing]:
        return [each for each in real(*given, **named) if not unwanted(each)]

    return patch.object(publication, "records", records)


def _no_tombstone() -> Any:
    return _without(lambda each: each.topic is Topic.METADATA and each.value is None)


def _no_letter() -> Any:
    return _without(lambda each: each.topic is Topic.DEAD_LETTER)


def _standing_before_rows() -> Any:
    real = Intake.take

    def take(self: Any, rows: Any, standing: str) -> None:
        real(self, Staged(), standing)
        real(self, rows, standing)

    return patch.object(Intake, "take", take)


def _oldest_wins() -> Any:
    real = latest

    def oldest(sources: Sequence[Any]) -> Iterator[Any]:
        return real(list(reversed(sources)))

    return patch.object(frame_store, "latest", oldest)


def _manifest_first() -> Any:
    def write(self: Any, version: Path, files: Any, manifest: Any) -> None:
        version.mkdir()
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        write_synced(version / MANIFEST_FILE, text)
        (self._root / MANIFEST_FILE).unlink(missing_ok=True)
        link(version / MANIFEST_FILE, self._root / MANIFEST_FILE)
        for name, source in files.items():
            link(source, version / name)

    return patch.object(Publication, "_write", write)


def _waits_for_what_failed() -> Any:
    real = transactions.Transactions._commit

    async def commit(self: Any, records: list[Outgoing], cut: Any) -> None:
        if any(b'"status":"parked"' in (each.value or b"") for each in records):
            await asyncio.sleep(HEAD_OF_LINE_SECONDS)
        await real(self, records, cut)

    return patch.object(transactions.Transactions, "_commit", commit)


def _given_up_at_once() -> Any:
    async def restarting(role: Callable[[], Any]) -> None:
        with suppress(Retriable, LogFull):
            try:
                await role()
            except BaseExceptionGroup as group:
                raise restarts.first_of(group) from None

    return patch.object(restarts, "restarting", restarting)


def _slots_without_number() -> Any:
    return patch.object(Slots, "lanes", lambda *_: tuple(Lane))


@contextmanager
def nothing_planted() -> Iterator[None]:
    """The program as it is."""
    yield


BUGS = (
    Bug("I1", "an equal serial is taken for equal content", _same_serial_is_the_same),
    Bug("I2", "an older document replaces a newer one", _whatever_comes_is_published, "lies"),
    Bug(
        "I3", "the journal's position is stored before its rows",
        _position_before_rows, "kill-in-transaction",
    ),
    Bug("I4", "a write whose answer was lost is made again", _tried_again_blindly, "lost-answer"),
    Bug("I5", "a removal leaves the document in its topic", _no_tombstone),
    Bug(
        "I6", "the sink's position is committed before its rows",
        _standing_before_rows, "sink-kill", DUCKDB_ONE_IN,
    ),
    Bug("I7", "where changes are merged the oldest wins", _oldest_wins),
    Bug("I8", "the manifest is there before its files", _manifest_first, "sink-kill"),
    Bug("I9", "what failed holds up what is well", _waits_for_what_failed, "poison"),
    Bug("I10", "a role ends at what passes", _given_up_at_once, "failing-log"),
    Bug("I11", "fetches are not bounded by their slots", _slots_without_number),
    Bug("I12", "a project is given up without a letter", _no_letter, "poison"),
)  # fmt: skip
