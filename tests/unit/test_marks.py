"""Which promises a partition has passed, and when it may speak for every project."""

from __future__ import annotations

from processors.marks import Marks
from schemas.records import BackfillMarker, Cut, Filter, Marker
from schemas.topics import Offset

FRESH = Cut(0, 0, 0, 0, 0)
EVERYTHING = Filter()


def marks(cut: Cut | None = None) -> Marks:
    return Marks(cut, EVERYTHING)


def opening(run: str = "r", names: int = 3) -> BackfillMarker:
    return BackfillMarker(run, 100, names)


def closing(run: str = "r", low: int = 100, rule: Filter = EVERYTHING) -> BackfillMarker:
    return BackfillMarker(run, low, 3, closing=True, filter=rule)


def test_a_marker_counts_once_everything_before_it_is_decided() -> None:
    found = marks()
    found.marker(Offset(5), Marker(100, 120, 1))

    found.pass_changelog(Offset(5))
    assert found.on(FRESH).serial == 0

    found.pass_changelog(Offset(6))
    assert (found.on(FRESH).base, found.on(FRESH).serial) == (100, 120)


def test_a_backfill_counts_what_is_decided_and_closes_at_base_zero() -> None:
    found = marks()
    found.marker(Offset(0), Marker(100, 120, 1))
    found.pass_changelog(Offset(1))
    found.backfill(Offset(0), opening())
    found.backfill(Offset(4), closing())

    found.pass_refetch(Offset(3))
    cut = found.on(FRESH)
    assert cut.backfill is not None
    assert (cut.base, cut.backfill.done, cut.backfill.names) == (100, 2, 3)

    found.pass_refetch(Offset(5))
    cut = found.on(FRESH)
    assert (cut.base, cut.serial) == (0, 120)
    assert cut.backfill is not None
    assert (cut.backfill.done, cut.backfill.closed) == (3, True)


def test_a_map_older_than_the_base_closes_nothing() -> None:
    found = marks()
    found.marker(Offset(0), Marker(100, 120, 1))
    found.pass_changelog(Offset(1))
    found.backfill(Offset(0), opening())
    found.backfill(Offset(1), closing(low=99))
    found.pass_refetch(Offset(2))

    assert found.on(FRESH).base == 100


def test_a_later_backfill_from_a_newer_map_does() -> None:
    found = marks()
    found.marker(Offset(0), Marker(100, 120, 1))
    found.pass_changelog(Offset(1))
    for offset, run, low in ((0, "a", 99), (2, "b", 110)):
        found.backfill(Offset(offset), opening(run))
        found.backfill(Offset(offset + 1), closing(run, low))
    found.pass_refetch(Offset(4))

    assert found.on(FRESH).base == 0


def test_another_filter_or_a_shortened_backfill_closes_nothing() -> None:
    for marker in (
        closing(rule=Filter(("a*",))),
        BackfillMarker("r", 100, 3, closing=True, changed_since=5),
    ):
        found = marks()
        found.marker(Offset(0), Marker(100, 120, 1))
        found.pass_changelog(Offset(1))
        found.backfill(Offset(0), opening())
        found.backfill(Offset(1), marker)
        found.pass_refetch(Offset(2))

        assert found.on(FRESH).base == 100


def test_a_backfill_whose_asks_were_lost_closes_nothing() -> None:
    found = marks()
    found.marker(Offset(0), Marker(100, 120, 1))
    found.pass_changelog(Offset(1))
    found.backfill(Offset(0), opening())
    found.pass_refetch(Offset(1))
    found.void_backfill()
    found.backfill(Offset(9), closing())
    found.pass_refetch(Offset(10))

    assert (found.on(FRESH).base, found.on(FRESH).backfill) == (100, None)


def test_an_open_backfill_outlives_a_restart() -> None:
    before = marks()
    before.marker(Offset(0), Marker(100, 120, 1))
    before.pass_changelog(Offset(1))
    before.backfill(Offset(0), opening())
    before.pass_refetch(Offset(2))

    after = marks(before.on(FRESH))
    after.backfill(Offset(4), closing())
    after.pass_refetch(Offset(5))

    assert after.on(FRESH).base == 0


def test_a_closed_backfill_does_not_close_another_after_a_restart() -> None:
    """What was closed is through: a closing marker of the same run proves nothing again."""
    before = marks()
    before.marker(Offset(0), Marker(100, 120, 1))
    before.pass_changelog(Offset(1))
    before.backfill(Offset(0), opening())
    before.backfill(Offset(1), closing(low=99))
    before.pass_refetch(Offset(2))

    after = marks(before.on(FRESH))
    after.backfill(Offset(2), closing(low=110))
    after.pass_refetch(Offset(3))

    assert after.on(FRESH).base == 100


def test_a_closed_backfill_outlives_a_restart_and_later_markers() -> None:
    found = marks(Cut(9, 9, 0, 0, 0, base=0, serial=120, time=1, low=100))
    found.marker(Offset(20), Marker(100, 130, 2))
    found.pass_changelog(Offset(21))

    assert (found.on(FRESH).base, found.on(FRESH).serial) == (0, 130)


def test_the_first_backfill_that_counts_ends_the_matter() -> None:
    """Another one that is open may have died: nobody waits for its closing marker."""
    found = marks()
    found.marker(Offset(0), Marker(100, 120, 1))
    found.pass_changelog(Offset(1))
    found.backfill(Offset(0), opening("a"))
    found.backfill(Offset(1), opening("b"))
    found.backfill(Offset(2), closing("a"))
    found.pass_refetch(Offset(3))

    cut = found.on(FRESH)
    assert cut.base == 0
    assert cut.backfill is None or cut.backfill.closed


def test_a_shortened_backfill_hides_none_that_is_under_way() -> None:
    """Nor does a restart between its markers make the whole one forgotten."""
    short = BackfillMarker("s", 100, 1, changed_since=5)
    found = marks()
    found.marker(Offset(0), Marker(100, 120, 1))
    found.pass_changelog(Offset(1))
    found.backfill(Offset(0), opening("whole"))
    found.backfill(Offset(1), short)
    found.pass_refetch(Offset(2))
    cut = found.on(FRESH)
    assert cut.backfill is not None
    assert cut.backfill.run == "whole"

    again = marks(cut)
    again.backfill(Offset(2), BackfillMarker("s", 100, 1, closing=True, changed_since=5))
    again.backfill(Offset(3), closing("whole"))
    again.pass_refetch(Offset(3))
    assert again.on(FRESH).base == 100
    again.pass_refetch(Offset(4))
    assert again.on(FRESH).base == 0


def test_a_marker_waits_for_the_asks_that_were_written_before_it() -> None:
    """And a restart begins at it, not behind it."""
    found = marks()
    found.marker(Offset(3), Marker(100, 110, 1))
    found.marker(Offset(5), Marker(100, 120, 2, refetch=4))
    found.marker(Offset(7), Marker(100, 130, 3))
    found.pass_changelog(Offset(9))
    assert found.on(FRESH).serial == 110
    assert found.held(Offset(9)) == 5
    assert found.held(Offset(4)) == 4

    found.pass_refetch(Offset(3))
    assert found.on(FRESH).serial == 110
    found.pass_refetch(Offset(4))
    assert found.on(FRESH).serial == 130
    assert found.held(Offset(9)) == 9

    again = marks(Cut(5, 4, 0, 0, 0, base=100, serial=110))
    again.marker(Offset(5), Marker(100, 120, 2, refetch=4))
    again.pass_changelog(Offset(6))
    assert again.on(FRESH).serial == 120


def test_a_marker_that_waits_for_asks_says_so() -> None:
    found = marks()
    found.marker(Offset(5), Marker(100, 120, 1, refetch=3))

    found.pass_changelog(Offset(5))
    seen = [found.waits]
    found.pass_changelog(Offset(6))
    seen.append(found.waits)
    found.pass_refetch(Offset(3))
    seen.append(found.waits)
    assert seen == [False, True, False]
