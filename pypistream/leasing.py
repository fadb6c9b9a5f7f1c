"""The share of the rate that this process may use: that of the partitions that it has leased.

Every process writes its signs of life into `progress`. This module writes and reads them;
`streams.leases` decides what they allow.
"""

from __future__ import annotations

import time
import uuid

from schemas import codec
from schemas.errors import LogCorrupt
from schemas.records import RateHanded, RateSign
from streams.assignment import Assignment
from streams.leases import Handed, Lease, Sign
from streams.log import Log, Record
from streams.progress import progress_record
from streams.watching import TableWatch, plain_place

SIGN_KEY = "rate"


class LeasedAssignment:
    """An assignment whose share of the rate is leased. See `streams.assignment.Assignment`."""

    def __init__(self, group: Assignment, total: int) -> None:
        self._group = group
        self._lease = Lease(uuid.uuid4().hex, total)

    @property
    def partitions(self) -> frozenset[int]:
        """What the group assigned."""
        return self._group.partitions

    @property
    def well(self) -> bool:
        """Whether the group is known to count this process as a member."""
        return self._group.well

    @property
    def known(self) -> bool:
        """Whether the group has ever answered."""
        return self._group.known

    def share(self) -> float:
        """The share of the rate (0 to 1) that may be used now: 0 without group, lease or log."""
        return self._lease.share(time.monotonic()) if self._group.well else 0.0

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        """Wait until the assignment differs from `known`; return it."""
        return await self._group.changed(known)

    async def run(self) -> None:
        """Take part in the group until cancelled."""
        await self._group.run()

    def watching(self) -> None:
        """The signs are about to be watched, for the first time or after a failure."""
        self._lease.watching(time.monotonic())

    async def sign(self, log: Log, now_ms: int) -> None:
        """When due, renew the leases of assigned partitions, hand over others.

        Raises LogUnavailable.
        """
        begun = time.monotonic()
        if not self._lease.due(self.partitions, begun):
            return
        sign = self._lease.sign(self.partitions, begun)
        parts = sorted(sign.parts)
        handed = tuple(RateHanded(*each) for each in sign.handed)
        value = RateSign(sign.holder, sign.number, tuple(parts), handed)
        # At most one key per partition, however many processes come and go.
        key = f"{SIGN_KEY}:{parts[0] if parts else 0}"
        of = f"{SIGN_KEY}:{sign.holder}:{sign.number}"
        at = plain_place(log).partition
        await log.append([progress_record(at, key, value, now_ms, of=of, kind=SIGN_KEY)])
        self._lease.signed(sign, begun, time.monotonic())

    async def look(self, watch: TableWatch) -> float:
        """Take in what is new in `progress`; seconds until the next look. Raises LogUnavailable."""
        begun = time.monotonic()
        signs = [sign for record in await watch.look() if (sign := _sign_of(record))]
        self._lease.looked(signs, begun, time.monotonic())
        return self._lease.next_look(time.monotonic())


def _sign_of(record: Record) -> Sign | None:
    if record.value is None or not (record.key or "").startswith(f"{SIGN_KEY}:"):
        return None
    try:
        value = codec.decode(record.value, RateSign)
    except LogCorrupt:
        return None  # any process may write here, so what cannot be decoded claims nothing
    handed = tuple(Handed(each.part, each.holder, each.number) for each in value.handed)
    return Sign(value.holder, value.number, frozenset(value.parts), handed)
