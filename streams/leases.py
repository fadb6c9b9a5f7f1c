"""Whose part of the rate is whose, and which parts are free: leases by signs in the log. Pure.

The rate has a part per partition. A process signs for those of its partitions every SIGN_SECONDS,
and reads what others sign. It may use a part while its own last sign is younger than LEASE_SECONDS,
its last look at the log younger than VIEW_SECONDS, and no other live signer claims that part. Parts
that nobody has signed for during LEASE_SECONDS are divided among those that are used: who uses u of
N parts and sees f free ones takes u / (N - f) of the rate.

Never more than the rate, whatever is delayed, stopped or killed, as long as clocks go equally fast:
- A part is *new* to a signer whose claim is not the continuation of one that was still valid when
  the sign arrived; a new part is used VIEW_SECONDS after its sign was acknowledged. By then no
  other's look is older than that sign: whoever saw the part free, or used it, knows of the claim.
- A part is free to a looker if no sign claimed it in the LEASE_SECONDS before the look, and every
  sign is in the log no earlier than its signer counts from: so no holder may be using it.
- So what all use is disjoint, and no free part of anybody's is used by anyone. With F free parts in
  all and f <= F seen by each, the sum of u / (N - f) is at most (N - F) / (N - F) = 1.
`tests/property/test_leases.py` tries it, docs/adr/022-parts-of-the-rate-are-leases.md says why.

All times are seconds of a clock that never goes back and goes on while a process is stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

SIGN_SECONDS = 0.5  # between two signs; a look at the others' comes with each
# From the sign of a killed process until others take its parts. 2.5 s at one of four cost a tenth
# of what a window of 10 s may have; shorter, and a broker that is slow for a moment stops us.
LEASE_SECONDS = 2.0
VIEW_SECONDS = 1.0  # what was seen of others counts for so long; what is new here waits for it
DRIFT_SECONDS = 0.05  # no two clocks come apart by as much in the time of a lease


class Sign(NamedTuple):
    """Of one holder: `number` counts its signs, `parts` are those it claims."""

    holder: str
    number: int
    parts: frozenset[int]


@dataclass
class _Other:
    """A signer that is not us: its last sign, and when we had read it."""

    sign: Sign
    seen: float


@dataclass
class Lease:
    """What one process knows of the parts of the rate, and what it may use of them."""

    holder: str
    total: int
    _number: int = field(default=0, init=False)
    _signed: float = field(default=float("-inf"), init=False)  # when our last good sign was begun
    _usable: dict[int, float] = field(default_factory=dict, init=False)  # signed part: from when
    _others: dict[str, _Other] = field(default_factory=dict, init=False)
    _watching: float = field(default=float("inf"), init=False)
    _looked: float = field(default=float("-inf"), init=False)  # when the last look was begun

    def sign(self, parts: Iterable[int]) -> Sign:
        """The next sign, about to be written: what it leaves out is not ours from now on."""
        claimed = frozenset(parts)
        self._usable = {part: at for part, at in self._usable.items() if part in claimed}
        self._number += 1
        return Sign(self.holder, self._number, claimed)

    def signed(self, sign: Sign, begun: float, now: float) -> None:
        """`sign`, whose writing was begun then, is in the log."""
        if now - self._signed > LEASE_SECONDS:
            self._usable.clear()  # others may have taken them meanwhile
        for part in sign.parts:
            self._usable.setdefault(part, now + VIEW_SECONDS + DRIFT_SECONDS)
        self._signed = begun

    def watching(self, now: float) -> None:
        """Looks begin, or begin anew: signs before this may have been missed."""
        self._watching, self._looked = now, float("-inf")
        for other in self._others.values():
            other.seen = now

    def looked(self, signs: Iterable[Sign], begun: float, now: float) -> None:
        """A look that was begun then has brought these, and with them all up to its beginning."""
        self._looked = begun
        for sign in signs:
            if sign.holder == self.holder:
                continue
            before = self._others.get(sign.holder)
            if before is None or sign.number > before.sign.number:  # a late one may come last
                self._others[sign.holder] = _Other(sign, now)
        silent = [name for name, other in self._others.items() if begun >= _free_at(other)]
        for name in silent:
            del self._others[name]

    def share(self, parts: frozenset[int], now: float) -> float:
        """The part of the rate, 0 to 1, that may be used now by whoever was assigned `parts`."""
        if not self._knows(now) or now - self._signed > LEASE_SECONDS:
            return 0.0
        others = frozenset().union(*(other.sign.parts for other in self._others.values()))
        used = [
            part
            for part, since in self._usable.items()
            if since <= now and part in parts and part not in others
        ]
        claimed = others.union(self._usable).intersection(range(self.total))
        return len(used) / len(claimed) if used else 0.0  # u / (N - f): all that is not free

    def next_look(self, now: float) -> float:
        """Seconds until something may be free that is not yet; SIGN_SECONDS at most."""
        due = [_free_at(other) - now for other in self._others.values() if other.sign.parts]
        return min([SIGN_SECONDS, *(max(0.0, seconds) for seconds in due)])

    def _knows(self, now: float) -> bool:
        """Whether what others claim is known, and recently enough."""
        return now - self._looked <= VIEW_SECONDS and self._looked - self._watching >= LEASE_SECONDS


def _free_at(other: _Other) -> float:
    """A look begun then or later that brings no newer sign of it shows that it uses nothing."""
    return other.seen + LEASE_SECONDS + DRIFT_SECONDS
