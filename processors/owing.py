"""What a name is owed after a journal row, an ask or a serial map: pure, no I/O, no clock."""

from __future__ import annotations

from msgspec.structs import replace

from schemas.records import Ask, ChangelogEntry, Reason, State, Status

DELIBERATE = (Reason.SWEEP, Reason.OPERATOR, Reason.REPAIR)
"""Asks that fetch though the serial is known: they look for what no serial tells."""
UNDER_WAY = (Status.PENDING, Status.PARKED)
USED_UP = (Status.STALE, Status.DEAD)
BY_MAP = "not-in-index"
"""State's reason while a name is checked because a serial map as new as its event lacks it."""


def owe(state: State | None, entry: ChangelogEntry) -> State | None:
    """The state in which `entry` is owed its effect; None if the known state already reflects it.

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
        # an ask named a higher serial, so a newer row will come: this one must not speak for the
        # name
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
    """The state while an ask is served; None if the ask is decided without a fetch."""
    if state is None:
        return State(Status.PENDING, ask.serial, event_name=ask.name, ask=ask.reason)
    newer = ask.serial > state.event
    if ask.reason is Reason.SWEEP and not newer and state.status in UNDER_WAY:
        return None  # it is being asked for already; a sweep must not start its schedule anew
    deliberate = ask.reason in DELIBERATE
    if not deliberate and not ask.gone and ask.serial <= max(state.body, state.gone, state.event):
        return None
    told = ask.gone and ask.map_serial >= max(state.event, ask.serial)
    by_map = state.reason == BY_MAP
    served = replace(
        state,
        event_name=ask.name or state.event_name,
        next_ms=0,
        reason=BY_MAP if told else state.reason,
        ask=ask.reason,
        # a wrong document may have come with the right ETag: "unchanged" would confirm it
        etag="" if ask.whole else state.etag,
    )
    if not newer and ask.reason is Reason.SWEEP and state.status in USED_UP:
        return served  # one attempt: its schedule stays used up
    final = state.status is Status.ABSENT and not state.exception and not newer
    return replace(
        served,
        status=state.status if final or (state.published and not newer) else Status.PENDING,
        event=max(state.event, ask.serial),
        event_kind=None if newer else state.event_kind,
        event_time=0 if newer else state.event_time,
        attempts=state.attempts if final else 0,
        first_ms=0,
        missing_ms=0,
        # a map is proof only for an event that it was as new as
        reason=served.reason if told or state.gone or (by_map and not newer) else "",
    )


def owe_ask_beside(state: State, ask: Ask) -> State:
    """The state of a name that is owed a live event: that event's fetch serves the ask, too.

    A serial above the event's means that there is a newer row: what is known of the older one,
    perhaps a removal, no longer holds for the name.
    """
    told = ask.gone and ask.map_serial >= max(state.event, ask.serial)
    if told:
        state = replace(state, reason=BY_MAP)
    if ask.serial <= state.event:
        return state
    return replace(
        state,
        event=ask.serial,
        event_kind=None,
        event_name=ask.name or state.event_name,
        event_version=None,
        reason=BY_MAP if told else "",
    )


def settle_by_map(state: State | None, ask: Ask) -> State | None:
    """A serial map as new as the event that gives the name the body's own serial settles it."""
    if state is None or ask.gone or not state.settled_by_map(ask.serial, ask.map_serial):
        return None
    return settled(state)


def settled(state: State) -> State:
    """The state of a name that is owed nothing."""
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
