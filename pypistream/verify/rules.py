"""Whether one name is the same on every side. Pure, without I/O and clock.

A side that stands at an older cut than the log is compared with what the log held at that cut. The
log keeps only the newest record per name, so a name whose newest record lies after that cut cannot
be judged there: it is counted as newer, and is no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pypistream.verify.facts import Fact, Finding, Judged, Rules, Seen, Side, Why
from schemas.records import Cut, State, Status
from schemas.topics import COMPACTED, Topic, partition_of
from sinks.dump.verify import DROP_IN_FILE

TABLES = {
    Topic.METADATA: ("project",),
    Topic.RELEASES: ("releases_of",),
    Topic.STATE: ("state",),
}
FILES = {
    Topic.METADATA: "packages.jsonl.zst",
    Topic.RELEASES: "releases.jsonl.zst",
    Topic.STATE: "state.jsonl.zst",
}


def judge(seen: Seen, rules: Rules) -> Judged:
    """All findings about one name."""
    state = seen.state()
    partition = partition_of(seen.name, len(rules.cuts))
    findings = [
        *_state(seen, state),
        *_upstream(seen, state, rules, partition),
        *_log(seen, state, rules),
    ]
    newer: list[Side] = []
    for side, cuts, compare in (
        (Side.DUCKDB, rules.snapshot, _snapshot),
        (Side.DUMP, rules.dump, _dump),
        (Side.DELTAS, rules.deltas, _deltas_since(rules, partition)),
    ):
        if cuts is not None:
            places = {topic: _place(cuts[partition], topic) for topic in _topics(rules)}
            differing, behind = _sink(seen, side, places, compare)
            findings += differing
            newer += [side] if behind else []
    absent = state is not None and state.status is Status.ABSENT and not state.exception
    counts = bool(findings) or seen.listed is not None
    if state is not None and not counts:
        counts = state.published or (rules.map_serial is None and absent)
    return Judged(findings, newer, counts, absent)


def _state(seen: Seen, state: State | None) -> Iterator[Finding]:
    if state is None or not state.exception:
        return
    why = Why.ABSENT_ONCE if state.status is Status.ABSENT else Why(state.status.value)
    again = f", attempt {state.attempts}" if state.attempts else ""
    yield Finding(seen.name, Side.STATE, why, f"{state.reason or 'new'}{again}")


def _upstream(seen: Seen, state: State | None, rules: Rules, partition: int) -> Iterator[Finding]:
    """Compare upstream's index with `state`. Nothing is claimed for serials above the marker."""
    if rules.map_serial is None:
        return
    known = max(state.event, state.body) if state else 0
    cut = rules.cuts[partition]
    marker = cut.serial if cut is not None else 0  # 0 = nothing is claimed yet
    if seen.listed is None:
        if state is None or not state.published or state.exception or rules.map_serial < known:
            return
        since = rules.map_serial > marker > 0
        why, side = (Why.AHEAD, Side.UPSTREAM) if since else (Why.SURPLUS, Side.STATE)
        yield Finding(seen.name, side, why, "upstream's index lacks it")
        return
    serial = seen.listed.serial
    if state is None or serial > known:
        text = f"serial {serial} upstream, {known or 'nothing'} here"
        if serial > marker > 0:
            yield Finding(seen.name, Side.UPSTREAM, Why.AHEAD, text)
        else:
            why = Why.MISSING if state is None else Why.BEHIND
            yield Finding(seen.name, Side.STATE, why, text)
    elif state.status is Status.OK and state.body < serial and rules.map_serial >= state.event:
        text = f"serial {serial} upstream, a document of {state.body} here"
        yield Finding(seen.name, Side.STATE, Why.BEHIND, text)


def _log(seen: Seen, state: State | None, rules: Rules) -> Iterator[Finding]:
    """Compare `metadata` and `releases` with `state`."""
    topics = (Topic.METADATA, Topic.RELEASES) if rules.with_releases else (Topic.METADATA,)
    due = state is not None and state.published
    whole = True
    for topic in topics:
        fact = seen.facts.get(topic)
        there = fact is not None and not fact.gone
        if there == due:
            continue
        whole = False
        why = Why.MISSING if due else Why.SURPLUS
        text = "state says that it is there" if due else "state does not know it"
        yield Finding(seen.name, Side(topic.value), why, text)
    if state is None or not due or not whole:
        return
    serial = seen.facts[Topic.METADATA].serial
    if serial != state.body:
        text = f"a document of serial {serial}, state says {state.body}"
        yield Finding(seen.name, Side.METADATA, Why.CONTENT, text)
    elif seen.hashes is None:
        yield Finding(seen.name, Side.RELEASES, Why.CONTENT, "of another document than metadata")
    elif state.hash not in seen.hashes:
        yield Finding(seen.name, Side.METADATA, Why.CONTENT, "another hash than in state")


Compare = Callable[[Seen, Topic, Fact | None], Iterator[tuple[Why, str]]]


def _sink(
    seen: Seen, side: Side, places: Mapping[Topic, int], compare: Compare
) -> tuple[Sequence[Finding], bool]:
    """Compare a sink's rows or lines with the records before its cut; whether some lie after it."""
    findings: list[Finding] = []
    newer = False
    for topic, place in places.items():
        fact = seen.facts.get(topic)
        if fact is not None and fact.offset >= place:
            newer = True
            continue
        findings += (Finding(seen.name, side, *found) for found in compare(seen, topic, fact))
    return findings, newer


def _snapshot(seen: Seen, topic: Topic, fact: Fact | None) -> Iterator[tuple[Why, str]]:
    due = dict.fromkeys(TABLES[topic]) if fact is None else fact.rows
    for table, expected in due.items():
        found = seen.snapshot.get(table)
        if found == expected:
            continue
        if expected is None:
            yield Why.SURPLUS, f"a row in {table}"
        elif found is not None:
            yield Why.CONTENT, f"the row in {table}"
        else:
            why = Why.UNREADABLE if seen.unreadable else Why.MISSING
            yield why, f"no row in {table}"


def _dump(seen: Seen, topic: Topic, fact: Fact | None) -> Iterator[tuple[Why, str]]:
    file = FILES[topic]
    found = seen.dump.get(file)
    if fact is None or fact.gone:
        if found is not None:
            yield Why.SURPLUS, f"a line in {file}"
    elif found is None:
        yield Why.MISSING, f"no line in {file}"
    elif found != fact.line:
        yield Why.CONTENT, f"the line in {file}"
    if topic is Topic.METADATA and DROP_IN_FILE in seen.dump:
        yield Why.CONTENT, f"the document in {DROP_IN_FILE} is not that of {file}"


def _deltas_since(rules: Rules, partition: int) -> Compare:
    """Check that the deltas have every record from the beginning of the first, and no other."""
    since = rules.deltas_from[partition] if rules.deltas_from else None

    def compare(seen: Seen, topic: Topic, fact: Fact | None) -> Iterator[tuple[Why, str]]:
        file = FILES[topic]
        found = seen.deltas.get(file)
        due = "" if fact is None else fact.line
        if found is None:
            if fact is not None and fact.offset >= _place(since, topic):
                yield Why.MISSING, f"no change of the line in {file}"
        elif found != due:
            yield Why.CONTENT, f"the change of the line in {file}"

    return compare


def _topics(rules: Rules) -> tuple[Topic, ...]:
    return COMPACTED if rules.with_releases else (Topic.METADATA, Topic.STATE)


def _place(cut: Cut | None, topic: Topic) -> int:
    """The next offset of a compacted topic after the cut."""
    return 0 if cut is None else int(getattr(cut, topic.value))
