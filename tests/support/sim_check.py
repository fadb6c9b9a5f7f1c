"""The checker: is what a run recorded (`sim_history`) right? `python -m tests.support.sim_check F`.

It reads the recorded lines alone, with the standard library: no code under test takes part. What
is wrong comes as lines of text that begin with the invariant's name, I1 … I12:

    I1 truth   I2 never back   I3 no loss   I4 one effect   I5 tombstones   I6 atomic positions
    I7 agreement   I8 whole publications   I9 isolation   I10 liveness   I11 bounds   I12 letters
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support import sim_check_sinks
from tests.support.sim_history import History, Line
from tests.support.sim_replay import Recorded, Tables, exception, published, watermark_of

TABLES = ("metadata", "releases", "state")
RISING = ("changelog", "refetch", "metadata", "releases", "state", "serial")
# A row of a project that nobody lies about is published within this: settle time, a burst of rows,
# a poll. And one answer of each project that fails meanwhile may take the only slot for 20 s.
LATENCY_SECONDS_MAX, LATENCY_EACH_SECONDS = 25.0, 20.0
# What a fault that concerned all may still cause after its end: the longest wait between two tries.
AFTERMATH_SECONDS = 40.0


def check(history: History) -> list[str]:
    """Everything that is wrong."""
    run = Recorded(history)
    return [
        *_claims(run),
        *_moments(run),
        *_journal(run),
        *_monotonic(run),
        *_positions(run),
        *_letters(run),
        *_placed(run),
        *_latencies(run),
        *_bounds(run),
        *sim_check_sinks.check(run),
        *(f"I4 {line['text']}" for line in history.of("violation")),
    ]


# --- while it runs ----------------------------------------------------------------------------


def _claims(run: Recorded) -> Iterator[str]:
    """I3: what the watermark says holds at every look, for every name that is no exception."""
    tables = Tables(run)
    for look in run.history.of("look"):
        tables.go_to(look["ends"])
        serial, base, reached = watermark_of(tables.cuts(run.partitions))
        if not reached:
            continue
        base = 0 if serial is not None else base
        start = run.schedule["base"] if tables.head() else 0
        for key in run.faces:
            yield from _claim(run, key, look["at"], (base, start, reached), tables.state(key))


def _claim(
    run: Recorded, key: str, at: float, mark: tuple[int, int, int], state: Line | None
) -> Iterator[str]:
    base, start, reached = mark
    gone_later = False
    for when, row, face in reversed(run.faces[key]):
        if when > at:
            continue
        if row <= reached:
            break
        gone_later = gone_later or face is None
    else:
        return
    if row <= base or (state is not None and exception(state)):
        return
    if face is not None:
        newest = max(state.get("body", 0), state.get("gone", 0)) if state else 0
        if newest < face[1] and not gone_later:  # it may show what came later, but no less
            yield f"I3 {key} at {at}: {state}, but {face} at watermark {mark}"
    # What was gone before the log began, no row has told it.
    elif row > start and (state is None or (published(state) and state["body"] <= row)):
        yield f"I3 {key} at {at}: {state}, but gone at {row}, watermark {mark}"


# --- at the moments ---------------------------------------------------------------------------


def _moments(run: Recorded) -> Iterator[str]:
    tables = Tables(run)
    for moment in run.history.of("moment"):
        tables.go_to(moment["ends"])
        if moment["name"] == "quiet":
            yield from _lag(run, moment, tables)
            yield from _settled(run, tables)
        else:
            yield from _true(run, tables)


def _lag(run: Recorded, moment: Line, tables: Tables) -> Iterator[str]:
    """I10: everything is read, and the watermark has come to upstream's head."""
    cuts = tables.cuts(run.partitions)
    for topic in ("changelog", "refetch"):
        for partition, end in enumerate(moment["ends"][topic]):
            cut = cuts[partition]
            if cut is None or cut[topic] != end:
                yield f"I10 {topic} {partition}: decided {cut}, end {end}"
    serial, base, reached = watermark_of(cuts)
    head = moment["head"]
    if reached != head or (run.schedule["backfill"] and serial != head):
        yield f"I10 the watermark is {(serial, base, reached)}, upstream's head {head}"


def _settled(run: Recorded, tables: Tables) -> Iterator[str]:
    """I1, I5 without a sweep: serial and presence of what is no exception; changes have rows."""
    base = 0 if run.schedule["backfill"] else run.schedule["base"]
    for key, faces in run.faces.items():
        told = any(row > run.schedule["base"] for _, row, _ in faces)
        if not (any(row > base for _, row, _ in faces) and (base == 0 or run.has_row(key, base))):
            continue
        face, state = faces[-1][2], tables.state(key)
        if state is None:
            if face is not None or told:
                yield f"I1 {key} is lost: {face}"
        elif not exception(state):
            if (face is not None) != published(state) and told:
                yield f"{'I1' if face else 'I5'} {key}: {state}, truth {face}"
            elif face is not None and state.get("body") != face[1]:
                yield f"I1 {key}: body {state.get('body')}, truth {face}"


def _true(run: Recorded, tables: Tables) -> Iterator[str]:
    """I1, I5 after reconcile and sweep: no exception is left, every document is the true one.

    Those misled by an ask with a made-up serial may stay exceptions, with the true document.
    """
    misled = {line["key"] for line in run.history.of("misled")}
    for key, faces in run.faces.items():
        face, state = faces[-1][2], tables.state(key)
        document = tables.rows["metadata"].get(key)
        if state is not None and exception(state) and key not in misled:
            yield f"I1 {key} is an exception at the end: {state}"
        if face is None:
            if document is not None:
                yield f"I5 {key} is a ghost: {state}"
        elif document is None:
            yield f"I1 {key} is missing: {state}, truth {face}"
        else:
            info = json.loads(document["value"])["info"]
            if (info["name"], info["version"]) != (face[0], f"1.{face[2]}"):
                yield f"I1 {key} is {info}, truth {face}, {state}"
    if tables.rows["metadata"].keys() != tables.rows["releases"].keys():
        yield "I7 metadata and releases do not hold the same names"


# --- the whole log ----------------------------------------------------------------------------


def _journal(run: Recorded) -> Iterator[str]:
    """I3: every row after the base once, in order."""
    got = []
    for partition in range(run.partitions):
        rows = [r for r in run.log["changelog", partition] if r["key"] is not None]
        serials = [json.loads(record["value"])["serial"] for record in rows]
        got += serials
        if serials != sorted(serials):
            yield f"I3 partition {partition} is out of order"
    want = [r["serial"] for r in run.history.of("row") if r["serial"] > run.schedule["base"]]
    if sorted(got) != want:
        yield f"I3 journal: lost {sorted(set(want) - set(got))}, {len(got)} for {len(want)}"


def _monotonic(run: Recorded) -> Iterator[str]:
    """I2 and I4 of the documents. A repair that was asked for may publish the same once more."""
    repairs = defaultdict(list)
    for record in run.all_of("refetch"):
        if record["key"] and '"reason":"repair"' in (record["value"] or ""):
            repairs[record["key"]].append(record["ms"])
    for key, own in run.by_key("metadata").items():
        for before, after in pairwise(own):
            place = f"{key} at offset {after['offset']}"
            if _number(after, "event-serial") < _number(before, "event-serial"):
                yield f"I2 {place}: the event falls"
            asked = any(before["ms"] <= ms <= after["ms"] for ms in repairs[key])
            if before["value"] == after["value"] and not asked:
                yield f"I4 {place}: the same twice"
            if before["value"] is None or after["value"] is None:
                continue
            low = _number(after, "serial") < _number(before, "serial")
            if low and _name(before) == _name(after):
                yield f"I2 {place} goes back"


def _number(record: Line, header: str) -> int:
    return int(record["headers"].get(header) or 0)


def _name(record: Line) -> Any:
    return json.loads(record["value"])["info"]["name"]


def _positions(run: Recorded) -> Iterator[str]:
    """I4: no position falls; I6: a cut names the ends of its own transaction."""
    for partition in range(run.partitions):
        cuts = [json.loads(r["value"]) for r in run.log["progress", partition] if r["key"] == "p"]
        for old, new in pairwise(cuts):
            if any(new.get(name, 0) < old.get(name, 0) for name in RISING):
                yield f"I4 a position falls: {old} {new}"
        for topic in TABLES:
            written = len(run.log[topic, partition])
            if cuts and cuts[-1][topic] != written:
                yield f"I6 {topic} {partition} has {written} records, its last cut {cuts[-1]}"


def _letters(run: Recorded) -> Iterator[str]:
    """I12: each time a name is given up there is one dead letter, and no letter without that."""
    dead: dict[str, int] = defaultdict(int)
    letters: dict[str, int] = defaultdict(int)
    for key, own in run.by_key("state").items():
        before = None
        for record in own:
            state = json.loads(record["value"])
            now = (state["status"], state.get("reason", "").partition(":")[0])
            dead[key] += now[0] == "dead" and before != now
            before = now
    for record in run.all_of("dead-letter"):
        if record["key"] is not None:
            letters[record["key"]] += 1
            letter = json.loads(record["value"])
            if not letter["reason"] or "serial" not in letter:
                yield f"I12 {record['key']}: a letter without reason or serial: {letter}"
    for key in sorted({*dead, *letters}):
        if dead[key] != letters[key]:
            yield f"I12 {key}: given up {dead[key]} times, {letters[key]} letters"
    # A record that is no ask has no state: read again after a kill it leaves the same letter again.
    refused = {r["headers"]["ce_id"] for r in run.all_of("dead-letter") if r["key"] is None}
    garbage = {
        f"ask:{record['partition']}:{record['offset']}"
        for record in run.all_of("refetch")
        if not record["headers"]
    }
    if refused != garbage:
        yield f"I12 no asks: {sorted(garbage)}, letters: {sorted(refused)}"


def _placed(run: Recorded) -> Iterator[str]:
    """I4: each name is written by one worker only, that of its journal rows' partition."""
    homes: dict[str, set[int]] = defaultdict(set)
    for topic in ("changelog", *TABLES):
        for record in run.all_of(topic):
            if record["key"] is not None:
                homes[record["key"]].add(record["partition"])
    for key, places in homes.items():
        if len(places) > 1:
            yield f"I4 {key} lies in partitions {sorted(places)}"


# --- time and room ----------------------------------------------------------------------------


def _latencies(run: Recorded) -> Iterator[str]:
    """I9: a project that fails delays no other one by more than LATENCY_EACH_SECONDS."""
    faults = run.history.of("fault")
    shared = [(f["begin"], f["end"] + AFTERMATH_SECONDS) for f in faults if not f["key"]]
    single = [(f["begin"], f["end"]) for f in faults if f["key"]]
    spoilt = {f["key"] for f in faults if f["key"]} | {
        line["key"] for line in run.history.of("misled")
    }
    documents = run.by_key("metadata")
    for key, faces in run.faces.items():
        if key in spoilt:
            continue
        for place, (at, row, face) in enumerate(faces):
            least = at + LATENCY_SECONDS_MAX + LATENCY_EACH_SECONDS
            failing = sum(begin < least and end > at for begin, end in single)
            due = at + LATENCY_SECONDS_MAX + LATENCY_EACH_SECONDS * max(1, failing)
            quiet = not any(begin < due and end > at for begin, end in shared)
            gone = any(each is None for when, _, each in faces[place:] if when <= due)
            if not quiet or gone or face[1] != row or row <= run.schedule["base"]:
                continue
            came = any(
                _number(record, "serial") >= row and record["ms"] - run.start_ms <= due * 1000
                for record in documents.get(key, ())
                if record["value"] is not None
            )
            if not came:
                yield f"I9 {key}: row {row} of {at:.0f} s was not published by {due:.0f} s"


def _bounds(run: Recorded) -> Iterator[str]:
    """I11: what is bounded stayed within its bound."""
    for gauge in run.history.of("gauge"):
        if gauge["most"] > gauge["limit"]:
            yield f"I11 {gauge['what']}: {gauge['most']}, limit {gauge['limit']}"


def main(path: Path) -> int:
    """Print what is wrong; 1 if anything is."""
    wrong = check(History.load(path))
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    sys.stdout.write(f"{len(wrong)} violations\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
