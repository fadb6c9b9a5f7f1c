"""What the index lacks is asked for again as long as the log has it and the index does not."""

from __future__ import annotations

import itertools

from producers.difference import Gone
from producers.index_changes import AGAIN_MS, AGAIN_MS_MAX, Checks

FOO = Gone("foo", 5)


def test_what_stays_is_asked_for_again_at_growing_intervals() -> None:
    """The first answer may have been an old copy; a day apart at most."""
    checks = Checks()
    looks = range(0, 7 * 24 * 3_600_000, 60_000)
    times = [now_ms for now_ms in looks if checks.new([FOO], 9, now_ms)]

    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps[:3] == [AGAIN_MS, 2 * AGAIN_MS, 4 * AGAIN_MS]
    assert gaps[-1] == AGAIN_MS_MAX
    assert sorted(gaps) == gaps


def test_a_newer_event_is_asked_for_at_once() -> None:
    checks = Checks()

    assert 1 == len(checks.new([FOO], 9, 0))
    assert 0 == len(checks.new([FOO], 10, 1))
    assert 1 == len(checks.new([Gone("foo", 6)], 11, 2))


def test_what_was_there_again_is_new() -> None:
    checks = Checks()
    checks.new([FOO], 9, 0)
    checks.new([], 10, 1)

    assert ["foo"] == [ask.key for ask in checks.new([FOO], 11, 2)]
