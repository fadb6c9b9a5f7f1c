"""What a process writes of its parts of the rate, and what it believes of what it reads."""

from __future__ import annotations

import pytest

from pypistream.leasing import SIGN_KEY, LeasedAssignment
from schemas import codec
from schemas.records import RateSign
from schemas.topics import Topic
from streams.assignment import Everything
from streams.leases import LEASE_SECONDS, SIGN_SECONDS, VIEW_SECONDS, Handed, Lease, Sign
from streams.log import Outgoing
from streams.memory_log import MemoryLog
from streams.watching import TableWatch, plain_place

TOTAL = 4


class Given(Everything):
    """An assignment that a test gives."""

    def __init__(self, *parts: int) -> None:
        super().__init__(TOTAL)
        self._partitions = frozenset(parts)

    def give(self, *parts: int) -> None:
        self._partitions = frozenset(parts)


async def signs(log: MemoryLog) -> dict[str, RateSign]:
    """What lies in the log, by key."""
    rows = (await log.table(plain_place(log))).rows
    return {key: codec.decode(row.value or b"", RateSign) for key, row in rows.items()}


async def test_what_is_assigned_is_claimed_and_what_is_not_is_given_back_once() -> None:
    """Whoever has nothing and had nothing writes nothing; a spare costs no records."""
    log, group = MemoryLog(TOTAL), Given()
    leased = LeasedAssignment(group, TOTAL)
    await leased.sign(log, 0)
    assert await signs(log) == {}

    group.give(1, 3)
    await leased.sign(log, 0)
    [(key, sign)] = (await signs(log)).items()
    assert (key, sign.number, sign.parts) == (f"{SIGN_KEY}:1", 1, (1, 3))

    group.give()
    for _ in range(3):  # what it claimed was never its own to use: nothing is handed to anybody
        await leased.sign(log, 0)
    given_back = (await signs(log))[f"{SIGN_KEY}:0"]
    assert (given_back.holder, given_back.number, given_back.parts) == (sign.holder, 2, ())


@pytest.mark.parametrize("value", [b"nonsense", b"{}", b'{"holder":1}', None])
async def test_what_is_no_sign_claims_nothing(value: bytes | None) -> None:
    """Any process may write there."""
    log = MemoryLog(TOTAL)
    leased = LeasedAssignment(Given(0), TOTAL)
    async with TableWatch(log, [plain_place(log)]) as watch:
        leased.watching()
        await log.append([Outgoing(Topic.PROGRESS, f"{SIGN_KEY}:0", value, (), TOTAL + 1)])
        await leased.sign(log, 0)
        assert 0 <= await leased.look(watch) <= SIGN_SECONDS


def test_parts_that_do_not_exist_are_none() -> None:
    """Another's nonsense neither adds to the rate nor takes of it."""
    lease = Lease("mine", TOTAL)
    lease.watching(0.0)
    now, mine = LEASE_SECONDS, frozenset({0, 1})
    lease.signed(lease.sign(mine, 0.0), 0.0, 0.0)
    lease.signed(lease.sign(mine, now), now, now)
    lease.looked([Sign("other", 1, frozenset({-1, 1, 99}))], now, now)

    assert VIEW_SECONDS < now
    assert lease.share(now) == 0.5


def holding(holder: str, now: float, *parts: int) -> Lease:
    """A lease whose parts are its own at that time, and have been for long."""
    lease = Lease(holder, TOTAL)
    lease.watching(now - 2 * LEASE_SECONDS)
    for moment in (now - LEASE_SECONDS, now):
        lease.signed(lease.sign(frozenset(parts), moment), moment, moment)
    lease.looked([], now, now)
    return lease


CLAIM = Sign("other", 7, frozenset({0}))
NONE: frozenset[int] = frozenset()


def test_a_part_goes_to_the_one_that_claims_it() -> None:
    """It is used until then, and by nobody before the other has read that it was handed over."""
    lease = holding("mine", 100.0, 0, 1)
    assert lease.sign(frozenset({1}), 100.0).parts == {0, 1}
    assert lease.share(100.0) == 1.0

    lease.looked([CLAIM], 100.0, 100.0)
    assert lease.share(100.0) == 0.5
    sign = lease.sign(frozenset({1}), 100.0)
    assert sign.parts == {1}
    assert sign.handed == (Handed(0, "other", 7),)


def test_whose_lease_is_over_hands_nothing_over() -> None:
    """Others may have taken the part by then."""
    late = 100.0 + LEASE_SECONDS + 0.1
    lease = holding("mine", 100.0, 0, 1)
    lease.looked([CLAIM], late, late)

    assert lease.sign(frozenset({1}), late).handed == ()


def test_what_is_not_ones_own_yet_is_not_handed_over() -> None:
    """Its former holder may still use it."""
    lease = holding("mine", 100.0, 1)
    lease.signed(lease.sign(frozenset({0, 1}), 100.0), 100.0, 100.0)
    lease.looked([CLAIM], 100.1, 100.1)

    assert lease.sign(frozenset({1}), 100.1).handed == ()


@pytest.mark.parametrize(
    ("part", "to", "number", "used"),
    [(0, "mine", 3, True), (0, "mine", 2, False), (0, "third", 3, False), (1, "mine", 3, False)],
    ids=["to this claim", "to an older one", "to another", "another part"],
)
def test_what_is_handed_over_is_used_at_once(part: int, to: str, number: int, used: bool) -> None:
    """But only by the claim that the holder has seen; one that lapsed since is another."""
    lease = holding("mine", 100.0)
    first = lease.sign(frozenset({0}), 100.0)
    assert first.number == 3
    lease.signed(first, 100.0, 100.0)
    handed = (Handed(part, to, number),)
    lease.looked([Sign("other", 9, frozenset({1}), handed)], 100.0, 100.1)

    assert (lease.share(100.1) > 0) is used


def test_whoever_has_not_looked_for_a_while_uses_nothing() -> None:
    """Another may have been given the part; the next look shows it, and nothing else is lost."""
    lease = holding("mine", 100.0, 0)
    late = 100.0 + VIEW_SECONDS + 0.1
    assert lease.share(100.0 + VIEW_SECONDS) > 0
    assert lease.share(late) == 0.0

    lease.looked([], late, late)
    assert lease.share(late) == 1.0
