"""Reads the cut of an open serving view."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from schemas.codec import decode
from schemas.errors import LogCorrupt, ViewCorrupt
from schemas.records import Head, Status
from sinks.http.library import View
from sinks.serving.view import COUNTS, CUT, CutNote, recall
from sinks.serving.writer import Counts
from streams.progress import history_since, watermark


def view_of(connection: sqlite3.Connection) -> View | None:
    """The content and claims of the file; None before its first cut. Raises ViewCorrupt."""
    text, counted = recall(connection, CUT), recall(connection, COUNTS)
    if text is None or counted is None:
        return None
    try:
        note, counts = decode(text.encode(), CutNote), decode(counted.encode(), Counts)
    except LogCorrupt as error:
        raise ViewCorrupt(str(error)) from error
    claim = watermark(note.cuts)
    since = history_since(note.head, note.cuts)
    return View(
        vector=note.vector,
        config=note.config,
        head=note.head,
        watermark=claim.serial,
        reached=claim.reached,
        base=_base(note.head) if since is None else since,
        backfill_done=claim.backfill_done,
        backfill_names=claim.backfill_names,
        names=sum(counts.statuses.values()),
        projects=counts.projects,
        removed=counts.removed,
        exceptions=counts.exceptions,
        statuses=_statuses(counts.statuses),
        as_of_ms=note.as_of_ms,
    )


def _base(head: Head | None) -> int:
    return 0 if head is None else head.base


def _statuses(counts: Mapping[str, int]) -> dict[Status, int]:
    return {status: counts.get(status.value, 0) for status in Status}
