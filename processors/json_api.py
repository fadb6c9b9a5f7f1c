"""Whether the JSON API as a whole still gives whole documents: pure, no I/O, no clock.

One project that it fails is that project's matter. Many in a row, without one whole document in
between, are the API's: then the index is asked at once, and every now and then one project shows
whether the API is back. Times: Unix milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

# So many answers in a row without a document raise a doubt. A sixth of all names has none, so runs
# of them are usual when absent names are looked at a second time: every eighth costs one request.
LACKING_IN_A_ROW = 8
PROBE_MS_FIRST = 5_000
PROBE_MS_MAX = 900_000


@dataclass
class JsonApi:
    """`doubted`: it has been caught without a document of a project that the index has."""

    doubted: bool = False
    lacking: int = 0
    probe_ms: int = 0
    _pause_ms: int = PROBE_MS_FIRST

    def missed(self) -> bool:
        """A 404 came; True if the index is to be asked what it says."""
        self.lacking += 1
        return self.doubted or self.lacking % LACKING_IN_A_ROW == 0

    def lacked(self) -> None:
        """A document came without its releases."""
        self.lacking += 1

    def caught(self, now_ms: int) -> None:
        """The index had what the last answer lacked; after many in a row that begins a doubt."""
        if not self.doubted and self.lacking >= LACKING_IN_A_ROW:
            self.doubted = True
            self._pause_ms = PROBE_MS_FIRST
            self.probe_ms = now_ms + self._pause_ms

    def whole(self) -> bool:
        """A whole document came; True if that ends a doubt."""
        self.lacking, ended = 0, self.doubted
        self.doubted = False
        return ended

    def probe(self, now_ms: int) -> bool:
        """Whether one project is to show now if the API is back; each time later than the last."""
        if not self.doubted or now_ms < self.probe_ms:
            return False
        self._pause_ms = min(2 * self._pause_ms, PROBE_MS_MAX)
        self.probe_ms = now_ms + self._pause_ms
        return True
