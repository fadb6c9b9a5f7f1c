"""The processes that help a `rebuild`: see `sinks.ahead.Elsewhere`.

The rows that they make are in files; threads read the messages about these.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pypistream.children.rows_said import (
    LENGTH,
    TAKEN,
    Done,
    Failed,
    Order,
    places,
    positions_in,
    said_decoder,
)
from pypistream.children.sinks_child import child_command, start_child
from pypistream.data_dir import DataDir
from pypistream.settings import Settings
from schemas.codec import encode
from schemas.records import Config
from schemas.topics import Topic
from sinks.ahead import HelpersGone, Made
from sinks.durable import storage
from sinks.sink import Positions

# Rows from one topic are never changed by records of another. Each share is half of the work.
SHARES = ((Topic.RELEASES,), (Topic.METADATA, Topic.STATE, Topic.CHANGELOG))


class Helper(NamedTuple):
    """A helper process and its messages."""

    process: asyncio.subprocess.Process
    source: BinaryIO


class RowsChildren:
    """See `sinks.ahead.Elsewhere`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._aside = DataDir(settings.data).absolute().rows
        self._helpers: list[Helper] = []
        self._reading: dict[asyncio.Task[Made | None], Helper] = {}

    async def begin(self, config: Config, due: Positions, positions: Positions) -> None:
        """Start one process for each of SHARES that has something to do."""
        await self.end()
        await self.forget()
        for topics in SHARES:
            mine = [at for at in due if at.topic in topics and positions[at] < due[at]]
            if mine:
                here, there = ({at: each[at] for at in mine} for each in (positions, due))
                aside = self._aside / mine[0].topic.value
                await self._begin(Order(config, places(here), places(there), str(aside)))

    async def following(self) -> Made | None:
        """The batch that is ready first."""
        while self._reading:
            await asyncio.wait(self._reading, return_when=asyncio.FIRST_COMPLETED)
            first = next(task for task in self._reading if task.done())
            helper = self._reading.pop(first)
            made = first.result()
            if made is not None:
                assert helper.process.stdin is not None
                helper.process.stdin.write(TAKEN)  # it may have ended: its messages say so
                self._read_on(helper)
                return made
        await self.end()
        return None

    async def end(self) -> None:
        """Kill the helpers, which also ends the threads that read.

        They only read the log: nothing is lost.
        """
        helpers, self._helpers = self._helpers, []
        reading, self._reading = self._reading, {}
        for helper in helpers:
            with contextlib.suppress(ProcessLookupError):
                helper.process.kill()
        await asyncio.gather(*reading, return_exceptions=True)
        for helper in helpers:
            await helper.process.wait()
            helper.source.close()

    async def forget(self) -> None:
        """Remove their files, also those left over from an earlier run."""
        await asyncio.to_thread(shutil.rmtree, self._aside, ignore_errors=True)

    async def _begin(self, order: Order) -> None:
        with storage(self._aside):
            await asyncio.to_thread(Path(order.aside).mkdir, parents=True)
        try:
            helper = await start(self._settings)
            self._helpers.append(helper)
            assert helper.process.stdin is not None
            helper.process.stdin.write(encode(order) + b"\n")
            await helper.process.stdin.drain()
        except OSError as error:
            raise HelpersGone(f"a process that makes rows did not start: {error}") from error
        self._read_on(helper)

    def _read_on(self, helper: Helper) -> None:
        work = asyncio.to_thread(read_made, helper.source)
        self._reading[asyncio.create_task(work)] = helper


async def start(settings: Settings) -> Helper:
    """Start a helper, which then waits for its `Order`. Raises OSError."""
    ours, its = os.pipe()
    source = os.fdopen(ours, "rb")
    try:
        process = await start_child(child_command("rows", settings), stdout=its)
    except BaseException:
        source.close()
        raise
    finally:
        os.close(its)
    return Helper(process, source)


def read_made(source: BinaryIO) -> Made | None:
    """The next batch, None after the last. Raises HelpersGone, or the error the helper reports."""
    said = said_decoder.decode(_message(source))
    if isinstance(said, Failed):
        raise said.raised()
    if isinstance(said, Done):
        return None
    before, after = positions_in(said.before), positions_in(said.after)
    return Made(before, after, said.count, _message(source))


def _message(source: BinaryIO) -> bytes:
    (length,) = LENGTH.unpack(_exactly(source, LENGTH.size))
    return _exactly(source, length)


def _exactly(source: BinaryIO, length: int) -> bytes:
    data = source.read(length)
    if len(data) < length:
        raise HelpersGone("a process that made rows ended before its work did")
    return data
