"""The processes that help a `rebuild`: see `sinks.ahead.Elsewhere`."""

from __future__ import annotations

import asyncio
import contextlib

from pypistream.children.rows_said import (
    LENGTH,
    Done,
    Failed,
    Order,
    places,
    positions_in,
    said_decoder,
)
from pypistream.children.sinks_child import child_command, start_child
from pypistream.settings import Settings
from schemas.codec import encode
from schemas.records import Config
from schemas.topics import Topic
from sinks.ahead import HelpersGone, Made
from sinks.sink import Positions

# What lies in one topic is never changed by another one's records. Half of the work each.
SHARES = ((Topic.RELEASES,), (Topic.METADATA, Topic.STATE, Topic.CHANGELOG))
PIPE_BYTES = 1024 * 1024  # read at once; a batch has 10 MB


class RowsChildren:
    """See `sinks.ahead.Elsewhere`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._processes: list[asyncio.subprocess.Process] = []
        self._reading: list[asyncio.Task[tuple[asyncio.StreamReader, Made | None]]] = []

    async def begin(self, config: Config, due: Positions, positions: Positions) -> None:
        """One process for each of SHARES that has something to do."""
        await self.end()
        for topics in SHARES:
            mine = [at for at in due if at.topic in topics and positions[at] < due[at]]
            if mine:
                here, there = ({at: each[at] for at in mine} for each in (positions, due))
                await self._begin(Order(config, places(here), places(there)))

    async def following(self) -> Made | None:
        """What is ready first."""
        while self._reading:
            await asyncio.wait(self._reading, return_when=asyncio.FIRST_COMPLETED)
            first = next(task for task in self._reading if task.done())
            self._reading.remove(first)
            source, made = first.result()
            if made is not None:
                self._read_on(source)
                return made
        await self.end()
        return None

    async def end(self) -> None:
        """They only read: nothing is lost by a kill."""
        processes, self._processes = self._processes, []
        reading, self._reading = self._reading, []
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        for process in processes:
            await process.wait()

    async def _begin(self, order: Order) -> None:
        try:
            process = await start(self._settings)
            self._processes.append(process)
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(encode(order) + b"\n")
            await process.stdin.drain()
        except OSError as error:
            raise HelpersGone(f"a process that makes rows did not start: {error}") from error
        self._read_on(process.stdout)

    def _read_on(self, source: asyncio.StreamReader) -> None:
        self._reading.append(asyncio.create_task(read_made(source)))


async def start(settings: Settings) -> asyncio.subprocess.Process:
    """One that waits for its `Order`."""
    return await start_child(child_command("rows", settings), heard_bytes=PIPE_BYTES)


async def read_made(source: asyncio.StreamReader) -> tuple[asyncio.StreamReader, Made | None]:
    """The next batch, None after the last. Raises HelpersGone, and what the process failed by."""
    try:
        said = said_decoder.decode(await _message(source))
        if isinstance(said, Failed):
            raise said.raised()
        if isinstance(said, Done):
            return source, None
        data = await _message(source)
    except asyncio.IncompleteReadError as error:
        raise HelpersGone("a process that made rows ended before its work did") from error
    return source, Made(positions_in(said.before), positions_in(said.after), said.count, data)


async def _message(source: asyncio.StreamReader) -> bytes:
    (length,) = LENGTH.unpack(await source.readexactly(LENGTH.size))
    return await source.readexactly(length)
