"""Whether a claim of completeness was true: a watermark held against the history of upstream.

A claim is made for a moment of our log, or for a published file, and says: every journal serial in
(base, reached] is reflected, but for the names that `state` lists as exceptions there.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.topics import Topic
from streams.log import Log, Record
from tests.support.history import number, records_of
from tests.support.published import is_exception
from tests.support.standin import Running


class Claim(NamedTuple):
    """`where` it was made. With base 0 it is a watermark, if `reached` is not 0."""

    where: str
    base: int
    reached: int


class Edition(NamedTuple):
    """A name from `serial` on; `served` = it has a document."""

    serial: int
    served: bool


class Past:
    """What was true upstream at every serial."""

    def __init__(self, site: Running) -> None:
        world = site.app.world
        self.editions = {
            name: [Edition(each.serial, each.served) for each in project.editions]
            for name, project in world.projects.items()
        }

    def at(self, name: str, serial: int) -> Edition | None:
        """The state of a name when the journal's last serial was `serial`."""
        editions = self.editions[name]
        place = bisect_right(editions, serial, key=lambda edition: edition.serial)
        return editions[place - 1] if place else None


@dataclass
class Shown:
    """What is known of all names at one moment: their states, and the serials of their bodies."""

    states: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    bodies: dict[str, int] = field(default_factory=dict)


def broken(claim: Claim, shown: Shown, past: Past) -> Iterator[str]:
    """Names for which the claim is not true. A newer state than claimed is as good."""
    for name in past.editions:
        due = past.at(name, claim.reached)
        if due is None or due.serial <= claim.base:
            continue
        state = shown.states.get(name)
        if state is not None and is_exception(state):
            continue
        body = shown.bodies.get(name, 0)
        event = max(int(state["event"]), body) if state is not None else 0
        removed_since = body == 0 and event > claim.reached
        if due.served and body < due.serial and not removed_since:
            yield f"{claim}: {name} has body {body}, due {due}, state {state}"
        if not due.served and 0 < body <= due.serial:
            yield f"{claim}: {name} has body {body}, gone at {due}, state {state}"


@dataclass
class Replayed:
    """What a replay of a log found."""

    wrong: list[str] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    vectors: list[list[Any]] = field(default_factory=list)


async def replay(log: Log, past: Past) -> Replayed:
    """Check the claim of every cut in the log: all of one partition's, beside the others' last."""
    topics = {t: await records_of(log, t) for t in (Topic.METADATA, Topic.STATE, Topic.PROGRESS)}
    cuts = [r for r in topics[Topic.PROGRESS] if r.key == "p" and r.value is not None]
    cuts.sort(key=lambda record: (record.timestamp_ms, record.offset))
    folds = [_Fold(topics, partition) for partition in range(log.partitions)]
    shown, found = Shown(), Replayed()
    present: list[Any] = [None] * log.partitions
    for record in cuts:
        cut = json.loads(record.value or b"")
        folds[record.partition].up_to(cut, shown)
        present[record.partition] = cut
        found.vectors.append(list(present))
        claim = claim_of(f"cut {record.partition}:{record.offset}", present)
        if claim.reached and (not found.claims or claim[1:] != found.claims[-1][1:]):
            found.claims.append(claim)
        found.wrong += broken(claim, shown, past)
    return found


def claim_of(where: str, cuts: Sequence[Mapping[str, Any] | None]) -> Claim:
    """The least of what the partitions say; reached 0 = nothing."""
    known = [cut for cut in cuts if cut is not None]
    if len(known) < len(cuts) or not all(cut.get("serial") for cut in known):
        return Claim(where, 0, 0)
    base = max(int(cut.get("base", 0)) for cut in known)
    return Claim(where, base, min(int(cut["serial"]) for cut in known))


class _Fold:
    """One partition of `metadata` and `state`, folded as far as its last cut."""

    def __init__(self, topics: Mapping[Topic, Sequence[Record]], partition: int) -> None:
        self._left = {
            topic: [r for r in records if r.partition == partition][::-1]
            for topic, records in topics.items()
        }

    def up_to(self, cut: Mapping[str, Any], shown: Shown) -> None:
        """Take in what lies before the cut."""
        for record in self._before(Topic.METADATA, cut["metadata"]):
            assert record.key is not None
            shown.bodies.pop(record.key, None)
            if record.value is not None:
                shown.bodies[record.key] = number(record, "serial")
        for record in self._before(Topic.STATE, cut["state"]):
            assert record.key is not None
            assert record.value is not None
            shown.states[record.key] = json.loads(record.value)

    def _before(self, topic: Topic, end: int) -> Iterator[Record]:
        left = self._left[topic]
        while left and left[-1].offset < end:
            yield left.pop()
