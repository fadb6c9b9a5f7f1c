"""What an answer means for a name: pure, without I/O and without a clock.

A `State` and a `Reply` go in, a `Verdict` comes out, and the worker turns that into records. There
is a rule for each kind of reply: a body, 304, 404, a failure; and the schedule of further attempts
at the end. Times are Unix milliseconds unless a name says seconds.

A document that stays stale is not compared with the route of its own version: a serial map or the
sweep settles it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from msgspec.structs import replace

from processors.owing import BY_MAP, settled
from schemas.records import ABSENT_LOOKS, Kind, Reason, Source, State, Status

REMOVALS = (Kind.REMOVE_PROJECT, Kind.QUARANTINE)
ARRIVALS = (Kind.CREATE, Kind.NEW_RELEASE)
STALE = "stale"
UNCONFIRMED = "unconfirmed"
MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on asking, in seconds from the first attempt; a test passes shorter ones."""

    schedule_seconds: tuple[float, ...] = (1, 2, 4, 8, 16, 32, 60, 300, 600, 900)
    missing_proof_seconds: float = 300  # a 404 that lasts this long proves a removal
    arrival_grace_seconds: float = 60  # after a first release PyPI's CDN may keep a 404 this long
    absent_again_seconds: float = 60  # a name without a document is looked at twice, this far apart

    def next_ms(self, first_ms: int, attempts: int) -> int | None:
        """When attempt `attempts` + 1 is due (Unix ms); None = the schedule is used up."""
        if attempts > len(self.schedule_seconds):
            return None
        return first_ms + int(self.schedule_seconds[attempts - 1] * 1000)

    def gap_ms(self, attempts: int) -> int:
        """Milliseconds from attempt number `attempts` to the next one, if the former came late."""
        before = self.schedule_seconds[attempts - 2] if attempts > 1 else 0
        return int((self.schedule_seconds[attempts - 1] - before) * 1000)


DEFAULT_PATIENCE = Patience()


class Failure(StrEnum):
    """Why there is no usable document.

    The first two are an outage, which ends for all names at once.
    """

    TRANSPORT = "transport"
    SERVER = "server-error"
    UNDECODABLE = "undecodable"
    FOREIGN = "foreign"
    OVERSIZED = "oversized"
    INDEX = "index"  # the JSON API has no whole document, nor has the index the rest of it


OUTAGE = (Failure.TRANSPORT.value, Failure.SERVER.value)


class Body(NamedTuple):
    """A usable document: its serial, the hash of its canonical form, `info.name`, the ETag.

    `own_serial`: the serial is in the document itself, not only in a header. `source`: what the
    document was made from.
    """

    serial: int
    hash: str
    display_name: str
    etag: str
    own_serial: bool = True
    source: Source = Source.JSON


class Unchanged(NamedTuple):
    """304: upstream has what is published. `serial` is the header's, None if it has none."""

    serial: int | None = None


class Missing(NamedTuple):
    """404. `by_index`: the JSON API is in doubt, and the index has no file of the project either.

    The index does not show a release without files: once the JSON API is back it is asked again.
    """

    by_index: bool = False

    @property
    def source(self) -> Source:
        """Which source said so."""
        return Source.INDEX if self.by_index else Source.JSON


class Failed(NamedTuple):
    """No usable document; `reason` is a Failure's value, with detail after a colon."""

    reason: str


Reply = Body | Unchanged | Missing | Failed
UNANSWERED = "unanswered"  # upstream asked us to wait, so there is no reply


def outcome_of(reply: Reply) -> str:
    """The kind of a reply, for counts: `document`, `unchanged`, `missing` or a Failure's value."""
    if isinstance(reply, Failed):
        return reply.reason.partition(":")[0]
    return {Body: "document", Unchanged: "unchanged", Missing: MISSING}[type(reply)]


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
    """The event serial that a fetch was made for, and when its answer came."""

    event: int
    now_ms: int


# --- what an answer means -----------------------------------------------------------------------


def decide(state: State, reply: Reply, attempt: Attempt, patience: Patience) -> Verdict:
    """The verdict on `reply` for a name in `state`, its state at the time of the commit."""
    if isinstance(reply, Body):
        return _on_body(state, reply, attempt, patience)
    if isinstance(reply, Unchanged):
        if reply.serial is not None and reply.serial > state.body:
            # Either the same document is current at this newer serial, or the header is ahead of
            # it. Only a whole answer tells which, so the next attempt is made without the ETag.
            state = replace(state, etag="")
        return _on_unchanged(state, attempt, patience)
    if isinstance(reply, Missing):
        return _on_missing(state, reply, attempt, patience)
    return _on_failed(state, reply, attempt, patience)


def _on_body(state: State, body: Body, attempt: Attempt, patience: Patience) -> Verdict:
    # A repair also publishes content that is known: the topics may hold something else.
    state = replace(state, missing_ms=0)
    if state.published and body.serial == state.body and body.display_name == state.name:
        if body.hash == state.hash and state.ask is not Reason.REPAIR:
            return _on_unchanged(replace(state, etag=body.etag, seen=""), attempt, patience)
        if body.source is Source.INDEX is not state.source:
            # The index's document has less than the published one, and nothing newer.
            return _on_unchanged(state, attempt, patience)
        richer = body.source is Source.JSON is not state.source
        if not richer and body.hash not in (state.hash, state.seen):
            # Not yet believed: upstream may serve an older rendering with the same serial.
            return _unconfirmed(state, body, attempt, patience)
    elif not _may_replace(state, body):
        if not _overstated(state, body):
            return _again(state, STALE, attempt, patience)
        if body.hash != state.seen:
            return _unconfirmed(state, body, attempt, patience)
        state = replace(state, event=body.serial)  # rows above that serial are owed again
    published = replace(
        state,
        body=body.serial,
        gone=0,
        name=body.display_name,
        etag=body.etag,
        hash=body.hash,
        seen="",
        source=body.source,
    )
    if _reflects(state, body.serial):
        return Verdict(Effect.PUBLISH, settled(published))
    verdict = _again(published, STALE, attempt, patience)
    return Verdict(Effect.PUBLISH, verdict.state, stale=True)


def _unconfirmed(state: State, body: Body, attempt: Attempt, patience: Patience) -> Verdict:
    verdict = _again(replace(state, seen=body.hash), UNCONFIRMED, attempt, patience)
    if state.seen and _is_once_more(state, patience):
        return verdict  # it differs at every look
    return _once_more(verdict, attempt.now_ms + max(1, patience.gap_ms(1)))


def _is_once_more(state: State, patience: Patience) -> bool:
    """Whether the attempt of a name in this state is an extra one, added by `_once_more`."""
    return state.status is Status.PARKED and state.attempts > len(patience.schedule_seconds)


def _once_more(verdict: Verdict, due_ms: int) -> Verdict:
    """Add an attempt if the schedule is used up: what was first seen now needs a second look.

    Without it the sweep, which looks once a round, could prove neither new content nor a removal;
    and content that changed again before the last attempt would stay unconfirmed for ever.
    """
    if verdict.state.status is not Status.STALE:
        return verdict
    parked = replace(verdict.state, status=Status.PARKED, next_ms=due_ms)
    return Verdict(Effect.NONE, parked)


def _may_replace(state: State, body: Body) -> bool:
    """Never back: whether `body` may replace what is published, or a tombstone."""
    if state.gone:
        if state.event_kind in REMOVALS:
            return False
        # Not a row but a lasting 404 removed it: a body as new as the row that it was asked for
        # proves that 404 wrong.
        spurious = state.event_kind is not None and body.serial == state.event == state.gone
        return body.serial > state.gone or spurious
    if not state.published or body.serial >= state.body:
        return True
    return body.display_name not in (state.name, "") and body.display_name == state.event_name


def _overstated(state: State, body: Body) -> bool:
    """Whether a header overstated the serial: the published content comes with a lower one.

    The content does not go back. If the serial were kept, rows up to it would count as reflected.
    """
    same = state.published and body.hash == state.hash and body.display_name == state.name
    claimed = state.event_kind is None and state.event == state.body
    return same and claimed and not body.own_serial and body.serial > 0


def _on_unchanged(state: State, attempt: Attempt, patience: Patience) -> Verdict:
    if not state.published:
        # A 304 though nothing is published: the ETag was another document's. Ask without it.
        return _again(replace(state, etag="", missing_ms=0), STALE, attempt, patience)
    if _reflects(state, state.body):
        return Verdict(Effect.NONE, settled(state))
    return _again(replace(state, missing_ms=0, seen=""), STALE, attempt, patience)


def _reflects(state: State, serial: int) -> bool:
    """Whether a body with this serial settles what the name is owed.

    A name that is OK is owed nothing, whatever its event's serial: a serial map has settled it.
    """
    return serial >= state.event or state.status is Status.OK


def _on_missing(state: State, missing: Missing, attempt: Attempt, patience: Patience) -> Verdict:
    if attempt.event != state.event:
        return Verdict(Effect.NONE, state)  # a fetch for the newer event will follow
    still = state.status is Status.ABSENT and not state.exception
    if (state.ask is not None or still) and not state.published and not state.event_time:
        absent = replace(_absent(state, attempt, patience), source=missing.source)
        # A repair may concern a document that is in the topics though `state` knows nothing of it.
        ghost = state.ask is Reason.REPAIR and not state.gone and not absent.exception
        return Verdict(Effect.TOMBSTONE if ghost else Effect.NONE, absent)
    state = replace(state, missing_ms=state.missing_ms or attempt.now_ms)
    if reason := proof(state, attempt, patience):
        # Without a row the event's serial comes from an ask: the tombstone rests on what was
        # published.
        serial = state.event if state.event_kind is not None else max(state.body, state.gone)
        gone = replace(
            settled(state), status=Status.ABSENT, attempts=ABSENT_LOOKS, gone=serial,
            etag="", hash="", seen="", reason=reason, event_kind=state.event_kind,
            source=missing.source,
        )  # fmt: skip
        return Verdict(Effect.TOMBSTONE if state.body and not state.gone else Effect.NONE, gone)
    verdict = _again(state, MISSING, attempt, patience)
    proved_ms = state.missing_ms + int(patience.missing_proof_seconds * 1000)
    return _once_more(verdict, proved_ms) if attempt.now_ms < proved_ms else verdict


def _absent(state: State, attempt: Attempt, patience: Patience) -> State:
    """A name without anything published: absent at once, and for good after the second look."""
    looks = 1 + (state.attempts if state.status is Status.ABSENT else 0)
    final = looks >= ABSENT_LOOKS
    return replace(
        settled(state),
        status=Status.ABSENT,
        attempts=ABSENT_LOOKS if final else looks,
        next_ms=0 if final else attempt.now_ms + int(patience.absent_again_seconds * 1000),
        ask=None if final else state.ask,
        event_kind=state.event_kind if state.gone else None,
        reason=state.reason if final and state.gone and state.reason else "no-document",
    )


def proof(state: State, attempt: Attempt, patience: Patience) -> str:
    """Why this 404 proves a removal, for the tombstone's header `reason`; "" = it does not."""
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


def _on_failed(state: State, failed: Failed, attempt: Attempt, patience: Patience) -> Verdict:
    verdict = _again(state, failed.reason, attempt, patience)
    if verdict.state.status is Status.STALE:
        dead = replace(verdict.state, status=Status.DEAD, reason=failed.reason)
        # It failed in the same way as before: its dead letter is written already.
        same = state.status is Status.DEAD and same_failure(state.reason, failed.reason)
        return Verdict(Effect.NONE if same else Effect.DEAD_LETTER, dead)
    return verdict


def same_failure(reason: str, other: str) -> bool:
    """Whether both failures are of one kind; the detail after the colon may differ."""
    return reason.partition(":")[0] == other.partition(":")[0]


# --- the schedule -------------------------------------------------------------------------------


def _again(state: State, reason: str, attempt: Attempt, patience: Patience) -> Verdict:
    """Park the name until its next attempt; `stale` when the schedule is used up.

    An answer to a fetch that was made for an older event does not count as an attempt.
    """
    if attempt.event != state.event:
        return Verdict(Effect.NONE, state)
    if state.status is Status.PARKED and attempt.now_ms < state.next_ms:
        # Asked before it was due, because an outage seemed over: this is no attempt.
        return Verdict(Effect.NONE, state)
    attempts = state.attempts + 1
    first_ms = state.first_ms or attempt.now_ms
    due_ms = patience.next_ms(first_ms, attempts)
    if due_ms is None:
        late = replace(state, status=Status.STALE, attempts=attempts, next_ms=0, reason=reason)
        return Verdict(Effect.NONE, late)
    if due_ms <= attempt.now_ms:
        # After a hold, a restart or a suspend, missed attempts are not made up for in a rush.
        due_ms = attempt.now_ms + max(1, patience.gap_ms(attempts))
    parked = replace(
        state, status=Status.PARKED, attempts=attempts, first_ms=first_ms, next_ms=due_ms,
        reason=reason,
    )  # fmt: skip
    return Verdict(Effect.NONE, parked)
