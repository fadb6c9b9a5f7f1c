"""What an answer means for a name: pure, without I/O and without a clock.

The rules come in sections: stale, failed, never back, 404. `State` in, `Verdict` out; the worker
turns a Verdict into records. Times are Unix milliseconds unless a name says seconds. No tie is
broken by a look at a version's own route: a serial map or the sweep settles what stays stale.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from msgspec.structs import replace

from schemas.records import (
    ABSENT_LOOKS,
    Ask,
    ChangelogEntry,
    Kind,
    Reason,
    State,
    Status,
)

REMOVALS = (Kind.REMOVE_PROJECT, Kind.QUARANTINE)
ARRIVALS = (Kind.CREATE, Kind.NEW_RELEASE)
DELIBERATE = (Reason.SWEEP, Reason.OPERATOR, Reason.REPAIR)
"""Asks that fetch though the serial is known: they look for what no serial tells."""
UNDER_WAY = (Status.PENDING, Status.PARKED)
USED_UP = (Status.STALE, Status.DEAD)

STALE = "stale"
UNCONFIRMED = "unconfirmed"
MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on asking, in seconds from the first attempt (a test needs no real hour)."""

    schedule_seconds: tuple[float, ...] = (1, 2, 4, 8, 16, 32, 60, 300, 600, 900)
    missing_proof_seconds: float = 300  # a 404 still there after this proves a removal
    arrival_grace_seconds: float = 60  # PyPI's edge keeps a 404 that long after a first release
    absent_again_seconds: float = 60  # a name never seen is looked at twice, that far apart

    def next_ms(self, first_ms: int, attempts: int) -> int | None:
        """When attempt number `attempts` + 1 is due; None when the schedule is used up."""
        if attempts > len(self.schedule_seconds):
            return None
        return first_ms + int(self.schedule_seconds[attempts - 1] * 1000)

    def gap_ms(self, attempts: int) -> int:
        """How long after attempt number `attempts` the next one is due if that one came late."""
        before = self.schedule_seconds[attempts - 2] if attempts > 1 else 0
        return int((self.schedule_seconds[attempts - 1] - before) * 1000)


DEFAULT_PATIENCE = Patience()


class Failure(StrEnum):
    """Why there is no usable document. The first two end for everybody when upstream is back."""

    TRANSPORT = "transport"
    SERVER = "server-error"
    UNDECODABLE = "undecodable"
    FOREIGN = "foreign"
    OVERSIZED = "oversized"


OUTAGE = (Failure.TRANSPORT.value, Failure.SERVER.value)


class Body(NamedTuple):
    """A usable document: its serial, the hash of its canonical form, `info.name`, the ETag."""

    serial: int
    hash: str
    display_name: str
    etag: str


class Unchanged(NamedTuple):
    """304: what is published is what upstream has; `serial` is the header's, if it has one."""

    serial: int | None = None


class Missing(NamedTuple):
    """404."""


class Failed(NamedTuple):
    """No usable document; `reason` is a Failure's value, with detail after a colon."""

    reason: str


Reply = Body | Unchanged | Missing | Failed


class Effect(StrEnum):
    """What the worker writes besides `state`."""

    NONE = "none"
    PUBLISH = "publish"
    TOMBSTONE = "tombstone"
    DEAD_LETTER = "dead-letter"


class Verdict(NamedTuple):
    """`state` is the name's new state; `stale` goes into the header of what is published."""

    effect: Effect
    state: State
    stale: bool = False


class Attempt(NamedTuple):
    """When an answer came, and for which event it was asked."""

    event: int
    now_ms: int


# --- what is owed -------------------------------------------------------------------------------


def owe(state: State | None, entry: ChangelogEntry) -> State | None:
    """State that owes `entry` its effect; None if what is known already reflects it.

    A newer event replaces an older one that is still owed and starts its attempts anew. A serial
    that only an ask named is no event yet: an ask may be wrong, and knows neither kind nor time.
    """
    known = state or State(Status.PENDING, 0)
    from_row = known.event_kind is not None or known.status is Status.OK
    if entry.serial <= known.event and from_row:
        return None
    if entry.serial <= known.gone:
        return None
    if known.published and entry.serial <= known.body:
        return None  # the published body was made after this row was written
    return replace(
        known,
        status=Status.PENDING,
        event=max(known.event, entry.serial),
        # below an ask's serial there is a newer row to come: this one may not speak for the name
        event_kind=entry.kind if entry.serial >= known.event else None,
        event_time=entry.time,
        event_name=entry.name,
        event_version=entry.version,
        attempts=0,
        first_ms=0,
        next_ms=0,
        missing_ms=0,
        reason="",
        ask=None,
    )


def owe_ask(state: State | None, ask: Ask) -> State | None:
    """State while an ask is served; None if it is decided without a fetch."""
    if state is None:
        return State(Status.PENDING, ask.serial, event_name=ask.name, ask=ask.reason)
    newer = ask.serial > state.event
    if ask.reason is Reason.SWEEP and not newer and state.status in UNDER_WAY:
        return None  # it is being asked for already; a sweep must not start its schedule anew
    deliberate = ask.reason in DELIBERATE
    if not deliberate and not ask.gone and ask.serial <= max(state.body, state.gone, state.event):
        return None
    served = replace(
        state,
        event_name=ask.name or state.event_name,
        next_ms=0,
        reason=BY_MAP if ask.gone and ask.map_serial >= state.event else state.reason,
        ask=ask.reason,
    )
    if not newer and ask.reason is Reason.SWEEP and state.status in USED_UP:
        return served  # one look: its attempts stay used up
    return replace(
        served,
        status=state.status if state.published and not newer else Status.PENDING,
        event=max(state.event, ask.serial),
        event_kind=None if newer else state.event_kind,
        event_time=0 if newer else state.event_time,
        attempts=0,
        first_ms=0,
        missing_ms=0,
        reason=served.reason if served.reason == BY_MAP or state.gone else "",
    )


def owe_ask_beside(state: State, ask: Ask) -> State:
    """State of a name whose live event is owed: its fetch serves the ask too.

    A serial above the event's says that there is a newer row: what is known of the older one,
    a removal perhaps, speaks for the name no more.
    """
    if ask.gone and ask.map_serial >= max(state.event, ask.serial):
        state = replace(state, reason=BY_MAP)
    if ask.serial <= state.event:
        return state
    return replace(
        state,
        event=ask.serial,
        event_kind=None,
        event_name=ask.name or state.event_name,
        event_version=None,
    )


def settle_by_map(state: State | None, ask: Ask) -> State | None:
    """A serial map as new as the event that gives the name the body's own serial settles it."""
    if state is None or not state.settled_by_map(ask.serial, ask.map_serial):
        return None
    return _settled(state)


# --- what an answer means -----------------------------------------------------------------------


def decide(state: State, reply: Reply, attempt: Attempt, patience: Patience) -> Verdict:
    """The verdict on `reply` for a name in `state` (the state of the commit's moment)."""
    if isinstance(reply, Body):
        return _on_body(state, reply, attempt, patience)
    if isinstance(reply, Unchanged):
        if reply.serial is not None and reply.serial > state.body:
            # A document without a serial of its own may be the same at a newer one. Only a whole
            # answer tells that from a header that is ahead: the next one is asked for without ETag.
            state = replace(state, etag="")
        return _on_unchanged(state, attempt, patience)
    if isinstance(reply, Missing):
        return _on_missing(state, attempt, patience)
    return _on_failed(state, reply, attempt, patience)


def _on_body(state: State, body: Body, attempt: Attempt, patience: Patience) -> Verdict:
    state = replace(state, missing_ms=0)
    if state.published and body.serial == state.body and body.display_name == state.name:
        if body.hash == state.hash:
            return _on_unchanged(replace(state, etag=body.etag, seen=""), attempt, patience)
        if body.hash != state.seen:
            # Not yet believed: an older rendering may be served at the same serial.
            return _again(replace(state, seen=body.hash), UNCONFIRMED, attempt, patience)
    elif not _may_replace(state, body):
        return _again(state, STALE, attempt, patience)
    published = replace(
        state,
        body=body.serial,
        gone=0,
        name=body.display_name,
        etag=body.etag,
        hash=body.hash,
        seen="",
    )
    if _reflects(state, body.serial):
        return Verdict(Effect.PUBLISH, _settled(published))
    verdict = _again(published, STALE, attempt, patience)
    return Verdict(Effect.PUBLISH, verdict.state, stale=True)


def _may_replace(state: State, body: Body) -> bool:
    """Never back: whether `body` may stand where something else, or a tombstone, stands now."""
    if state.gone:
        if state.event_kind in REMOVALS:
            return False
        # No row removed it, a 404 that stayed did: a body as new as the row it was asked for is
        # newer than that.
        spurious = state.event_kind is not None and body.serial == state.event == state.gone
        return body.serial > state.gone or spurious
    if not state.published or body.serial >= state.body:
        return True
    return body.display_name not in (state.name, "") and body.display_name == state.event_name


def _on_unchanged(state: State, attempt: Attempt, patience: Patience) -> Verdict:
    if not state.published:
        # A 304 without anything published: the ETag was another document's. Ask without it.
        return _again(replace(state, etag="", missing_ms=0), STALE, attempt, patience)
    if _reflects(state, state.body):
        return Verdict(Effect.NONE, _settled(state))
    return _again(replace(state, missing_ms=0), STALE, attempt, patience)


def _reflects(state: State, serial: int) -> bool:
    """Whether a body of this serial is all that is owed.

    A name that is OK owes no event: a map has said that its event's serial is none of the body's.
    """
    return serial >= state.event or state.status is Status.OK


def _on_missing(state: State, attempt: Attempt, patience: Patience) -> Verdict:
    if attempt.event != state.event:
        return Verdict(Effect.NONE, state)  # the newer event asks for itself
    if state.ask is not None and not state.published and not state.event_time:
        return Verdict(Effect.NONE, _absent(state, attempt, patience))
    state = replace(state, missing_ms=state.missing_ms or attempt.now_ms)
    if reason := _proof(state, attempt, patience):
        gone = replace(
            _settled(state), status=Status.ABSENT, attempts=ABSENT_LOOKS, gone=state.event,
            etag="", hash="", seen="", reason=reason, event_kind=state.event_kind,
        )  # fmt: skip
        return Verdict(Effect.TOMBSTONE if state.body and not state.gone else Effect.NONE, gone)
    return _again(state, MISSING, attempt, patience)


def _absent(state: State, attempt: Attempt, patience: Patience) -> State:
    """A name of which we hold nothing: absent at once, final at the second look."""
    looks = 1 + (state.attempts if state.status is Status.ABSENT else 0)
    final = looks >= ABSENT_LOOKS or (state.gone > 0 and state.gone >= state.event)
    return replace(
        _settled(state),
        status=Status.ABSENT,
        attempts=ABSENT_LOOKS if final else looks,
        next_ms=0 if final else attempt.now_ms + int(patience.absent_again_seconds * 1000),
        ask=None if final else state.ask,
        event_kind=state.event_kind if state.gone else None,
        reason=state.reason if final and state.gone and state.reason else "no-document",
    )


def _proof(state: State, attempt: Attempt, patience: Patience) -> str:
    """Why this 404 is a removal ("" = it proves nothing): the reason header of the tombstone."""
    if state.event_kind is Kind.REMOVE_PROJECT:
        return "removed"
    if state.event_kind is Kind.QUARANTINE:
        return "quarantined"
    age_ms = attempt.now_ms - state.event_time * 1000
    young = age_ms < patience.arrival_grace_seconds * 1000
    if state.event_kind in ARRIVALS and young:
        return ""
    if state.reason == BY_MAP:
        return "removed"
    if attempt.now_ms - state.missing_ms >= patience.missing_proof_seconds * 1000:
        return "no-releases"
    return ""


BY_MAP = "not-in-index"
"""State's reason while a name is checked because a serial map as new as its event lacks it."""


def _on_failed(state: State, failed: Failed, attempt: Attempt, patience: Patience) -> Verdict:
    verdict = _again(state, failed.reason, attempt, patience)
    if verdict.state.status is Status.STALE:
        dead = replace(verdict.state, status=Status.DEAD, reason=failed.reason)
        # Looked at again and no better: its letter is written already.
        same = state.status is Status.DEAD and _slug(state.reason) == _slug(failed.reason)
        return Verdict(Effect.NONE if same else Effect.DEAD_LETTER, dead)
    return verdict


def _slug(reason: str) -> str:
    return reason.partition(":")[0]


# --- the schedule -------------------------------------------------------------------------------


def _settled(state: State) -> State:
    return replace(
        state,
        status=Status.OK,
        event=max(state.event, state.body),
        event_kind=None,
        event_time=0,
        event_name="",
        event_version=None,
        attempts=0,
        first_ms=0,
        next_ms=0,
        missing_ms=0,
        reason="",
        seen="",
        ask=None,
    )


def _again(state: State, reason: str, attempt: Attempt, patience: Patience) -> Verdict:
    """Park until the next attempt; `stale` when the schedule is used up.

    An answer to an older question than the newest event's does not count as an attempt.
    """
    if attempt.event != state.event:
        return Verdict(Effect.NONE, state)
    if state.status is Status.PARKED and attempt.now_ms < state.next_ms:
        # Asked before its time, because an outage seemed over: no attempt.
        return Verdict(Effect.NONE, state)
    attempts = state.attempts + 1
    first_ms = state.first_ms or attempt.now_ms
    due_ms = patience.next_ms(first_ms, attempts)
    if due_ms is None:
        late = replace(state, status=Status.STALE, attempts=attempts, next_ms=0, reason=reason)
        return Verdict(Effect.NONE, late)
    if due_ms <= attempt.now_ms:
        # After a hold, a restart or a sleeping machine the attempts missed are not made in a rush.
        due_ms = attempt.now_ms + max(1, patience.gap_ms(attempts))
    parked = replace(
        state, status=Status.PARKED, attempts=attempts, first_ms=first_ms, next_ms=due_ms,
        reason=reason,
    )  # fmt: skip
    return Verdict(Effect.NONE, parked)
