"""What the watchdog says of a worker that stands still: which of its tasks wait, and where."""

from __future__ import annotations

import asyncio
import re

from pypistream.waits import waits
from streams.bell import woken_within


async def _waiting(event: asyncio.Event) -> None:
    await woken_within(event, None)


async def _both(event: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_waiting(event))
        tasks.create_task(event.wait(), name="a library's")


async def test_each_task_of_a_group_is_told_with_its_innermost_line() -> None:
    """A group's own line is where it waits for the rest; library frames are left out."""
    event = asyncio.Event()
    task = asyncio.create_task(_both(event))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    said = waits(task)

    assert re.fullmatch(r"_both at test_waits:\d+; _waiting at bell:\d+", said)
    event.set()
    await task
    assert waits(task) == ""
