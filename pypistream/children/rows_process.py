"""The process that reads the log and makes rows of it, for a parent that is far behind.

Reads its stdin: an `Order` in one line; end of file = the parent is gone, end now.
Writes to stdout messages, each after its length: a `Head` and the rows, ..., `Done` or `Failed`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator, Mapping

from pypistream.children.rows_said import (
    LENGTH,
    Done,
    Failed,
    Head,
    Order,
    order_decoder,
    places,
    positions_in,
)
from pypistream.children.told import stdin_reader
from pypistream.data_dir import DataDir
from pypistream.logs import log_to_stderr
from pypistream.memory import collecting_seldom
from pypistream.place import located
from pypistream.settings import Settings
from pypistream.wiring import open_log_for_reading, packed_rows
from schemas.codec import encode
from schemas.errors import PypistreamError
from sinks.reading import CutReader
from streams.log import Log
from streams.masking import MaskedLog


def run_child(given: Mapping[str, object]) -> int:
    """Do what the parent asks for; the exit code."""
    log_to_stderr()
    settings, data = located(given)
    with collecting_seldom():
        return asyncio.run(_run(settings, data))


async def _run(settings: Settings, data: DataDir) -> int:
    stdin = await stdin_reader()
    order = order_decoder.decode(await stdin.readline())
    gone = asyncio.create_task(stdin.read())
    work = asyncio.create_task(_work(settings, data, order))
    await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        work.result()
    for task in (gone, work):
        task.cancel()
    await asyncio.wait({gone, work})
    return 0


async def _work(settings: Settings, data: DataDir, order: Order) -> None:
    """Write all messages; the next one is made while one is written."""
    writing = asyncio.create_task(asyncio.to_thread(_write, b""))
    try:
        log = await open_log_for_reading(settings, data)
        try:
            async with contextlib.aclosing(messages(log, order)) as made:
                async for message in made:
                    await writing
                    writing = asyncio.create_task(asyncio.to_thread(_write, message))
                    del message
        finally:
            await log.close()
        last = encode(Done())
    except PypistreamError as error:
        last = encode(Failed(type(error).__name__, str(error), error.hint))
    await writing
    await asyncio.to_thread(_write, LENGTH.pack(len(last)) + last)


async def messages(log: Log, order: Order) -> AsyncGenerator[bytes, None]:
    """The rows of what was asked for, in two parts each. Raises what reading the log raises."""
    due, positions = positions_in(order.due), positions_in(order.positions)
    masked = MaskedLog.of(log)
    reader = CutReader(masked)
    try:
        while (piece := await reader.piece(due, positions)) is not None:
            head = encode(Head(places(positions), places(piece.positions), len(piece.records)))
            rows = packed_rows(piece.records, order.config)
            positions = dict(piece.positions)
            del piece  # it has 30 MB, and the rows 20: neither stays while the next is read
            yield b"".join((LENGTH.pack(len(head)), head, LENGTH.pack(len(rows))))
            yield rows
            del rows
    finally:
        await reader.close()
        await masked.leave()


def _write(message: bytes) -> None:
    """Into a pipe whose reader may be gone: then stdin has ended, too, and so do we."""
    rest = memoryview(message)
    with contextlib.suppress(BrokenPipeError):
        while rest:
            rest = rest[os.write(sys.stdout.fileno(), rest) :]
