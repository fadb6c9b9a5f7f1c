"""The stream of changes with many clients: `python -m benchmarks.sse [--clients N] [--json]`.

`pypistream serve` answers from an embedded log that this process writes, a row per transaction.
The clients are one process with a socket each; it checks that each client gets every event, in
order. The delay is from just before the commit until a client has the whole event, all on one
clock: gathering (up to 0.1 s), waking, writing, and the clients' own work are in it.

resume  one client reads a log of many rows by Last-Event-ID, while the server is killed and
        started again; it counts gaps and repeats

Exit 1 if a goal is missed. `make bench-sse` is all of it, `make resume` the second part.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import uvloop

from producers.rows import entry_record
from schemas.records import Config, Head
from schemas.topics import Topic
from streams.log import NextOffsets, Outgoing, TopicPartition, Writer
from streams.progress import CONFIG_KEY, HEAD_KEY, progress_record
from streams.sqlite_log import SqliteLog
from upstream.source import JournalRow

CLIENTS, EVENTS_PER_SECOND, SECONDS = 2_000, 20, 300
RESUMED, KILLS = 1_000_000, 3
DELAY_MS_MAX, SERVER_MIB_MAX = 200, 256  # in the median; of the service, resident
QUIET_SECONDS_MAX = 60.0  # without a byte, or an answer at all: it hangs
CONNECTING = 50  # at a time
PAGE = 1_000
MIB = 2**20
_EVENT = re.compile(rb'\nid: (\d+)\ndata: [^\n]*"action":"(\d+)[^\n]*\n(?=\n)')

_ANY_EVENT = re.compile(rb"\nid: (\d+)\ndata: [^\n]*\n(?=\n)")


class Producer:
    """Writes rows as `produce` does."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log
        self._writer: Writer | None = None

    async def begin(self) -> None:
        """Found the log."""
        self._writer = await self._log.writer("produce")
        config = Config("0" * 32, 1, 1)
        await self._commit([progress_record(1, CONFIG_KEY, config, 0)], 0)

    async def rows(self, first: int, last: int, action: str = "") -> None:
        """All of these serials, in one transaction."""
        now = int(time.time())
        rows = [
            JournalRow(f"project-{serial % 5_000}", "1.0", now, action, serial)
            for serial in range(first, last + 1)
        ]
        await self._commit([entry_record(row, 0) for row in rows], last)

    async def _commit(self, records: list[Outgoing], serial: int) -> None:
        def closing(ends: NextOffsets) -> list[Outgoing]:
            head = Head(serial, 0, 0, (ends[TopicPartition(Topic.CHANGELOG, 0)],))
            return [progress_record(1, HEAD_KEY, head, 0)]

        assert self._writer is not None
        await self._writer.commit(records, closing)


class Listener(asyncio.Protocol):
    """A client. The order and the number of its events are checked as they come."""

    def __init__(self, delays: array[float], wanted: int) -> None:
        self.last = 0
        self.count = 0
        self.ordered = True
        self.lost: Exception | None = None
        self.begun = asyncio.get_running_loop().create_future()
        self.done = asyncio.get_running_loop().create_future()
        self._delays = delays
        self._wanted = wanted
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        request = b"GET /v1/stream/changes HTTP/1.1\r\nHost: localhost\r\n\r\n"
        cast("asyncio.Transport", transport).write(request)

    def data_received(self, data: bytes) -> None:
        """Whole events of what has come."""
        if not self.begun.done() and b"retry: " in data:
            self.begun.set_result(None)
        data = self._rest + data
        end = 0
        now = time.time_ns()
        for match in _EVENT.finditer(data):
            end = match.end()
            serial = int(match[1])
            self.ordered &= serial == self.last + 1
            self.last = serial
            self.count += 1
            self._delays.append((now - int(match[2])) / 1e6)
        self._rest = data[end:]
        if self.last >= self._wanted and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        self.lost = exc or ConnectionError("the server ended it")
        for future in (self.begun, self.done):
            if not future.done():
                future.set_result(None)


async def listen(port: int, clients: int, wanted: int) -> dict[str, Any]:
    """All clients; says a line when all are connected, and gives the result at the end."""
    loop = asyncio.get_running_loop()
    delays = array("d")
    listeners: list[Listener] = []
    for start in range(0, clients, CONNECTING):
        made = [Listener(delays, wanted) for _ in range(min(CONNECTING, clients - start))]
        for each in made:
            await loop.create_connection(lambda each=each: each, "127.0.0.1", port)  # type: ignore[misc]
        await asyncio.gather(*(each.begun for each in made))
        listeners += made
    print("connected", flush=True)
    await asyncio.gather(*(each.done for each in listeners))
    found = sorted(delays)
    whole = [each for each in listeners if each.count == wanted and each.ordered]
    return {
        "clients_with_every_event_in_order": len(whole),
        "clients_lost": sum(each.lost is not None for each in listeners),
        "events_received": sum(each.count for each in listeners),
        "delay_ms_median": round(found[len(found) // 2], 1),
        "delay_ms_p99": round(found[len(found) * 99 // 100], 1),
        "delay_ms_max": round(found[-1], 1),
        "client_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


@contextlib.contextmanager
def served(data: Path, port: int) -> Iterator[psutil.Process]:
    """`pypistream serve`, once it answers."""
    command = (sys.executable, "-m", "pypistream", "serve", "--data", str(data))
    with subprocess.Popen(
        [*command, "--http", f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL
    ) as process:
        try:
            end = time.monotonic() + QUIET_SECONDS_MAX
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
                    break
                assert process.poll() is None, "it ended"
                assert time.monotonic() < end, "it does not answer"
                time.sleep(0.05)
            yield psutil.Process(process.pid)
        finally:
            process.kill()


def free_port() -> int:
    """A port nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def fan_out(folder: Path, clients: int, rate: int, seconds: int) -> dict[str, Any]:
    """Rows at an even rate, to all clients."""
    data, port, events = folder / "fan-out", free_port(), rate * seconds
    data.mkdir()
    log = await SqliteLog.open(data / "log.sqlite", 1)
    producer = Producer(log)
    await producer.begin()
    with served(data, port) as server:
        listening = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.sse", "--listen", str(port), str(clients),
            str(events), stdout=subprocess.PIPE,
        )  # fmt: skip
        assert listening.stdout is not None
        async with asyncio.timeout(QUIET_SECONDS_MAX):
            assert await listening.stdout.readline() == b"connected\n"
        idle, cpu, begun = server.memory_info().rss, sum(server.cpu_times()[:2]), time.monotonic()
        rss = idle
        for serial in range(1, events + 1):
            await asyncio.sleep(max(0.0, begun + serial / rate - time.monotonic()))
            await producer.rows(serial, serial, str(time.time_ns()))
            if serial % rate == 0:
                rss = max(rss, server.memory_info().rss)
        took = time.monotonic() - begun
        used = sum(server.cpu_times()[:2]) - cpu
        async with asyncio.timeout(QUIET_SECONDS_MAX):
            found = json.loads(await listening.stdout.read())
            await listening.wait()
    await log.close()
    return {
        "clients": clients,
        "events_per_second": round(events / took, 1),
        "seconds": round(took, 1),
        **found,
        "server_rss_mib_idle": round(idle / MIB),
        "server_rss_mib_max": round(rss / MIB),
        "server_cpu_share": round(used / took, 2),
    }


async def read_to(port: int, last: int, goal: int) -> tuple[int, int]:
    """Read on after `last`, at least to `goal`: the last serial, and how many were not due.

    The connection is left as it is, with what is on its way: whoever is killed finishes nothing.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=MIB)
    lines = ("GET /v1/stream/changes?since=0 HTTP/1.1", "Host: localhost",
             f"Last-Event-ID: {last}", "", "")  # fmt: skip
    writer.write("\r\n".join(lines).encode())
    odd, rest = 0, b""
    while last < goal:
        async with asyncio.timeout(QUIET_SECONDS_MAX):
            piece = await reader.read(MIB)
        assert piece, f"the stream ended at {last}"
        data, end = rest + piece, 0
        for match in _ANY_EVENT.finditer(data):
            odd += int(match[1]) != last + 1
            last, end = int(match[1]), match.end()
        rest = data[end:]
    return last, odd


async def resume(folder: Path, rows: int) -> dict[str, Any]:
    """One client that is far behind, over a server that is killed."""
    data, port = folder / "resume", free_port()
    data.mkdir()
    log = await SqliteLog.open(data / "log.sqlite", 1)
    producer = Producer(log)
    await producer.begin()
    for first in range(1, rows + 1, PAGE):
        await producer.rows(first, min(first + PAGE - 1, rows))
    await log.close()
    last, gaps, reading, rss = 0, 0, 0.0, 0
    for life in range(KILLS + 1):
        goal = rows * (life + 1) // (KILLS + 1)
        with served(data, port) as server:
            begun = time.monotonic()
            last, odd = await read_to(port, last, goal)
            gaps += odd
            reading += time.monotonic() - begun
            rss = max(rss, server.memory_info().rss)
            server.kill()
    return {
        "rows": rows,
        "kills": KILLS,
        "gaps_and_repeats": gaps,
        "events_per_second": round(rows / reading),
        "server_rss_mib_max": round(rss / MIB),
    }


def missed(results: dict[str, Any]) -> list[str]:
    """Goals that were not reached, of what was measured."""
    said = []
    if fan_out := results.get("fan_out"):
        whole = fan_out["clients_with_every_event_in_order"]
        if whole < fan_out["clients"]:
            said.append(f"only {whole} clients had every event in order")
        if fan_out["delay_ms_median"] >= DELAY_MS_MAX:
            said.append(f"delay_ms_median: the goal is {DELAY_MS_MAX}")
        if fan_out["server_rss_mib_max"] >= SERVER_MIB_MAX:
            said.append(f"server_rss_mib_max: the goal is {SERVER_MIB_MAX}")
    if (resumed := results.get("resume")) and resumed["gaps_and_repeats"]:
        said.append("gaps or repeats")
    return said


def main(arguments: list[str] | None = None) -> int:
    """Measure, then print the result, as one JSON object with --json; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks.sse", description=__doc__)
    parser.add_argument("--clients", type=int, default=CLIENTS, help="0 = no fan-out")
    parser.add_argument("--rate", type=int, default=EVENTS_PER_SECOND)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--resumed", type=int, default=RESUMED, help="rows, 0 = not")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    parser.add_argument("--listen", nargs=3, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    results: dict[str, Any] = {}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if given.listen:
            print(json.dumps(runner.run(listen(*given.listen))))
            return 0
        with tempfile.TemporaryDirectory() as folder:
            if given.clients:
                work = fan_out(Path(folder), given.clients, given.rate, given.seconds)
                results["fan_out"] = runner.run(work)
            if given.resumed:
                results["resume"] = runner.run(resume(Path(folder), given.resumed))
    print(json.dumps(results, indent=None if given.json else 1))
    lacks = missed(results)
    for text in lacks:
        print(text, file=sys.stderr)
    return 0 if given.json or not lacks else 1


if __name__ == "__main__":
    sys.exit(main())
