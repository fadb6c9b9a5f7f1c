"""When a marker is due in `changelog`: often enough to be of use, seldom enough to be cheap."""

from __future__ import annotations

# A marker costs a record in every partition and a transaction in every worker.
MARKER_MS_MIN = 10_000


class LastMarker:
    """The last marker that this process has written; the first poll always writes one."""

    def __init__(self) -> None:
        self._serial: int | None = None
        self._at_ms = 0

    def precedes(self, serial: int) -> bool:
        """Whether a marker at `serial` would claim more."""
        return self._serial is None or serial > self._serial

    def is_old(self, now_ms: int) -> bool:
        """Whether it is time for another one, if that claims more."""
        return self._serial is None or now_ms - self._at_ms >= MARKER_MS_MIN

    def written(self, serial: int, now_ms: int) -> None:
        """Note one."""
        self._serial, self._at_ms = serial, now_ms
