"""Which promises a partition has passed: changelog markers and backfills. Pure.

A marker counts once everything before it is decided. A backfill's closing marker counts if its low
mark reaches down to the log's base, its filter is the log's own and it left nothing out; from
then on the partition's base is 0: it speaks for every project, not only for those that changed.
"""

from __future__ import annotations

from collections import deque

from msgspec.structs import replace

from schemas.records import BackfillMarker, BackfillProgress, Cut, Filter, Marker
from schemas.topics import Offset


class Marks:
    """The marks of one partition, those passed and those still ahead."""

    def __init__(self, cut: Cut | None, own_filter: Filter) -> None:
        self._filter = own_filter
        self._markers: deque[tuple[Offset, Marker]] = deque()
        self._backfills: deque[tuple[Offset, BackfillMarker]] = deque()
        self._changelog, self._refetch = 0, cut.refetch if cut else 0  # decided up to this offset
        self._marker = Marker(cut.base, cut.serial, cut.time) if cut and cut.serial else None
        self._low = cut.low if cut else 0
        self._backfill = run = cut.backfill if cut else None
        self._opened = {run.run} if run is not None and not run.closed else set()

    def marker(self, offset: Offset, marker: Marker) -> None:
        """A changelog marker was read."""
        self._markers.append((offset, marker))

    def backfill(self, offset: Offset, marker: BackfillMarker) -> None:
        """A backfill's opening or closing marker was read."""
        self._backfills.append((offset, marker))

    def void_backfill(self) -> None:
        """Asks were lost (the position lay below the start): the open backfill proves nothing."""
        self._backfill = None
        self._opened.clear()
        self._backfills.clear()

    def pass_changelog(self, decided: Offset) -> None:
        """Everything before `decided` is decided in `changelog`."""
        self._changelog = decided
        self._pass_markers()

    def held(self, decided: Offset) -> Offset:
        """Where in `changelog` to begin after a restart: at a marker that waits for asks."""
        waits = self._markers and self._markers[0][0] < decided
        return self._markers[0][0] if waits else decided

    @property
    def waits(self) -> bool:
        """Whether a marker that all of `changelog` before it is decided for waits for asks."""
        return bool(self._markers) and self._markers[0][0] < self._changelog

    def _pass_markers(self) -> None:
        while self._markers and self._markers[0][0] < self._changelog:
            if self._markers[0][1].refetch > self._refetch:
                break
            self._marker = self._markers.popleft()[1]

    def pass_refetch(self, decided: Offset) -> None:
        """Everything before `decided` is decided in `refetch`."""
        self._refetch = decided
        self._pass_markers()
        while self._backfills and self._backfills[0][0] < decided:
            offset, marker = self._backfills.popleft()
            if marker.closing:
                self._close(marker)
            elif self._whole(marker):  # another one hides none that is under way
                self._opened.add(marker.run)
                self._backfill = BackfillProgress(
                    marker.run, marker.names, marker.known, opened=offset, known=marker.known
                )
        if self._backfill is not None and not self._backfill.closed:
            asked = max(0, decided - self._backfill.opened - 1)
            done = min(self._backfill.names, self._backfill.known + asked)
            self._backfill = replace(self._backfill, done=done)

    def _close(self, marker: BackfillMarker) -> None:
        proven = marker.run in self._opened and self._whole(marker)
        if proven:
            self._low = max(self._low, marker.low)
        self._opened.discard(marker.run)
        # The first one that counts is enough: another one that is open may never close.
        ended = proven and self._marker is not None and self._low >= self._marker.base
        if self._backfill is not None and (ended or self._backfill.run == marker.run):
            names = self._backfill.names
            done = replace(self._backfill, done=names, closed=True)
            self._backfill = done if proven else None

    def _whole(self, marker: BackfillMarker) -> bool:
        """Whether the backfill is about every project of this log."""
        return marker.filter == self._filter and marker.changed_since is None

    def on(self, cut: Cut) -> Cut:
        """`cut` with what these marks claim."""
        marker = self._marker or Marker(0, 0, 0)
        reaches_down = self._low > 0 and self._low >= marker.base
        return replace(
            cut,
            base=0 if reaches_down else marker.base,
            serial=marker.serial,
            time=marker.time,
            low=self._low,
            backfill=self._backfill,
        )
