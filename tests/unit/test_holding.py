"""What the log says about waiting, when several processes were told to wait."""

from __future__ import annotations

import asyncio

from pypistream.holding import HOLD_KEY, SharedHold, hold_of
from schemas.codec import encode
from schemas.records import Hold
from schemas.topics import Topic
from streams.log import Outgoing
from streams.memory_log import MemoryLog
from streams.watching import plain_place
from tests.support import virtual_time
from tests.support.scripted_upstream import ScriptedUpstream
from tests.support.virtual_time import WarpClock


async def told(log: MemoryLog) -> Hold | None:
    return hold_of((await log.table(plain_place(log))).rows.get(HOLD_KEY))


def test_a_shorter_wait_that_is_written_last_does_not_stay() -> None:
    """Who knows of a longer one writes it again, so that a process that starts learns of it."""

    async def play() -> None:
        clock, log = WarpClock(), MemoryLog(1)
        at = plain_place(log)
        longer, shorter = (clock.now_ms() + seconds * 1000 for seconds in (100, 50))
        mine = SharedHold(log, clock)
        role = asyncio.create_task(mine.run(ScriptedUpstream()))
        mine.asked(longer / 1000, "too many requests")
        await asyncio.sleep(2)
        row = Outgoing(Topic.PROGRESS, HOLD_KEY, encode(Hold(shorter, "")), (), at.partition)
        await log.append([row])  # by one that was told at the same moment

        await asyncio.sleep(5)
        assert await told(log) == Hold(longer, "too many requests")

        ends = await log.ends(Topic.PROGRESS)
        await asyncio.sleep(30)
        assert ends == await log.ends(Topic.PROGRESS), "once is enough"
        await asyncio.sleep(100)
        await log.append([row])
        await asyncio.sleep(5)
        assert await told(log) == Hold(shorter, ""), "what is over is told to nobody"
        role.cancel()
        await asyncio.wait([role])

    virtual_time.run(play())
