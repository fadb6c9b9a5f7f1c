"""The checker: compares what lies in the log with the truth of upstream. Knows no rule's code.

Each function returns what is wrong as lines of text. I1 … I12: the project's invariants.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise

from schemas import codec
from schemas.records import ChangelogEntry, Cut, State, Status
from schemas.topics import COMPACTED, Topic, partition_of
from streams.log import Log, Record, TopicPartition
from streams.progress import CUT_KEY, read_progress
from tests.support.sim_upstream import Project, Truth


async def records(log: Log, topic: Topic) -> list[Record]:
    """Every record of a topic, each partition in order."""
    reader = await log.reader(await log.starts(topic))
    found: list[Record] = []
    while batch := await reader.read(10_000, 0):
        found += batch
    await reader.close()
    return found


async def rows(log: Log, topic: Topic) -> dict[str, Record]:
    """The table of a compacted topic over all partitions."""
    found: dict[str, Record] = {}
    for partition in range(log.partitions):
        found |= (await log.table(TopicPartition(topic, partition))).rows
    return found


async def states(log: Log) -> dict[str, State]:
    """What is known per name."""
    found = await rows(log, Topic.STATE)
    return {name: codec.decode(row.value or b"", State) for name, row in found.items()}


async def lag(log: Log, head: int, *, backfilled: bool) -> list[str]:
    """I10: everything is read, and the watermark has come to upstream's head."""
    progress = await read_progress(log)
    wrong = []
    for topic, field in ((Topic.CHANGELOG, "changelog"), (Topic.REFETCH, "refetch")):
        for at, end in (await log.ends(topic)).items():
            cut = progress.cuts[at.partition]
            if cut is None or getattr(cut, field) != end:
                wrong.append(f"I10 {topic} {at.partition}: decided {cut}, end {end}")
    mark = progress.watermark
    if mark.reached != head or (backfilled and mark.serial != head):
        wrong.append(f"I10 the watermark is {mark}, upstream's head {head}")
    return wrong


async def claim(log: Log, truth: Truth) -> list[str]:
    """I3: what the watermark says holds, for every name that is no exception."""
    progress = await read_progress(log)
    mark, start = progress.watermark, progress.head.base if progress.head else 0
    if not mark.reached:
        return []
    known = await states(log)  # perhaps newer than the cut: then it says more, not less
    base = 0 if mark.serial is not None else mark.base
    wrong = []
    for key, project in truth.projects.items():
        past = [(row, face) for row, face in project.faces if row <= mark.reached]
        later = [face for row, face in project.faces if row > mark.reached]
        if not past or past[-1][0] <= base:
            continue
        row, face = past[-1]
        state = known.get(key)
        if state is not None and state.exception:
            continue
        if face is not None:
            reflected = state is not None and max(state.body, state.gone) >= face.serial
            if not reflected and None not in later:  # it may show what came later, but no less
                wrong.append(f"I3 {key}: {state}, but {face} at watermark {mark}")
        # What was gone before we came, no row has told us.
        elif row > start and (state is None or (state.published and state.body <= row)):
            wrong.append(f"I3 {key}: {state}, but gone at {row}, watermark {mark}")
    return wrong


async def settled(log: Log, truth: Truth, base: int) -> list[str]:
    """I1, I5 without a sweep: serial and presence of what is no exception; changes have rows."""
    known = await states(log)
    wrong = []
    for key, project in _spoken_for(truth, base):
        state, face = known.get(key), project.face
        told = any(row > truth.start for row, _ in project.faces)
        if state is None:
            if face is not None or told:
                wrong.append(f"I1 {key} is lost: {face}")
        elif not state.exception:
            if (face is not None) != state.published and told:
                wrong.append(f"I1 {key}: {state}, truth {face}")
            elif face is not None and state.body != face.serial:
                wrong.append(f"I1 {key}: body {state.body}, truth {face}")
    return wrong


async def true(log: Log, truth: Truth, misled: AbstractSet[str]) -> list[str]:
    """I1, I5 after reconcile and sweep: no exception is left, every document is the true one.

    Those `misled` by an ask with a made-up serial may stay exceptions, with the true document.
    """
    known, documents = await states(log), await rows(log, Topic.METADATA)
    wrong = []
    for key, project in truth.projects.items():
        face, state = project.face, known.get(key)
        if state is not None and state.exception and key not in misled:
            wrong.append(f"I1 {key} is an exception at the end: {state}")
        if face is None:
            if key in documents:
                wrong.append(f"I5 {key} is a ghost: {state}")
        elif key not in documents:
            wrong.append(f"I1 {key} is missing: {state}, truth {face}")
        else:
            info = json.loads(documents[key].value or b"")["info"]
            got = (info["name"], info["version"])
            if got != (face.name, f"1.{face.revision}"):
                wrong.append(f"I1 {key} is {got}, truth {face}, {state}")
    return wrong


def history(found: Sequence[Record], truth: Truth, base: int) -> list[str]:
    """What may be said of the whole log at the end: I2, I3, I4, I12."""
    return [
        *_journal(found, truth, base),
        *_monotonic(found),
        *_positions(found),
        *_letters(found),
        *_tables_agree(found),
        *_placed(found),
    ]


def _spoken_for(truth: Truth, base: int) -> Iterable[tuple[str, Project]]:
    for key, project in truth.projects.items():
        if any(row > base for row, _ in project.faces):
            rows_ = [r for r in truth.journal if r.serial > base and _key(r.name) == key]
            if base == 0 or rows_:
                yield key, project


def _key(name: str) -> str:
    return name.lower().replace(".", "-").replace("_", "-")


def _journal(found: Sequence[Record], truth: Truth, base: int) -> list[str]:
    entries = [r for r in found if r.topic is Topic.CHANGELOG and r.key is not None]
    by_partition: dict[int, list[int]] = defaultdict(list)
    for record in entries:
        entry = codec.decode(record.value or b"", ChangelogEntry)
        by_partition[record.partition].append(entry.serial)
    wrong = [
        f"I3 partition {number} is out of order"
        for number, serials in by_partition.items()
        if serials != sorted(serials)
    ]
    got = sorted(serial for serials in by_partition.values() for serial in serials)
    want = [row.serial for row in truth.journal if row.serial > base]
    if got != want:
        wrong.append(f"I3 journal: lost {set(want) - set(got)}, {len(got)} for {len(want)}")
    return wrong


def _monotonic(found: Sequence[Record]) -> list[str]:
    by_key: dict[str, list[Record]] = defaultdict(list)
    for record in found:
        if record.topic is Topic.METADATA:
            by_key[record.key or ""].append(record)
    wrong = []
    for key, own in by_key.items():
        for before, after in pairwise(own):
            if int(after.header("event-serial") or 0) < int(before.header("event-serial") or 0):
                wrong.append(f"I2 {key}: the event falls at offset {after.offset}")
            if before.value is None and after.value is None:
                wrong.append(f"I4 {key}: two tombstones at offset {after.offset}")
            if before.value is None or after.value is None:
                continue
            low = int(after.header("serial") or 0) < int(before.header("serial") or 0)
            if low and _name(before) == _name(after):
                wrong.append(f"I2 {key} goes back at offset {after.offset}")
            if before.value == after.value:
                wrong.append(f"I4 {key}: the same twice at offset {after.offset}")
    return wrong


def _name(record: Record) -> object:
    return json.loads(record.value or b"")["info"]["name"]


def _positions(found: Sequence[Record]) -> list[str]:
    cuts: dict[int, Cut] = {}
    wrong = []
    for record in found:
        if record.topic is not Topic.PROGRESS or record.key != CUT_KEY:
            continue
        cut = codec.decode(record.value or b"", Cut)
        old = cuts.get(record.partition)
        cuts[record.partition] = cut
        fields = ("changelog", "refetch", "metadata", "releases", "state", "serial")
        if old and any(getattr(cut, name) < getattr(old, name) for name in fields):
            wrong.append(f"I4 a position falls: {old} {cut}")
    return wrong


def _letters(found: Sequence[Record]) -> list[str]:
    """Each time a name is given up there is one dead letter, and no letter without that."""
    dead: dict[str, int] = defaultdict(int)
    before: dict[str, tuple[Status, str]] = {}
    letters: dict[str, int] = defaultdict(int)
    for record in found:
        if record.topic is Topic.STATE and record.value is not None:
            state = codec.decode(record.value, State)
            now = (state.status, state.reason.partition(":")[0])
            key = record.key or ""
            if state.status is Status.DEAD and before.get(key) != now:
                dead[key] += 1
            before[key] = now
        if record.topic is Topic.DEAD_LETTER and record.key is not None:
            letters[record.key] += 1
    return [
        f"I12 {key}: given up {dead[key]} times, {letters[key]} letters"
        for key in {*dead, *letters}
        if dead[key] != letters[key]
    ]


def _placed(found: Sequence[Record]) -> list[str]:
    """Each name is written by one worker only: that of the partition its key belongs to."""
    count = 1 + max((r.partition for r in found if r.topic is Topic.CHANGELOG), default=0)
    return [
        f"I4 {record.key} lies in partition {record.partition} of {record.topic}"
        for record in found
        if record.topic in COMPACTED and record.partition != partition_of(record.key or "", count)
    ]


def _tables_agree(found: Sequence[Record]) -> list[str]:
    """`releases` has a document exactly where `metadata` has one."""
    have: dict[Topic, dict[str, bool]] = {Topic.METADATA: {}, Topic.RELEASES: {}}
    for record in found:
        if record.topic in have:
            have[record.topic][record.key or ""] = record.value is not None
    differ = have[Topic.METADATA] != have[Topic.RELEASES]
    return ["I6 metadata and releases differ"] if differ else []
