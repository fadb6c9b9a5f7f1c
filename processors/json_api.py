"""Whether the JSON API as a whole still gives whole documents: pure, no I/O, no clock.

If the API fails for one project, that is about this project. If it fails for many in a row, without
one whole document in between, it is about the API: then the index is asked at once, and from time
to time one project is asked for to see whether the API is back. Fewer failures are too few to judge
by: those names are asked again a handful at a time, at growing intervals. Times: Unix milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

# So many answers in a row without a document raise a doubt. A sixth of all names has none, so runs
# of them are usual when absent names are looked at a second time: every eighth costs one request.
LACKING_IN_A_ROW = 8
PROBED_NAMES = 3  # by one probe during a doubt: one of them may just have been removed
PROBE_MS_FIRST = 5_000
PROBE_MS_MAX = 900_000  # a quarter of an hour: the longest until the API's return is noticed
# After a doubt all are asked again, and then some times more: answers without a whole document may
# have been on their way, on a busy machine for many seconds, and for as long as one fetch of three
# requests takes at most. Whoever has its own document by then is not asked.
AGAIN_MS = (2_000, 10_000, 30_000, 100_000)
ALL = 1_000_000_000  # more names than there are: `due` returns it for all of them


@dataclass
class JsonApi:
    """`doubted`: the API lacked documents of projects that the index has.

    `probe_ms`: when some of the names that the index stands in for are asked again; None = there
    are none.
    """

    doubted: bool = False
    lacking: int = 0
    probe_ms: int | None = None
    _pause_ms: int = PROBE_MS_FIRST
    _again_ms: tuple[int, ...] = ()

    def missed(self) -> bool:
        """A 404 came; True if the index is to be asked, too."""
        self.lacking += 1
        return self.doubted or self.lacking % LACKING_IN_A_ROW == 0

    def lacked(self) -> None:
        """A document came without its releases."""
        self.lacking += 1

    def caught(self, now_ms: int) -> None:
        """The index had what the last answer lacked; after many in a row this begins a doubt."""
        if not self.doubted and self.lacking >= LACKING_IN_A_ROW:
            self.doubted = True
            self._begin(now_ms)

    def whole(self, now_ms: int) -> bool:
        """A whole document came; True if that ends a doubt."""
        self.lacking, ended = 0, self.doubted
        self.doubted = False
        if ended:
            self._again_ms = tuple(now_ms + wait for wait in AGAIN_MS)
        return ended

    @property
    def due_ms(self) -> int | None:
        """When `due` is to be asked next; None = not before the next answer."""
        if self.doubted or not self._again_ms:
            return self.probe_ms
        again_ms = self._again_ms[0]
        return again_ms if self.probe_ms is None else min(again_ms, self.probe_ms)

    def due(self, now_ms: int, names: int) -> int:
        """How many of the `names` whose document was made from the index are to be asked now.

        During a doubt it is a few, at growing intervals. When the doubt has ended it is all of
        them, and those that are absent by the index's word. Without a doubt it is also a few, at
        growing intervals: they may have been too few to raise one.
        """
        if not self.doubted and self._again_ms and now_ms >= self._again_ms[0]:
            self._again_ms = self._again_ms[1:]
            return ALL
        if not names:
            self.probe_ms = None
            return 0
        if self.probe_ms is None:
            self._begin(now_ms)
        if self.probe_ms is None or now_ms < self.probe_ms:
            return 0
        self._pause_ms = min(2 * self._pause_ms, PROBE_MS_MAX)
        self.probe_ms = now_ms + self._pause_ms
        return PROBED_NAMES if self.doubted else LACKING_IN_A_ROW

    def _begin(self, now_ms: int) -> None:
        self._pause_ms = PROBE_MS_FIRST
        self.probe_ms = now_ms + self._pause_ms
