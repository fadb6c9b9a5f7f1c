"""Which names a round of the sweep asks for, in which order and how fast. Pure, without a clock.

A round asks once for every name that has a document: first those that were given up (`dead` and
`stale`), then all others by name. Absent names are left out: the serial map shows when they come
back. Times: seconds.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from schemas import codec
from schemas.errors import LogCorrupt
from schemas.names import NormalizedName
from schemas.records import Ask, Reason, Status, Sweep
from schemas.topics import partition_of
from streams.log import Record

SWEEP_KEY = "sweep"
UNREAD_ASKS_MAX = 32  # per partition: what a backfill's asks find before them in the window
# Of the fetch rate. All of PyPI has 740 000 documents: 3.4 days at a quarter of 10 per second, so a
# round fits into a week, and three quarters always remain for events and a backfill.
RATE_SHARE = 0.25
UNLIMITED_PER_SECOND = 1_000.0  # if the rate is unlimited: more than a worker serves
# Every so many rounds a name is asked for without its ETag: a wrong body may have come with the
# right ETag, and then "unchanged" would confirm it for ever. All names each time would be 44 GB a
# round.
WHOLE_ROUNDS = 4
BATCH_ASKS = 16  # of one append, as far as the pace allows: a write a second would be a waste
TICK_SECONDS_MIN, TICK_SECONDS_MAX = 0.2, 10.0  # between two appends

_OK = Status.OK
_USED_UP = (Status.DEAD, Status.STALE)


class _Row(msgspec.Struct):
    """The fields of a `state` row that matter here."""

    status: Status


class Known:
    """What a round needs of `state`. Call `put` with every record, each partition's in order."""

    def __init__(self) -> None:
        self._used_up: dict[str, bool] = {}

    def put(self, name: str, value: bytes | None) -> None:
        """One record of `state`. Raises LogCorrupt."""
        status = None if value is None else codec.decode(value, _Row).status
        if status is _OK or status in _USED_UP:
            self._used_up[name] = status is not _OK
        else:
            self._used_up.pop(name, None)

    def names(self, *, used_up: bool, after: str = "") -> list[str]:
        """The names of one of the two kinds that come after a given name, in order."""
        return sorted(
            name for name, given_up in self._used_up.items() if given_up is used_up and name > after
        )


class Round:
    """The rest of the round of `cursor`, to be taken bit by bit."""

    def __init__(self, cursor: Sweep, known: Known) -> None:
        # If the end of the first part was not stored, its names are asked for again, once each.
        first = [] if cursor.name else known.names(used_up=True)
        rest = known.names(used_up=False, after=cursor.name)
        self._first, self._rest = _Packed(first), _Packed(rest)
        self.left = len(first) + len(rest)
        asked = cursor.asked if cursor.name else 0
        self.cursor = replace(cursor, asked=asked, names=asked + self.left)

    def take(self, count: int, room: Sequence[int]) -> list[tuple[NormalizedName, Ask]]:
        """Up to `count` asks, the next in order; `room` has what each partition may take.

        It stops at a name whose partition is full: a round has one position, not one per partition.
        """
        space = list(room)
        taken: list[tuple[NormalizedName, Ask]] = []
        while len(taken) < count:
            part = self._first if self._first.next is not None else self._rest
            name = part.next
            if name is None or space[partition := partition_of(name, len(space))] <= 0:
                break
            space[partition] -= 1
            part.advance()
            given_up = part is self._first
            whole = given_up or is_whole(name, self.cursor.round)
            taken.append((NormalizedName(name), Ask("", Reason.SWEEP, whole=whole)))
            if not given_up:
                self.cursor = replace(self.cursor, name=name)
        self.left -= len(taken)
        self.cursor = replace(self.cursor, asked=self.cursor.asked + len(taken))
        return taken


class _Packed:
    """A sorted list of texts in a sixth of a list's memory, since a round lasts for days."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._bytes = "\n".join(texts).encode()
        self._end = -1
        self.next: str | None = None
        self.advance()

    def advance(self) -> None:
        """`next` is the next one, None after the last."""
        start = self._end + 1
        if start >= len(self._bytes):
            self.next = None
            return
        end = self._bytes.find(b"\n", start)
        self._end = len(self._bytes) if end < 0 else end
        self.next = self._bytes[start : self._end].decode()


def is_whole(name: str, number: int) -> bool:
    """Whether a name is asked for without its ETag in this round; names take turns."""
    return zlib.crc32(name.encode()) % WHOLE_ROUNDS == number % WHOLE_ROUNDS


def pace(left: int, seconds_left: float, rate: float) -> float:
    """Asks per second so that `left` end in time; at most the share of `rate` (0 = unlimited)."""
    most = RATE_SHARE * rate if rate else UNLIMITED_PER_SECOND
    return most if seconds_left <= 0 else min(most, left / seconds_left)


def tick(speed: float) -> float:
    """Seconds between two appends at so many asks per second."""
    wanted = BATCH_ASKS / speed if speed > 0 else TICK_SECONDS_MAX
    return min(TICK_SECONDS_MAX, max(TICK_SECONDS_MIN, wanted))


def credit(before: float, seconds: float, speed: float) -> float:
    """The number of asks that may be made now; after a long pause there is no rush to catch up."""
    return min(before + seconds * speed, max(1.0, 2 * tick(speed) * speed))


def following(last: Sweep | None, now: int, every: float) -> tuple[Sweep, float]:
    """The round to work on, and in how many seconds it begins (0 = now).

    A round that has not ended goes on. The next one begins a period after the start of the last,
    but no later than a period from now: another machine's clock may have been wrong. With `every` 0
    a round begins at once, unless another such round was interrupted.
    """
    if last is None:
        return Sweep(1, every, now, now), 0.0
    begun = min(last.started, now)
    if not last.ended and (every or not last.every):
        return replace(last, every=every, started=begun), 0.0
    wait = max(0.0, begun + every - now)
    return Sweep(last.round + 1, every, now, now), wait


def cursor_of(row: Record | None) -> Sweep | None:
    """The cursor in a row of `progress`; None for what is none: any process may write there."""
    if row is None or row.value is None:
        return None
    try:
        return codec.decode(row.value, Sweep)
    except LogCorrupt:
        return None
