"""Which names a round of the sweep asks for, in which order, how fast."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from producers.sweep import (
    RATE_SHARE,
    TICK_SECONDS_MAX,
    TICK_SECONDS_MIN,
    WHOLE_ROUNDS,
    Known,
    Round,
    credit,
    cursor_of,
    following,
    is_whole,
    pace,
    tick,
)
from schemas import codec
from schemas.records import Reason, State, Status, Sweep
from schemas.topics import Offset, Topic, partition_of
from streams.log import Record

NOW = 1_700_000_000
BEGUN = Sweep(1, 100.0, NOW, NOW)
PARTITIONS = 4

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
statuses = st.sampled_from(Status)
worlds = st.dictionaries(names, statuses, max_size=30)


def known(world: Iterable[tuple[str, Status]]) -> Known:
    found = Known()
    for name, status in world:
        found.put(name, codec.encode(State(status, 5, body=5)))
    return found


def taken(present: Round, count: int = 1_000, room: int = 1_000) -> list[str]:
    return [name for name, _ in present.take(count, [room] * PARTITIONS)]


def test_what_was_given_up_comes_first_then_all_others_in_order() -> None:
    world = {
        "d": Status.OK, "b": Status.OK, "z": Status.DEAD, "a": Status.STALE, "c": Status.ABSENT,
        "e": Status.PARKED, "f": Status.PENDING,
    }  # fmt: skip
    present = Round(BEGUN, known(world.items()))

    assert present.cursor.names == 4
    assert taken(present, 3) == ["a", "z", "b"]
    assert (present.cursor.asked, present.cursor.name, present.left) == (3, "b", 1)
    assert taken(present) == ["d"]
    assert taken(present) == []
    assert (present.cursor.asked, present.cursor.name, present.left) == (4, "d", 0)


@given(worlds, st.integers(1, 7), st.integers(0, 40))
def test_a_round_that_is_broken_off_anywhere_misses_nobody_and_asks_nobody_in_order_twice(
    world: dict[str, Status], step: int, broken_after: int
) -> None:
    """Whatever the place: both halves together are the round, and only `first` ones come twice."""
    before = Round(BEGUN, known(world.items()))
    asked: list[str] = []
    while len(asked) < broken_after and (more := taken(before, step)):
        asked += more
    again = Round(before.cursor, known(world.items()))
    rest = taken(again)

    used_up = {n for n, s in world.items() if s in (Status.DEAD, Status.STALE)}
    fine = {n for n, s in world.items() if s is Status.OK}
    assert {*asked, *rest} == used_up | fine
    assert sorted(n for n in asked + rest if n in fine) == sorted(fine)
    assert again.cursor.asked == again.cursor.names
    assert all(ask.reason is Reason.SWEEP and not ask.serial for _, ask in before.take(9, [9]))


@given(worlds, st.lists(st.integers(-3, 3), min_size=PARTITIONS, max_size=PARTITIONS))
def test_no_partition_gets_more_than_it_has_room_for(
    world: dict[str, Status], room: list[int]
) -> None:
    present = Round(BEGUN, known(world.items()))
    found = present.take(1_000, room)
    for partition, space in enumerate(room):
        own = [name for name, _ in found if partition_of(name, PARTITIONS) == partition]
        assert len(own) <= max(0, space)
    assert present.left + len(found) == present.cursor.names


@given(names)
def test_every_name_is_asked_for_without_its_etag_once_in_so_many_rounds(name: str) -> None:
    assert sum(is_whole(name, number) for number in range(7, 7 + WHOLE_ROUNDS)) == 1


def test_what_was_given_up_is_always_asked_for_as_a_whole() -> None:
    """Something was wrong with it: that nothing has changed would prove nothing."""
    found = known((f"n{number}", Status.DEAD) for number in range(40))
    assert all(ask.whole for _, ask in Round(BEGUN, found).take(40, [40]))


def test_the_newest_row_counts() -> None:
    found = known([("a", Status.OK), ("b", Status.DEAD), ("c", Status.OK), ("d", Status.OK)])
    found.put("a", codec.encode(State(Status.ABSENT, 6, attempts=2)))
    found.put("b", codec.encode(State(Status.OK, 6, body=6)))
    found.put("c", None)

    assert found.names(used_up=False) == ["b", "d"]
    assert found.names(used_up=True) == []


def test_the_pace_keeps_the_period_and_leaves_most_of_the_rate_to_others() -> None:
    week = 7 * 86_400.0
    assert pace(740_000, week, 10) == 740_000 / week
    assert pace(740_000, 86_400, 10) == RATE_SHARE * 10
    assert pace(740_000, -5, 10) == RATE_SHARE * 10
    assert pace(1_000, 100, 0) == 10
    assert pace(5, 0, 0) > 100


@given(st.floats(0, 2_000), st.floats(0, 1e9), st.floats(0, 100))
def test_after_a_long_sleep_nothing_is_made_up_for_in_a_rush(
    speed: float, seconds: float, before: float
) -> None:
    found = credit(before, seconds, speed)
    assert TICK_SECONDS_MIN <= tick(speed) <= TICK_SECONDS_MAX
    assert found <= max(1.0, 2 * speed * tick(speed))


def test_a_round_goes_on_or_the_next_one_waits_for_its_time() -> None:
    ended = replace(BEGUN, ended=NOW + 40, names=9, asked=9, name="z")

    assert following(None, NOW, 100) == (BEGUN, 0)
    assert following(replace(BEGUN, name="k"), NOW + 300, 50) == (
        replace(BEGUN, name="k", every=50),
        0,
    )
    at_once = Sweep(2, 0, NOW + 9, NOW + 9)
    assert following(replace(BEGUN, name="k"), NOW + 9, 0) == (at_once, 0)
    assert following(replace(at_once, name="k"), NOW + 9, 0) == (replace(at_once, name="k"), 0)
    assert following(ended, NOW + 60, 100) == (Sweep(2, 100, NOW + 60, NOW + 60), 40)
    assert following(ended, NOW + 160, 100)[1] == 0
    assert following(replace(ended, started=NOW + 9_999), NOW, 100)[1] == 100


def test_what_is_no_cursor_is_none() -> None:
    """Any process may write there."""

    def row(value: bytes | None) -> Record:
        return Record(Topic.PROGRESS, 2, Offset(0), 0, "sweep", value, ())

    assert cursor_of(None) is None
    assert cursor_of(row(None)) is None
    assert cursor_of(row(b'{"round":"x"}')) is None
    assert cursor_of(row(codec.encode(BEGUN))) == BEGUN
