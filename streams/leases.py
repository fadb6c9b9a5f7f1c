"""Which process may use which part of the rate: leases, by signs in the log. Pure.

The rate has a part per partition. A process signs for those of its partitions every SIGN_SECONDS,
and reads what others sign. It may use a part while its own last sign is younger than LEASE_SECONDS,
its last look at the log younger than VIEW_SECONDS, and no other live signer claims that part. Parts
that nobody has signed for during LEASE_SECONDS are divided among those that are used: who uses u of
N parts and sees f free ones takes u / (N - f) of the rate.

Never more than the rate, whatever is delayed, stopped or killed, as long as clocks go equally fast:
- A part is *new* to a signer whose claim is not the continuation of one that was still valid when
  the sign arrived; a new part is used VIEW_SECONDS after its sign was acknowledged. By then no
  other's look is older than that sign: whoever saw the part free, or used it, knows of the claim.
- Or as soon as its holder hands it over: it has used it validly up to now, has seen this claim and
  nobody else's, and signs that it has stopped. Looks older than the claim show the holder's own.
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

SIGN_SECONDS = 0.5  # between two signs
LOOK_SECONDS = 0.25  # between two looks at those of others
HAND_SECONDS = 0.1  # the same while a part goes from one to another, and its rate is used by nobody
# From the last sign of a killed process until others take its parts. With one of four killed, 2.5 s
# cost a tenth of what a window of 10 s may have; with less, a broker that is slow for a moment
# would stop us.
LEASE_SECONDS = 1.75
VIEW_SECONDS = 1.0  # what was seen of others counts for so long; what is new here waits for it
KEEP_SECONDS = 2.0  # what the group took away is used until another claims it, but no longer
DRIFT_SECONDS = 0.05  # no two clocks come apart by as much in the time of a lease


class Handed(NamedTuple):
    """A part given to another, whose sign of that number claims it."""

    part: int
    holder: str
    number: int


class Sign(NamedTuple):
    """Of one holder: `number` counts its signs, `parts` are those it claims."""

    holder: str
    number: int
    parts: frozenset[int]
    handed: tuple[Handed, ...] = ()


@dataclass
class _Other:
    """A signer that is not us: its last sign, and when we had read it."""

    sign: Sign
    seen: float


@dataclass
class _Claim:
    """A part that our last good sign claims: since which sign, and from when it may be used."""

    number: int
    usable: float
    lost: float | None = None  # when we first knew that it is assigned to us no more


@dataclass
class Lease:
    """What one process knows of the parts of the rate, and what it may use of them."""

    holder: str
    total: int
    _number: int = field(default=0, init=False)
    _begun: float = field(default=float("-inf"), init=False)  # of the last sign, good or not
    _signed: float = field(default=float("-inf"), init=False)  # of the last good one
    _assigned: frozenset[int] = field(default=frozenset(), init=False)  # at the last sign
    _claims: dict[int, _Claim] = field(default_factory=dict, init=False)
    _others: dict[str, _Other] = field(default_factory=dict, init=False)
    _watching: float = field(default=float("inf"), init=False)
    _looked: float = field(default=float("-inf"), init=False)  # when the last look was begun
    _free: dict[int, float] = field(default_factory=dict, init=False)  # the last that showed it so

    def due(self, assigned: frozenset[int], now: float) -> bool:
        """Whether a sign is to be written: for news, or because the last one grows old."""
        if assigned != self._assigned or any(part not in assigned for part in self._claims):
            return True
        return bool(assigned) and now - self._begun >= SIGN_SECONDS - LOOK_SECONDS / 2

    def sign(self, assigned: frozenset[int], now: float) -> Sign:
        """The next sign, about to be written: what it leaves out is not ours from now on."""
        kept: set[int] = set()
        handed: list[Handed] = []
        for part, claim in self._claims.items():
            if part in assigned:
                claim.lost = None
                continue
            claim.lost = now if claim.lost is None else claim.lost
            if claim.usable > now or not self._valid(now):
                continue
            claimants = [each.sign for each in self._others.values() if part in each.sign.parts]
            if not claimants and now - claim.lost < KEEP_SECONDS:
                kept.add(part)
            elif len(claimants) == 1:
                handed.append(Handed(part, claimants[0].holder, claimants[0].number))
        claimed = assigned | kept
        self._claims = {part: claim for part, claim in self._claims.items() if part in claimed}
        self._number, self._begun, self._assigned = self._number + 1, now, assigned
        return Sign(self.holder, self._number, claimed, tuple(handed))

    def signed(self, sign: Sign, begun: float, now: float) -> None:
        """`sign`, whose writing was begun then, is in the log."""
        if now - self._signed > LEASE_SECONDS:
            self._claims.clear()  # others may have taken them meanwhile
        for part in sign.parts:
            new = _Claim(sign.number, now + VIEW_SECONDS + DRIFT_SECONDS)
            self._claims.setdefault(part, new)
        self._signed = begun

    def watching(self, now: float) -> None:
        """Looks begin, or begin anew: signs before this may have been missed."""
        self._watching, self._looked = now, float("-inf")
        self._free.clear()
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
                self._take(sign.handed, now)
        silent = [name for name, other in self._others.items() if begun >= _free_at(other)]
        for name in silent:
            del self._others[name]
        if self._watched:
            claimed = self._claimed_by_others().union(self._claims)
            self._free.update((part, begun) for part in range(self.total) if part not in claimed)

    def share(self, now: float) -> float:
        """The part of the rate, 0 to 1, that may be used now."""
        if not self._valid(now):
            return 0.0
        others = self._claimed_by_others()
        used = {
            part
            for part, claim in self._claims.items()
            if claim.usable <= now and part not in others and 0 <= part < self.total
        }
        # A claim since a look that showed a part free does not count before that look is too old:
        # the claimant waits for just that.
        free = {part for part, looked in self._free.items() if now - looked <= VIEW_SECONDS}
        return len(used) / (self.total - len(free - used)) if used else 0.0

    def next_look(self, now: float) -> float:
        """Seconds until something may be free that is not yet, or is on its way; or a while."""
        moving = any(
            claim.usable > now or claim.lost is not None for claim in self._claims.values()
        )
        due = [_free_at(other) - now for other in self._others.values() if other.sign.parts]
        return max(0.0, min([HAND_SECONDS if moving else LOOK_SECONDS, *due]))

    def _take(self, handed: Iterable[Handed], now: float) -> None:
        """Use at once what was handed to the claim that we have; an older one has lapsed since."""
        for each in handed:
            claim = self._claims.get(each.part)
            if each.holder == self.holder and claim is not None and each.number >= claim.number:
                claim.usable = min(claim.usable, now)

    def _valid(self, now: float) -> bool:
        """Whether our last sign still holds, and what others claim is known and recent enough."""
        signed = now - self._signed <= LEASE_SECONDS
        return signed and self._watched and now - self._looked <= VIEW_SECONDS

    @property
    def _watched(self) -> bool:
        return self._looked - self._watching >= LEASE_SECONDS

    def _claimed_by_others(self) -> frozenset[int]:
        return frozenset().union(*(other.sign.parts for other in self._others.values()))


def _free_at(other: _Other) -> float:
    """A look begun then or later that brings no newer sign of it shows that it uses nothing."""
    return other.seen + LEASE_SECONDS + DRIFT_SECONDS
