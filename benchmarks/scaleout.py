"""Several `pypistream process` on one log: what more of them bring, and that they keep the rate.

Wants a broker: PYPISTREAM_TEST_KAFKA=HOST:PORT. Topics of its own, dropped at the end. Everything
is a process of its own, on this machine; upstream is a stand-in that answers in 200 ms, so that a
processor with 8 requests at once makes 40/s at most.

per_second      documents asked for per second with --rate 0, by number of processors; counted by
                the stand-in between the first and the last fifth of a backfill
ratio           of the most to one processor (3.4 or more is the goal)
cpu_share       of the machine's cores, while 4 processors work: near 1 it is what limits them
windows         requests of all kinds per second with --rate 20, each over 10 s by the stand-in's
                own times: least and most, by number of processors and while that changes
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.on_broker import print_figures
from tests.support.kafka_broker import drop_topics, fresh_prefix
from tests.support.kafka_roles import Roles, roles, share_settled
from tests.support.standin import Site

LATENCY_MS = 200
IN_FLIGHT = 8
SECONDS = 50.0  # of one backfill, if nothing but the latency limits it
MIDDLE = (0.2, 0.8)  # of the documents: the part that is measured
COUNTS = (1, 4)
LOOK_SECONDS = 0.25
BACKFILL_SECONDS_MAX = 600.0

RATE = 20.0
RATE_COUNTS = (1, 2, 4)
WINDOW_SECONDS = 10.0
STEADY_WINDOWS = 3  # with a number of processors
MOVING_WINDOWS = 2  # after a change of it
RATE_PROJECTS = int(RATE * WINDOW_SECONDS * (STEADY_WINDOWS + MOVING_WINDOWS + 2)) * 4
FIRST_SECONDS = 5.0  # before the first window: connections are made, permits begin


@contextmanager
def standin(projects: int) -> Iterator[Site]:
    """Upstream, in a process of its own."""
    options = ("--port=0", "--sizes=small", f"--projects={projects}", f"--latency-ms={LATENCY_MS}")
    with subprocess.Popen(
        [sys.executable, "-m", "upstream.standin", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield Site(process.stdout.readline().split()[-1])
        finally:
            process.kill()


@asynccontextmanager
async def on_a_log(bootstrap: str, projects: int) -> AsyncIterator[Roles]:
    """`produce` on a new log, and a stand-in with so many projects."""
    prefix = fresh_prefix()
    with tempfile.TemporaryDirectory() as folder, standin(projects) as site:
        try:
            async with roles(bootstrap, prefix, site, Path(folder)) as kafka:
                # Nothing changes upstream, so it has little to do; its polls count in `windows`.
                kafka.produce("produce", "--poll", "5")
                yield kafka
        finally:
            await drop_topics(bootstrap, prefix)


async def ask_all(kafka: Roles) -> None:
    """A backfill's asks."""
    async with kafka.log() as log:
        await kafka.ask_all(log)


# --- more processors -------------------------------------------------------------------------


class Flow(NamedTuple):
    """Of the measured part."""

    per_second: float
    cpu_share: float


async def flow(bootstrap: str, count: int) -> Flow:
    """One backfill by `count` processors."""
    projects = int(count * IN_FLIGHT / LATENCY_MS * 1000 * SECONDS)
    async with on_a_log(bootstrap, projects) as kafka:
        more = ("--in-flight", str(IN_FLIGHT))
        workers = [kafka.process(f"p{number}", 0, *more) for number in range(count)]
        await share_settled(*workers)
        await ask_all(kafka)
        first, last = (int(projects * part) for part in MIDDLE)
        begun, at_first = await reached(kafka, first)
        psutil.cpu_percent()
        ended, at_last = await reached(kafka, last)
        return Flow((at_last - at_first) / (ended - begun), psutil.cpu_percent() / 100)


async def reached(kafka: Roles, count: int) -> tuple[float, int]:
    """Wait until so many documents were asked for; the moment, and how many they are."""
    end = time.monotonic() + BACKFILL_SECONDS_MAX
    while True:
        answers = kafka.site.control("stats")["requests"].get("json", {})
        asked = sum(answers.values())
        if asked >= count:
            return time.monotonic(), asked
        assert time.monotonic() < end, f"{asked} of {count} documents were asked for"
        await asyncio.sleep(LOOK_SECONDS)


# --- one rate for all ------------------------------------------------------------------------


async def windows(bootstrap: str) -> dict[str, dict[str, float]]:
    """Processors come and go; what all of them asked for in each 10 s."""
    found: dict[str, dict[str, float]] = {}
    async with on_a_log(bootstrap, RATE_PROJECTS) as kafka:
        workers = [kafka.process("p0", RATE)]
        await share_settled(*workers)
        await ask_all(kafka)
        await asyncio.sleep(FIRST_SECONDS)
        before = 0
        for count in RATE_COUNTS:
            while len(workers) < count:
                workers.append(kafka.process(f"p{len(workers)}", RATE))
            if before:
                found[f"{before} to {count}"] = await counted(kafka.site, MOVING_WINDOWS)
                await share_settled(*workers)
            found[str(count)] = await counted(kafka.site, STEADY_WINDOWS)
            before = count
        workers.pop().kill()
        found[f"{before} to {before - 1}, killed"] = await counted(kafka.site, MOVING_WINDOWS)
    return found


async def counted(site: Site, number: int) -> dict[str, float]:
    """The next so many windows, one after the other."""
    begun = time.monotonic()  # the stand-in's clock, too: it runs on this machine
    await asyncio.sleep(number * WINDOW_SECONDS + LATENCY_MS / 1000 + 0.5)
    counts = [0] * number
    for each in site.control(f"requests?since={begun}"):
        index = int((each["at"] - begun) / WINDOW_SECONDS)
        if index < number:
            counts[index] += 1
    rates = [count / WINDOW_SECONDS for count in counts]
    return {"least": min(rates), "most": max(rates)}


async def bench(bootstrap: str) -> dict[str, Any]:
    """All of it."""
    flows = {count: await flow(bootstrap, count) for count in COUNTS}
    return {
        "cores": os.cpu_count(),
        "per_second": {str(count): each.per_second for count, each in flows.items()},
        "ratio": flows[COUNTS[-1]].per_second / flows[COUNTS[0]].per_second,
        "cpu_share": flows[COUNTS[-1]].cpu_share,
        "windows": await windows(bootstrap),
    }


if __name__ == "__main__":
    print_figures(bench, __doc__)
