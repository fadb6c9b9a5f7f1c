"""Answers that clients have not taken yet: how much of them is held, for how long, whose go first.

What a client does not read stays here in full until its last byte has left. So the bound is on all
of it together: a few slow clients may have long answers, very many may not. No I/O and no clock.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import structlog

# Of all connections. A service has 160 MB beside it, within a container's 512; an answer of the
# usual length never gets here, because the system's own buffers take it at once.
UNREAD_BYTES_MAX = 128 * 1024 * 1024
UNCOUNTED_BYTES_MAX = 16 * 1024  # unsent, of one connection: 188 MiB if all of them have so much
UNREAD_SECONDS_MAX = 60.0  # for an answer that is not longer than the following rate allows
READ_BYTES_PER_SECOND_MIN = 16 * 1024  # of a longer one, in the mean: what ISDN once gave

log_ = structlog.get_logger("http")


class Connection(Protocol):
    """What may be ended."""

    def abort(self) -> None:
        """Close it at once, and let go what it has not sent."""
        ...


class _Held(NamedTuple):
    size: int
    since: float


class Unread:
    """Connections with more unsent than is not counted, the one unread longest before the others.

    Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._of: dict[Connection, _Held] = {}
        self._ended = 0

    def add(self, connection: Connection, size: int, now: float) -> None:
        """So many bytes wait in it. The one unread longest goes while that is too much in all."""
        self.remove(connection)
        self._of[connection] = _Held(size, now)
        self.bytes += size
        while self.bytes > UNREAD_BYTES_MAX:
            self._end(next(iter(self._of)))

    def remove(self, connection: Connection) -> None:
        """All of it was taken, or the connection is gone. It need not be here."""
        held = self._of.pop(connection, None)
        if held is not None:
            self.bytes -= held.size

    def sweep(self, now: float) -> None:
        """End those that take their answer too slowly."""
        for connection, held in list(self._of.items()):
            seconds = max(UNREAD_SECONDS_MAX, held.size / READ_BYTES_PER_SECOND_MIN)
            if now - held.since > seconds:
                self._end(connection)
        if self._ended:  # once a sweep: clients must not fill the log
            log_.warning("connections that did not read were ended", connections=self._ended)
            self._ended = 0

    def _end(self, connection: Connection) -> None:
        self.remove(connection)
        self._ended += 1
        connection.abort()
