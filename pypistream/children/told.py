"""A child's instructions: lines on its stdin, which ends when the parent does."""

from __future__ import annotations

import asyncio
import sys

LINE_BYTES_MAX = 1024 * 1024  # the longest has a position for each of some hundred partitions


async def stdin_reader() -> asyncio.StreamReader:
    """A reader of the parent's lines."""
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader
