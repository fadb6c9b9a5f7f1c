"""A reconcile at the size of PyPI: `python -m benchmarks.reconcile [--names N] [--json]`.

The index comes over HTTP from another process, gzip as PyPI sends it; the log is an embedded one.
Measured in a process of its own, from before the index is asked for until the plan is made: seconds
of the clock and of the CPU, and by how much the process grew at its peak.

steady  the log knows all names; 1 in 100 is newer in the index, 1 in 1 000 unknown, as many gone
empty   the log knows none: what a backfill does first

PYPISTREAM_NAMES names a list of project names (the first column of a TSV, zstd or plain); without
it names are made up, as long as real ones.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import http.server
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import psutil
import zstandard

from processors.publication import state_record
from producers.difference import Gone, Scope
from producers.reconcile import Reconciler
from pypistream.memory import collecting_seldom
from schemas import codec
from schemas.errors import InvalidName
from schemas.names import normalize
from schemas.records import Config, Reason, State, Status
from streams.clock import SystemClock
from streams.sqlite_log import SqliteLog
from upstream.client import HttpUpstream
from upstream.settings import ClientSettings
from upstream.source import SerialMap

NAMES = 886_000
SERIAL = 30_000_000
NEWER, UNKNOWN, GONE = 100, 1_000, 1_000  # one in so many
GOALS = {"diff_seconds": 10.0, "added_mib": 300.0}  # at most, in each case
APPEND = 20_000
MIB = 2**20


def names(count: int) -> Iterator[str]:
    """So many valid names, real ones first."""
    seen: set[str] = set()
    for name in chain(_listed(), _made_up(2 * count)):
        if len(seen) == count:
            return
        try:
            known = normalize(name)
        except InvalidName:
            continue
        if known not in seen:
            seen.add(known)
            yield name


def _listed() -> Iterator[str]:
    path = os.environ.get("PYPISTREAM_NAMES")
    if not path:
        return
    with Path(path).open("rb") as file:
        packed = path.endswith(".zst")
        raw = zstandard.ZstdDecompressor().stream_reader(file) if packed else file
        lines = io.TextIOWrapper(raw, "utf-8")
        next(lines)  # its header
        for line in lines:
            yield line.partition("\t")[0].strip()


def _made_up(count: int) -> Iterator[str]:
    chance = Random(1)  # the same names every time
    letters = "abcdefghijklmnopqrstuvwxyz"
    for number in range(count):
        word = "".join(chance.choices(letters, k=chance.randint(3, 14)))
        yield f"{word}-{number}" if number % 3 else f"{word.title()}_{number}"


def index_body(count: int) -> bytes:
    """The index, with what is newer and unknown in it and what is gone left out."""
    lines = []
    for number, name in enumerate(names(count)):
        if number % GONE != 1:
            serial = SERIAL + number + (count if number % NEWER == 0 else 0)
            lines.append({"_last-serial": serial, "name": name})
    meta = {"_last-serial": SERIAL + 2 * count, "api-version": "1.4"}
    return json.dumps({"meta": meta, "projects": lines}, separators=(",", ":")).encode()


async def fill(path: Path, count: int) -> None:
    """A log that knows all names but the unknown ones."""
    log = await SqliteLog.open(path, 1)
    records = []
    for number, name in enumerate(names(count)):
        if number % UNKNOWN == UNKNOWN - 1:
            continue
        serial = SERIAL + number
        state = State(Status.OK, serial, body=serial, name=name, etag=f'"{serial:032x}"',
                      hash=f"{serial:032x}")  # fmt: skip
        records.append(state_record(normalize(name), codec.encode(state), 1_700_000_000_000))
        if len(records) == APPEND:
            await log.append(records)
            records = []
    await log.append(records)
    await log.close()


def serve(body: Path) -> None:
    """Answer every request with the index; the port is the first line on stdout."""
    packed = body.read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/vnd.pypi.simple.v1+json")
            self.send_header("content-encoding", "gzip")
            self.send_header("content-length", str(len(packed)))
            self.end_headers()
            self.wfile.write(packed)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def _peak_bytes() -> int:
    """Of this program alone: getrusage's peak has in it what the process was before its exec."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM: this measurement needs Linux")


async def measure(path: Path, port: int) -> dict[str, Any]:
    """One reconcile's plan, in this process."""
    log = await SqliteLog.open(path, 1)
    upstream = HttpUpstream(ClientSettings(base_url=f"http://127.0.0.1:{port}", contact="", rate=0))
    reconciler = Reconciler(log, SystemClock(), Config("bench", 1, 1))
    before = psutil.Process().memory_info().rss
    begun, cpu = time.monotonic(), time.process_time()
    found = await upstream.serial_map()
    assert isinstance(found, SerialMap)
    fetched = time.monotonic()
    with collecting_seldom():  # as the command does
        plans = await reconciler.plans(found, Scope(Reason.RECONCILE))
    ended, cpu_ended = time.monotonic(), time.process_time()
    peak = _peak_bytes()
    await upstream.close()
    await log.close()
    gone = sum(isinstance(each, Gone) for plan in plans for each in plan.wanted)
    return {
        "index_seconds": round(fetched - begun, 2),
        "diff_seconds": round(ended - fetched, 2),
        "cpu_seconds": round(cpu_ended - cpu, 2),
        "added_mib": round((peak - before) / MIB, 1),
        "names": sum(plan.names for plan in plans),
        "asks": sum(len(plan.wanted) for plan in plans),
        "gone": gone,
    }


def bench(count: int) -> dict[str, Any]:
    """Both cases, each in a fresh process."""
    results: dict[str, Any] = {"real_names": bool(os.environ.get("PYPISTREAM_NAMES"))}
    with tempfile.TemporaryDirectory() as folder:
        full, empty, body = (Path(folder) / name for name in ("full", "empty", "index.gz"))
        body.write_bytes(gzip.compress(index_body(count), 6))
        asyncio.run(fill(full, count))
        asyncio.run(fill(empty, 0))
        own = (sys.executable, "-m", "benchmarks.reconcile")
        with subprocess.Popen(
            [*own, "--serve", str(body)], stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                port = server.stdout.readline().strip() if server.stdout else ""
                for name, path in (("steady", full), ("empty", empty)):
                    done = subprocess.run(
                        [*own, "--measure", str(path), port],
                        stdout=subprocess.PIPE, text=True, check=True,
                    )  # fmt: skip
                    results[name] = json.loads(done.stdout)
            finally:
                server.kill()
    expected = -(-count // NEWER) + count // UNKNOWN + -(-(count - 1) // GONE)
    assert abs(results["steady"]["asks"] - expected) <= 1, (results, expected)
    assert results["empty"]["asks"] == results["empty"]["names"]
    return results


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 if a goal is missed, but for --json, which only tells."""
    parser = argparse.ArgumentParser(prog="benchmarks.reconcile", description=__doc__)
    parser.add_argument("--names", type=int, default=NAMES)
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve:
        serve(Path(given.serve))
    elif given.measure:
        print(json.dumps(asyncio.run(measure(Path(given.measure[0]), int(given.measure[1])))))
    else:
        result = bench(given.names)
        print(json.dumps(result, indent=None if given.json else 1))
        missed = [
            f"{case}: {name} {result[case][name]} > {goal}"
            for case in ("steady", "empty")
            for name, goal in GOALS.items()
            if result[case][name] > goal
        ]
        for line in missed:
            print(f"missed: {line}", file=sys.stderr)
        return 1 if missed and not given.json else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
