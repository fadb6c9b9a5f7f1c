"""The parts of `verify`: sorting, pairing, the rules for one name, the one figure."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from processors.content import started
from processors.trim import trim
from pypistream.verify import sorting
from pypistream.verify.facts import Fact, Judged, Listed, Rules, Seen, Side, Why
from pypistream.verify.pairs import Halves, Pair
from pypistream.verify.repair import ask_for
from pypistream.verify.rules import judge
from pypistream.verify.sorting import Sorter
from schemas.coverage import coverage
from schemas.names import NormalizedName
from schemas.records import Cut, State, Status
from schemas.topics import Offset, Topic
from streams.log import Record
from tests.support.documents import recorded

CUT = Cut(changelog=0, refetch=0, metadata=100, releases=100, state=100, serial=50)
OK = State(Status.OK, 40, body=40, name="Foo", hash="h")


def fact(state: State | None = None, offset: int = 1, serial: int = 40) -> Fact:
    """A record's fact; of `state` with a value."""
    raw = msgspec.Raw(b"null" if state is None else msgspec.json.encode(state))
    return Fact(offset, gone=False, serial=serial, state=raw, line="l", rows={})


def seen(state: State | None = OK, serial: int | None = 40) -> Seen:
    """A name that is the same on every side of the log."""
    facts = {} if state is None else {Topic.STATE: fact(state)}
    if state is not None and state.published:
        facts |= {Topic.METADATA: fact(), Topic.RELEASES: fact()}
    listed = None if serial is None else Listed("Foo", serial)
    return Seen("foo", listed, facts, ["h"] if state is not None and state.published else None)


def judged(of: Seen, map_serial: int | None = 45, cut: Cut | None = CUT) -> Judged:
    """By the rules for a log alone."""
    return judge(of, Rules((cut,), with_releases=True, map_serial=map_serial))


def whys(found: Judged) -> list[tuple[Side, Why]]:
    """Where and why."""
    return [(finding.side, finding.why) for finding in found.findings]


@pytest.mark.parametrize("run_bytes", [1, 50, 1 << 20])
def test_lines_come_out_sorted_however_many_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int, run_bytes: int
) -> None:
    """In memory, in more runs than are merged at once, and with equal lines."""
    monkeypatch.setattr(sorting, "RUN_BYTES_MAX", run_bytes)
    monkeypatch.setattr(sorting, "RUNS_MERGED_MAX", 4)
    numbers = random.Random(seed)
    lines = [b"%d\n" % numbers.randrange(300) for _ in range(500)]
    with Sorter(tmp_path) as sorter:
        for line in lines:
            sorter.put(line)
        assert list(sorter) == sorted(lines)
    assert list(tmp_path.iterdir()) == []


def test_the_hash_is_made_anew_from_what_is_published() -> None:
    """Of every recorded document, with the slim form and without; another value has another."""
    count = 0
    for each in recorded():
        name = NormalizedName(each.asked)
        both = trim(each.body, name, header_serial=1)
        alone = trim(each.body, name, header_serial=1, all_releases=False)
        assert both.hash in started(both.metadata).with_releases(both.releases), each.file
        assert alone.hash in started(alone.metadata).alone(), each.file
        other = both.metadata.replace(b'"info":{', b'"info":{"odd":1,', 1)
        assert both.hash not in started(other).with_releases(both.releases)
        assert both.hash not in started(both.metadata).with_releases(b"{}")
        count += 1
    assert count >= 83


def record(topic: Topic, offset: int, answer: str) -> Record:
    """One half of an answer, which may say when it was fetched: a@1."""
    said, _, fetched = answer.partition("@")
    headers = (("ce_id", said.encode()), ("fetched-at", fetched.encode()))
    return Record(topic, 0, Offset(offset), 0, "foo", b'{"releases":{}}', headers)


def paired(*records: tuple[Topic, int, str]) -> tuple[list[tuple[int, int]], int]:
    """Pairs that came out, and how many names still wait."""
    halves = Halves()
    pairs: list[Pair] = []
    for topic, offset, answer in records:
        pair = halves.take("foo", record(topic, offset, answer), b'{"releases":{}}')
        pairs += [pair] if pair is not None else []
    return [(pair.metadata, pair.releases) for pair in pairs], len(halves)


M, R = Topic.METADATA, Topic.RELEASES


@pytest.mark.parametrize(
    ("records", "pairs", "waiting"),
    [
        ([(M, 1, "a"), (R, 2, "a")], [(1, 2)], 0),
        ([(R, 2, "a"), (M, 1, "a")], [(1, 2)], 0),
        ([(M, 1, "a"), (M, 2, "b"), (R, 3, "b")], [(2, 3)], 0),
        ([(M, 1, "a"), (R, 2, "b")], [], 2),
        # the same answer published again: first with first
        ([(M, 1, "a"), (M, 2, "a"), (R, 3, "a"), (R, 4, "a")], [(1, 3), (2, 4)], 0),
        ([(R, 3, "a"), (R, 4, "a"), (M, 1, "a"), (M, 2, "a")], [(1, 3), (2, 4)], 0),
        # another one between them, and all of one topic read before the other
        (
            [
                (M, 1, "a@1"),
                (M, 2, "b@2"),
                (M, 3, "a@3"),
                (R, 4, "a@1"),
                (R, 5, "b@2"),
                (R, 6, "a@3"),
            ],
            [(3, 6)],
            1,
        ),
    ],
)
def test_halves_of_an_answer_find_each_other(
    records: list[tuple[Topic, int, str]], pairs: list[tuple[int, int]], waiting: int
) -> None:
    assert paired(*records) == (pairs, waiting)


def test_a_name_that_is_the_same_everywhere_gives_nothing_to_say() -> None:
    assert judged(seen()) == Judged(findings=[], newer=[], counts=True, absent=False)


@pytest.mark.parametrize(
    ("status", "attempts", "why"),
    [
        (Status.PENDING, 0, Why.PENDING),
        (Status.PARKED, 2, Why.PARKED),
        (Status.STALE, 11, Why.STALE),
        (Status.DEAD, 11, Why.DEAD),
        (Status.ABSENT, 1, Why.ABSENT_ONCE),
    ],
)
def test_what_the_watermark_does_not_speak_for_is_an_exception(
    status: Status, attempts: int, why: Why
) -> None:
    """By its own reason."""
    state = State(status, 40, name="Foo", attempts=attempts)
    assert whys(judged(seen(state))) == [(Side.STATE, why)]


def test_a_name_known_to_have_no_document_agrees() -> None:
    """It counts where upstream lists it."""
    state = State(Status.ABSENT, 40, name="Foo", attempts=2)
    assert judged(seen(state)) == Judged([], [], counts=True, absent=True)
    assert judged(seen(state, None)) == Judged([], [], counts=False, absent=True)


@pytest.mark.parametrize(
    ("state", "serial", "map_serial", "found"),
    [
        (OK, 51, 60, [(Side.UPSTREAM, Why.AHEAD)]),  # above our marker
        (OK, 50, 60, [(Side.STATE, Why.BEHIND)]),  # at it: claimed, and not there
        (None, 51, 60, [(Side.UPSTREAM, Why.AHEAD)]),
        (None, 49, 60, [(Side.STATE, Why.MISSING)]),
        (OK, 30, 60, []),  # the index may be older than we are
        (OK, None, 45, [(Side.STATE, Why.SURPLUS)]),
        (OK, None, 39, []),  # an index older than the project
        (OK, None, 60, [(Side.UPSTREAM, Why.AHEAD)]),  # removed above our marker, perhaps
        (State(Status.OK, 40, body=30, name="Foo", hash="h"), 40, 45, [(Side.STATE, Why.BEHIND)]),
        (State(Status.OK, 40, body=30, name="Foo", hash="h"), 30, 45, []),  # settled by a map
    ],
)
def test_upstream_against_state(
    state: State | None, serial: int | None, map_serial: int, found: list[tuple[Side, Why]]
) -> None:
    """What lies above the marker is not claimed; what lies below it has to be there."""
    it = seen(state, serial)
    if state is not None:
        it.facts[Topic.METADATA] = fact(serial=state.body)
    assert whys(judged(it, map_serial)) == found


def test_without_a_marker_nothing_is_ahead() -> None:
    """Nothing is claimed yet, so all that is not there is missing."""
    assert whys(judged(seen(None, 51), 60, None)) == [(Side.STATE, Why.MISSING)]


def test_sinks_are_judged_before_their_cut_only() -> None:
    """A record behind it replaced what could have been compared."""
    it = seen()
    it.facts[Topic.STATE] = fact(OK, offset=80)
    older = Cut(changelog=0, refetch=0, metadata=50, releases=50, state=50, serial=40)
    rules = Rules((CUT,), with_releases=True, dump=(older,))
    found = judge(it, rules)

    assert whys(found) == [(Side.DUMP, Why.MISSING), (Side.DUMP, Why.MISSING)]
    assert found.newer == [Side.DUMP]
    never = judge(it, Rules((CUT,), with_releases=True, dump=(None,)))
    assert (whys(never), never.newer) == ([], [Side.DUMP])


def test_only_what_asking_mends_is_asked_for() -> None:
    """Not for a sink's fault, nor where somebody will ask anyway."""
    parked = seen(State(Status.PARKED, 40, name="Foo", attempts=1))
    behind = seen(OK, 50)
    bare = seen()
    bare.facts.pop(Topic.METADATA)
    asks = [ask_for(it, it.state(), judged(it).findings, 45) for it in (seen(), parked)]
    assert asks == [None, None]
    for it, serial, whole in ((behind, 50, False), (bare, 40, True)):
        found = ask_for(it, it.state(), judged(it).findings, 45)
        assert found is not None
        assert (found[0], found[1].serial, found[1].whole) == ("foo", serial, whole)


@pytest.mark.parametrize(
    ("names", "exceptions", "percent"),
    [(0, 0, None), (3, 0, 100.0), (3, 1, 66.6666), (886_000, 1, 99.9998), (2, 2, 0.0)],
)
def test_coverage_is_rounded_down(names: int, exceptions: int, percent: float | None) -> None:
    """100 is said of all only."""
    assert coverage(names, exceptions) == percent
