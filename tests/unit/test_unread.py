"""Which answers that nobody takes are held, for how long, and whose go first."""

from __future__ import annotations

from sinks.http.unread import (
    READ_BYTES_PER_SECOND_MIN,
    UNREAD_BYTES_MAX,
    UNREAD_SECONDS_MAX,
    Unread,
)

PART = UNREAD_BYTES_MAX // 4


class Connection:
    """It has so much unsent, until it is ended."""

    def __init__(self, unsent: int = PART) -> None:
        self.unsent = unsent
        self.ended = 0

    def abort(self) -> None:
        self.ended += 1


def test_what_fits_is_held() -> None:
    held = Unread()
    connections = [Connection() for _ in range(4)]
    for each in connections:
        held.add(each, each.unsent, 0.0)

    assert [0] * 4 == [each.ended for each in connections]
    assert UNREAD_BYTES_MAX == held.bytes


def test_beyond_that_the_one_unread_longest_goes() -> None:
    """As many of them as it takes; what is held never exceeds its bound."""
    held = Unread()
    connections = [Connection() for _ in range(10)]
    for each in connections:
        held.add(each, each.unsent, 0.0)
        assert held.bytes <= UNREAD_BYTES_MAX
    assert [1] * 6 + [0] * 4 == [each.ended for each in connections]

    large = Connection(3 * PART)
    held.add(large, large.unsent, 0.0)
    assert [1] * 9 + [0] == [each.ended for each in connections]
    assert (0, UNREAD_BYTES_MAX) == (large.ended, held.bytes)


def test_who_has_taken_an_answer_begins_again_at_the_end() -> None:
    held = Unread()
    reading, *others = [Connection() for _ in range(4)]
    for each in (reading, *others):
        held.add(each, each.unsent, 0.0)
    held.remove(reading)
    assert 3 * PART == held.bytes
    held.remove(reading)
    held.add(reading, PART, 0.0)
    held.add(Connection(), PART, 0.0)

    assert [0, 1, 0, 0] == [each.ended for each in (reading, *others)]


def test_an_answer_has_the_time_that_a_slow_client_needs_and_no_more() -> None:
    """A byte now and then does not hold it for ever; what is long may take long."""
    held = Unread()
    short, long = Connection(1_000), Connection(100 * READ_BYTES_PER_SECOND_MIN)
    held.add(short, short.unsent, 50.0)
    held.add(long, long.unsent, 50.0)
    ended = []
    for seconds in (1, UNREAD_SECONDS_MAX, UNREAD_SECONDS_MAX + 1, 99, 100, 101):
        held.sweep(50.0 + seconds)
        ended.append((short.ended, long.ended))

    assert [(0, 0), (0, 0), (1, 0), (1, 0), (1, 0), (1, 1)] == ended
    assert 0 == held.bytes
