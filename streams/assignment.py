"""The assignment port: which partitions this process works on, and its share of the rate.

Order     What is assigned here is assigned to no other live member, except during a
          change: the writer id is the only fence, and work may go on until the new assignment is
          known.
Share     The shares of all members add up to 1 at most, members aside that the group does not
          know yet; where shares are leased (`streams.leases`) without exception. 0 = fetch
          nothing now.
Errors    `run` raises LogUnavailable (Retriable) when the group cannot be reached; it is run
          again, and what was assigned stays so until something else is known.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

QUIET_SECONDS = 1.0  # after an assignment: others may learn of it this much later


class Assignment(Protocol):
    """See the module's docstring for the rules."""

    @property
    def partitions(self) -> frozenset[int]:
        """What is assigned, as far as this process knows."""
        ...

    @property
    def known(self) -> bool:
        """Whether an assignment is known at all, be it an empty one."""
        ...

    @property
    def well(self) -> bool:
        """Whether this process is known to be a member."""
        ...

    def share(self) -> float:
        """The share of the rate that may be used now, 0 to 1."""
        ...

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        """Wait until something else than `known` is assigned; returns that."""
        ...

    async def run(self) -> None:
        """Take part until cancelled; then leave, so that others need not wait."""
        ...


class Everything:
    """The assignment of a process that works alone: all partitions."""

    def __init__(self, total: int) -> None:
        self._partitions = frozenset(range(total))

    @property
    def partitions(self) -> frozenset[int]:
        """All."""
        return self._partitions

    @property
    def known(self) -> bool:
        """From the beginning."""
        return True

    @property
    def well(self) -> bool:
        """Nobody else counts."""
        return True

    def share(self) -> float:
        """All."""
        return 1.0

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        """Return all if they are not known; else wait for ever."""
        if known == self._partitions:
            await asyncio.get_running_loop().create_future()
        return self._partitions

    async def run(self) -> None:
        """Wait for ever."""
        await asyncio.get_running_loop().create_future()


@dataclass
class Membership:
    """One member's view of its group. Pure: all times are passed in.

    Times are seconds of a clock that never goes back and that goes on while a process is stopped.
    `session_seconds`: after so long without a sign of life the group gives our partitions away.
    """

    total: int
    session_seconds: float
    partitions: frozenset[int] = frozenset()
    _since: float = field(default=float("-inf"), init=False)
    _before: int = field(default=0, init=False)  # how many were ours before this assignment
    _confirmed: float = field(default=float("-inf"), init=False)
    _member: bool = field(default=False, init=False)  # False: the assignment is only remembered

    @property
    def known(self) -> bool:
        """Whether there ever was an assignment."""
        return self._since > float("-inf")

    def assigned(self, partitions: frozenset[int], now: float) -> None:
        """The group assigned these, which also confirms our membership."""
        self._before = len(self.partitions) if self._member else 0
        self.partitions, self._since = partitions, now
        self._member, self._confirmed = True, now

    def rejoining(self, now: float) -> None:
        """We are about to ask for a new assignment: a normal change, or we have been put out."""
        if self._doubtful(now):
            self._member = False

    def confirmed(self, asked: float) -> None:
        """The group answered a question of time `asked`: we are a member."""
        self._confirmed = max(self._confirmed, asked)

    def denied(self, asked: float) -> None:
        """The group answered a question of time `asked`: it does not know us.

        Ignored if the question is older than our joining.
        """
        if asked >= self._since:
            self._member = False

    def well(self, now: float) -> bool:
        """Whether we are known to be a member of the group."""
        return self._member and not self._doubtful(now)

    def share(self, now: float) -> float:
        """The part of the rate that may be used now.

        During the first second after an assignment a member uses no more than before, and a
        newcomer nothing: a member that lost a partition may learn of it later than the one that
        gained it.
        """
        if not self.well(now):
            return 0.0
        quiet = now - self._since < QUIET_SECONDS
        count = min(self._before, len(self.partitions)) if quiet else len(self.partitions)
        return count / self.total

    def _doubtful(self, now: float) -> bool:
        return now - self._confirmed > self.session_seconds / 2
