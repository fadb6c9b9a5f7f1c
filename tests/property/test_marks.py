"""Marks under any order of markers, backfills and positions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processors.marks import Marks
from schemas.records import BackfillMarker, Cut, Filter, Marker
from schemas.topics import Offset

FRESH = Cut(0, 0, 0, 0, 0)
BASE = 10
OWN, OTHER = Filter(), Filter(("a*",))

backfills = st.builds(
    BackfillMarker,
    run=st.sampled_from("ab"),
    low=st.integers(5, 15),
    names=st.just(3),
    closing=st.booleans(),
    filter=st.sampled_from([OWN, OTHER]),
    changed_since=st.sampled_from([None, None, 4]),
)


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=8),
    st.lists(st.one_of(st.none(), backfills), max_size=12),
    st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.booleans()), max_size=20),
)
def test_no_claim_without_its_marker_and_none_is_taken_back(
    gaps: list[int],
    refetch: list[BackfillMarker | None],
    moves: list[tuple[bool, int, bool]],
) -> None:
    """Positions rise as they like, with a restart after any of them."""
    markers = [Marker(BASE, BASE + sum(gaps[: n + 1]), 1) for n in range(len(gaps))]
    changelog = refetched = 0
    cut, marks = FRESH, _marks(None, markers, refetch, 0, 0)
    for journal, step, restart in moves:
        if journal:
            changelog = min(changelog + step, len(markers))
            marks.pass_changelog(Offset(changelog))
        else:
            refetched = min(refetched + step, len(refetch))
            marks.pass_refetch(Offset(refetched))
        before, cut = cut, marks.on(FRESH)

        passed = markers[changelog - 1].serial if changelog else 0
        assert cut.serial == passed
        assert cut.serial >= before.serial
        assert not (before.serial and before.base == 0 and cut.base)
        if cut.serial and cut.base == 0:
            assert _proven(refetch[:refetched])
        if restart:
            marks = _marks(cut, markers, refetch, changelog, refetched)
            assert marks.on(FRESH) == cut


def _marks(
    cut: Cut | None,
    markers: list[Marker],
    refetch: list[BackfillMarker | None],
    changelog: int,
    refetched: int,
) -> Marks:
    marks = Marks(cut, OWN)
    for offset, marker in enumerate(markers[changelog:], changelog):
        marks.marker(Offset(offset), marker)
    for offset, backfill in enumerate(refetch[refetched:], refetched):
        if backfill is not None:
            marks.backfill(Offset(offset), backfill)
    return marks


def _proven(passed: list[BackfillMarker | None]) -> bool:
    """Whether a run was opened before, and closed whole, with a low mark that reaches down."""
    opened: set[str] = set()
    for marker in passed:
        if marker is None:
            continue
        if not marker.closing:
            opened.add(marker.run)
            continue
        whole = marker.filter == OWN and marker.changed_since is None
        if marker.run in opened and whole and marker.low >= BASE:
            return True
        opened.discard(marker.run)
    return False
