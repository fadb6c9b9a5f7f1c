"""Pairs the two documents of an answer, which are in two topics. Pure."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import msgspec

from processors.content import Started, started
from schemas.topics import Offset, Topic
from streams.log import Record


class Pair(msgspec.Struct, array_like=True, frozen=True):
    """Offsets of the two records, and the hashes that they may have together."""

    metadata: int
    releases: int
    hashes: list[str]


class _Metadata(NamedTuple):
    offset: Offset
    begun: Started


class _Releases(NamedTuple):
    offset: Offset
    value: bytes


class _Queue(NamedTuple):
    """Halves of one answer, in order: after a removal the same answer may come again."""

    answer: str
    metadata: deque[_Metadata]
    releases: deque[_Releases]


class Halves:
    """Halves that wait for their partner, by name; only those of the newest answer.

    Both documents of an answer share the record's id (`ce_id`) and the time of the fetch; a
    document that is served again after another one has the id that it had before. Both topics have
    the same order, so when they are read side by side only a few halves wait, in memory.
    """

    def __init__(self) -> None:
        self._metadata: dict[str, _Queue] = {}
        self._releases: dict[str, _Queue] = {}

    def __len__(self) -> int:
        return len(self._metadata) + len(self._releases)

    def take(self, name: str, record: Record, value: bytes) -> Pair | None:
        """Take a record of either topic; returns the pair that it completes."""
        answer = "\0".join(record.header(each) or "" for each in ("ce_id", "fetched-at"))
        ours = _Queue(answer, deque(), deque())
        if record.topic is Topic.METADATA:
            half = _Metadata(record.offset, started(value))
            waiting = self._releases.get(name)
            if waiting is None or waiting.answer != answer:
                _waits(self._metadata, name, ours).metadata.append(half)
                return None
            releases = waiting.releases.popleft()
            if not waiting.releases:
                del self._releases[name]
            return _pair(half, releases)
        other = _Releases(record.offset, value)
        queue = self._metadata.get(name)
        if queue is None or queue.answer != answer:
            _waits(self._releases, name, ours).releases.append(other)
            return None
        metadata = queue.metadata.popleft()
        if not queue.metadata:
            del self._metadata[name]
        return _pair(metadata, other)


def _waits(queues: dict[str, _Queue], name: str, empty: _Queue) -> _Queue:
    """The queue of this answer, which replaces that of any earlier answer."""
    queue = queues.get(name)
    if queue is None or queue.answer != empty.answer:
        queue = queues[name] = empty
    return queue


def _pair(metadata: _Metadata, releases: _Releases) -> Pair:
    hashes = sorted(metadata.begun.with_releases(releases.value))
    return Pair(metadata.offset, releases.offset, hashes)
