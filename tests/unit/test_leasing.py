"""What a process writes of its parts of the rate, and what it believes of what it reads."""

from __future__ import annotations

import pytest

from pypistream.leasing import SIGN_KEY, LeasedAssignment
from schemas import codec
from schemas.records import RateSign
from schemas.topics import Topic
from streams.assignment import Everything
from streams.leases import LEASE_SECONDS, SIGN_SECONDS, VIEW_SECONDS, Lease, Sign
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
    for _ in range(3):
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
    lease.signed(lease.sign({0, 1}), 0.0, 0.0)
    now = LEASE_SECONDS
    lease.signed(lease.sign({0, 1}), now, now)
    lease.looked([Sign("other", 1, frozenset({-1, 1, 99}))], now, now)

    assert VIEW_SECONDS < now
    assert lease.share(frozenset({0, 1}), now) == 0.5
