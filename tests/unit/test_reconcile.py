"""Which names a serial map makes a reconcile ask for."""

from __future__ import annotations

from processors.owing import settle_by_map
from producers.reconcile import Plan, index_of, plan
from schemas.names import NormalizedName
from schemas.records import Filter, Reason, State, Status
from streams.states import States
from upstream.source import ProjectSerial

FOO = NormalizedName("foo")


def asks(serial: int, map_serial: int, *known: tuple[NormalizedName, State]) -> Plan:
    states = States({})
    for name, state in known:
        states.put(name, state)
    index = index_of([ProjectSerial("Foo", serial)] if serial else [], Filter())
    return plan(index, states, map_serial, Reason.RECONCILE)


def test_a_stale_name_whose_serial_the_map_confirms_is_settled_by_the_ask() -> None:
    stale = State(Status.STALE, 20, body=10, attempts=11)
    found = asks(10, 20, (FOO, stale))

    assert (found.names, found.known) == (1, 1)
    [(name, ask)] = found.asks
    settled = settle_by_map(stale, ask)
    assert name == FOO
    assert settled is not None
    assert settled.status is Status.OK
    assert asks(10, 19, (FOO, stale)).asks == []


def test_only_what_is_unknown_newer_or_gone_is_asked_for() -> None:
    known = State(Status.OK, 20, body=20, name="Foo")

    assert asks(20, 30, (FOO, known)).asks == []
    assert asks(21, 30, (FOO, known)).asks[0][1].serial == 21
    assert asks(5, 30).asks[0][1].serial == 5
    assert asks(0, 30, (FOO, known)).asks[0][1].gone
    assert asks(0, 19, (FOO, known)).asks == []
    assert asks(0, 30, (FOO, State(Status.ABSENT, 20, body=10, gone=20, attempts=2))).asks == []
