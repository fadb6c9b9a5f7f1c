"""A process that reads the log and makes rows of it, for a parent that is far behind.

Reads its stdin: an `Order` in one line, `TAKEN` for each batch that may follow the first; end of
file = the parent is gone, end now. Writes to stdout messages, each after its length: a `Head` and
what its sink needs to find the rows, ..., `Done` or `Failed`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pypistream.children.rows_said import (
    LENGTH,
    TAKEN,
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
from pypistream.wiring import open_log_for_reading, rows_packer
from schemas.codec import encode
from schemas.errors import PypistreamError
from sinks.reading import CutReader
from sinks.sink import Positions
from streams.log import Log
from streams.masking import MaskedLog

if TYPE_CHECKING:
    from sinks.duckdb.packed import Packer


def run_child(given: Mapping[str, object]) -> int:
    """Do what the parent orders; the exit code."""
    log_to_stderr()
    settings, data = located(given)
    with collecting_seldom():
        return asyncio.run(_run(settings, data))


async def _run(settings: Settings, data: DataDir) -> int:
    stdin = await stdin_reader()
    order = order_decoder.decode(await stdin.readline())
    allowed = asyncio.Semaphore(1)
    gone = asyncio.create_task(_listen(stdin, allowed))
    work = asyncio.create_task(_work(settings, data, order, allowed))
    await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        work.result()
    for task in (gone, work):
        task.cancel()
    await asyncio.wait({gone, work})
    return 0


async def _listen(stdin: asyncio.StreamReader, allowed: asyncio.Semaphore) -> None:
    """Read the parent's lines until it is gone."""
    while await stdin.read(len(TAKEN)):
        allowed.release()


async def _work(
    settings: Settings, data: DataDir, order: Order, allowed: asyncio.Semaphore
) -> None:
    """Write each message once the parent has taken the one before: that bounds the files."""
    try:
        log = await open_log_for_reading(settings, data)
        try:
            async with contextlib.aclosing(messages(log, order)) as made:
                async for message in made:
                    await allowed.acquire()
                    await asyncio.to_thread(_write, message)
        finally:
            await log.close()
        last = encode(Done())
    except PypistreamError as error:
        last = encode(Failed(type(error).__name__, str(error), error.hint))
    await asyncio.to_thread(_write, _with_length(last))


async def messages(log: Log, order: Order) -> AsyncGenerator[bytes, None]:
    """The batches, topic by topic. Raises what reading the log raises, DiskFull, StorageFailed."""
    due, positions = positions_in(order.due), positions_in(order.positions)
    masked = MaskedLog.of(log)
    reader = CutReader(masked)
    packer = rows_packer(order.config, Path(order.aside))
    try:
        for topic in dict.fromkeys(at.topic for at in due):
            here, there = (
                {at: place for at, place in each.items() if at.topic is topic}
                for each in (positions, due)
            )
            async with contextlib.aclosing(_topic(reader, packer, here, there)) as made:
                async for message in made:
                    yield message
    finally:
        await reader.close()
        await masked.leave()


async def _topic(
    reader: CutReader, packer: Packer, positions: Positions, due: Positions
) -> AsyncGenerator[bytes, None]:
    """The batches of one topic."""
    begun = positions
    while (piece := await reader.piece(due, positions, packer.wanted)) is not None:
        if not packer.add(piece.records):
            yield _message(packer, begun, positions)
            begun = positions
            packer.add(piece.records)
        positions = piece.positions
        del piece  # 10 MB, freed before the next one is read
        if not packer.wanted:
            yield _message(packer, begun, positions)
            begun = positions
    if positions != begun:
        yield _message(packer, begun, positions)


def _message(packer: Packer, before: Positions, after: Positions) -> bytes:
    head = encode(Head(places(before), places(after), packer.count))
    return _with_length(head) + _with_length(packer.packed())


def _with_length(message: bytes) -> bytes:
    return LENGTH.pack(len(message)) + message


def _write(message: bytes) -> None:
    """Write into a pipe. If its reader has gone, our stdin has ended, too, and so do we."""
    rest = memoryview(message)
    with contextlib.suppress(BrokenPipeError):
        while rest:
            rest = rest[os.write(sys.stdout.fileno(), rest) :]
