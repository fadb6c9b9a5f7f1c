"""Which names a serial map makes a reconcile ask for."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from processors.owing import settle_by_map
from producers.difference import Difference, Order, Plan, Scope, ask_for, index_of
from schemas import codec
from schemas.names import NormalizedName
from schemas.records import Ask, Filter, Reason, State, Status
from schemas.topics import partition_of
from upstream.listing import Listing
from upstream.source import ProjectSerial, SerialMap

FOO = NormalizedName("foo")


RECONCILE = Scope(Reason.RECONCILE)


def difference(
    listed: dict[str, int],
    known: dict[str, State],
    map_serial: int = 100,
    scope: Scope = RECONCILE,
    own: Filter = Filter(),  # noqa: B008  frozen
) -> Plan:
    lines = [ProjectSerial(name, serial) for name, serial in listed.items()]
    found = Difference(SerialMap(map_serial, "", lines), own, 1, scope)
    for name, state in known.items():
        found.put(0, name, codec.encode(state))
    [only] = found.plans()
    return only


def asks(serial: int, map_serial: int, *known: tuple[NormalizedName, State]) -> Found:
    plan = difference({"Foo": serial} if serial else {}, dict(known), map_serial)
    made = [ask_for(wanted, Reason.RECONCILE, map_serial) for wanted in plan.wanted]
    return Found(made, plan.names, plan.known)


class Found(NamedTuple):
    asks: list[tuple[NormalizedName, Ask]]
    names: int
    known: int


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
    dead = State(Status.DEAD, 20, body=10, attempts=11)
    assert asks(20, 30, (FOO, dead)).asks == []
    absent = State(Status.ABSENT, 20, attempts=2)
    assert asks(20, 30, (FOO, absent)).asks == []
    assert asks(21, 30, (FOO, absent)).asks[0][1].serial == 21


def test_of_several_records_of_a_name_the_last_counts() -> None:
    """As the topic holds them before compaction, tombstones included."""
    new, old = State(Status.OK, 20, body=20), State(Status.OK, 10, body=10, name="Foo")
    for listed, records, wanted in (
        ([ProjectSerial("Foo", 20)], [old, new], []),
        ([ProjectSerial("Foo", 20)], [new, old], ["Foo"]),
        ([ProjectSerial("Foo", 20)], [new, None], ["Foo"]),
        ([], [old], ["Foo"]),
        ([], [old, None], []),
        ([], [old, State(Status.ABSENT, 30, body=10, gone=30, attempts=2)], []),
    ):
        found = Difference(SerialMap(99, "", listed), Filter(), 1, RECONCILE)
        for state in records:
            found.put(0, FOO, codec.encode(state) if state else None)
        [plan] = found.plans()
        assert [project.name for project in plan.wanted] == wanted, (listed, records)


def test_the_newest_comes_first_unless_names_are_wanted_in_order() -> None:
    listed = {"b": 3, "A": 1, "c": 9}

    assert [p.name for p in difference(listed, {}).wanted] == ["c", "b", "A"]
    by_name = Scope(Reason.BACKFILL, order=Order.NAME)
    assert [p.name for p in difference(listed, {}, scope=by_name).wanted] == ["A", "b", "c"]


def test_changed_since_leaves_out_what_is_older_and_what_is_not_listed() -> None:
    """A name that the map lacks has no serial in it: nothing is said of it."""
    known = {"gone": State(Status.OK, 4, body=4, name="gone")}
    scope = Scope(Reason.BACKFILL, changed_since=5)
    plan = difference({"a": 5, "b": 6}, known, scope=scope)

    assert [project.name for project in plan.wanted] == ["b"]
    assert (plan.names, plan.known) == (1, 0)
    assert len(difference({"a": 5, "b": 6}, known).wanted) == 3


def test_a_rule_narrows_the_log_s_own_filter_and_never_widens_it() -> None:
    """Names outside of it are neither asked for nor taken for gone."""
    known = {name: State(Status.OK, 4, body=4, name=name) for name in ("ax", "bx")}
    own = Filter(("a*",))
    rule = Scope(Reason.RECONCILE, rule=Filter((), ("ab*",)))
    plan = difference({"aa": 5, "ab": 6, "ba": 7}, known, scope=rule, own=own)

    assert [project.name for project in plan.wanted] == ["aa", "ax"]
    assert plan.names == 1


def test_of_two_spellings_the_newer_counts_and_what_is_no_name_is_left_out() -> None:
    lines = [ProjectSerial("A.b", 5), ProjectSerial("a-b", 7), ProjectSerial("../x", 9)]

    assert index_of(Listing(lines)) == {"a-b": 1}
    assert index_of(Listing(lines[::-1])) == {"a-b": 1}
    assert index_of(Listing(lines[:2][::-1])) == {"a-b": 0}


@pytest.mark.parametrize("partitions", [1, 4, 12])
def test_every_name_is_planned_in_its_own_partition(partitions: int) -> None:
    """And counted there, also where its state says so."""
    lines = [ProjectSerial(f"p-{number}", number) for number in range(1, 60)]
    found = Difference(SerialMap(99, "", lines), Filter(), partitions, RECONCILE)
    for line in lines[::2]:
        state = State(Status.OK, line.serial, body=line.serial)
        found.put(partition_of(line.name, partitions), line.name, codec.encode(state))
    plans = found.plans()

    assert sorted(w.serial for plan in plans for w in plan.wanted) == list(range(2, 60, 2))
    for at, plan in enumerate(plans):
        mine = [line for line in lines if partition_of(line.name, partitions) == at]
        assert plan.names == len(mine)
        assert plan.known == sum(line.serial % 2 for line in mine)
        assert all(partition_of(wanted.name, partitions) == at for wanted in plan.wanted)
