"""Runs `sinks.duckdb.console`: starts it, bounds its time and output, and kills it.

DuckDB is not imported here, only in the query's process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from schemas.errors import QueryFailed

SQL_CHARACTERS_MAX = 16 * 1024  # a URL has 4 KiB; other callers might have more
ROWS_MAX = 1_000  # what a page can show; for more there is the DuckDB file
BYTES_MAX = 1024 * 1024  # of the answer
JSON, CSV, PARQUET = FORMATS = ("json", "csv", "parquet")
READ_BYTES = 64 * 1024
NO_PARQUET = 3  # exit code; a part may have been written before
TOLD_BYTES_MAX = 8 * 1024  # for the line before the rows, and the end of them
MODULE = "sinks.duckdb.console"
# The query gets nothing of ours: no secret from the environment, no home directory.
KEPT = ("PYTHONPATH", "LD_LIBRARY_PATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
NO_HOME = "/nonexistent"


class Bounds(msgspec.Struct, frozen=True):
    """The limits of one query. Wall-clock seconds count from the start of its process."""

    wall_seconds: float = 5.0
    cpu_seconds: int = 3
    memory_bytes: int = 1024 * 1024 * 1024


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first line that the process writes. With an `error` nothing follows.

    `truncated`: by `rows` or by `bytes`, "" = all rows are there.
    """

    error: str = ""
    hint: str = ""
    truncated: str = ""


class Result(NamedTuple):
    """Rows in one of FORMATS; of JSON it is an object with `columns` and `rows`, left open."""

    body: bytes
    truncated: str


async def ask(
    snapshot: Path, scratch: Path, sql: str, format_name: str, bounds: Bounds | None = None
) -> Result:
    """Run one query. Its process has ended when this returns or raises.

    `scratch`: a directory of ours on the snapshot's file system. Raises QueryFailed.
    """
    bounds = bounds or Bounds()
    # A pipe, which DuckDB can open by name; an event loop might use a socket.
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as source:
        try:
            process = await _started(snapshot, scratch, format_name, bounds, writing)
        finally:
            os.close(writing)
        try:
            async with asyncio.timeout(bounds.wall_seconds):
                data = await _exchanged(process, source, sql)
                code = await process.wait()
        except TimeoutError:
            raise QueryFailed(
                f"stopped after {bounds.wall_seconds:g} seconds", hint=_NARROWER
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if code:
        raise QueryFailed(_why(code, bounds), hint=_NARROWER)
    line, _, body = data.partition(b"\n")
    told = msgspec.json.decode(line, type=Told)
    if told.error:
        raise QueryFailed(told.error, hint=told.hint)
    return Result(body, told.truncated)


async def _started(
    snapshot: Path, scratch: Path, format_name: str, bounds: Bounds, writing: int
) -> asyncio.subprocess.Process:
    settings = msgspec.json.encode(bounds).decode()
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", MODULE, str(snapshot), str(scratch), format_name, settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=writing,
        stderr=asyncio.subprocess.DEVNULL,
        env={"HOME": NO_HOME, **{name: os.environ[name] for name in KEPT if name in os.environ}},
        start_new_session=True,
    )


_NARROWER = "ask for less, or download the dump (/dumps/) and ask that"


async def _exchanged(process: asyncio.subprocess.Process, source: IO[bytes], sql: str) -> bytes:
    """Send the SQL, read the output. Raises QueryFailed if there is too much of it."""
    assert process.stdin is not None
    try:
        process.stdin.write(sql.encode("utf-8", "replace"))
        await process.stdin.drain()
    except ConnectionError:
        pass  # it died before it had read; its exit code says why
    finally:
        process.stdin.close()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_read_pipe(lambda: protocol, source)
    data = bytearray()
    try:
        while piece := await reader.read(READ_BYTES):
            data += piece
            if len(data) > BYTES_MAX + TOLD_BYTES_MAX:
                raise QueryFailed(f"the answer has more than {BYTES_MAX} bytes", hint=_NARROWER)
    finally:
        transport.close()
    return bytes(data)


def _why(code: int, bounds: Bounds) -> str:
    """The meaning of an exit code; a negative one is a signal."""
    if code == NO_PARQUET:
        return "these rows cannot be written as Parquet"
    if code == -signal.SIGXCPU:
        return f"stopped after {bounds.cpu_seconds} seconds of CPU"
    return f"it needs more than the {bounds.memory_bytes >> 20} MiB of memory that it may have"
