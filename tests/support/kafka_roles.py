"""Roles as processes on a real broker: started, killed, stopped, and what they did."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from producers.reconcile import Reconciler
from schemas import codec
from schemas.records import Config, Reason, State
from schemas.topics import Topic
from streams.clock import SystemClock
from streams.kafka_log import KafkaLog
from streams.kafka_settings import KafkaSettings
from streams.log import Log, Record, TopicPartition
from streams.progress import Progress, read_progress
from tests.support.history import assert_history
from tests.support.oracle import oracle_trim
from tests.support.process import Program, started
from tests.support.published import Truth, truths
from tests.support.standin import Site
from upstream.client import HttpUpstream
from upstream.settings import ClientSettings
from upstream.source import SerialMap

QUICK = ("--settle", "0.3")
LOOK_SECONDS = 0.1
START_SECONDS_MAX = 40.0  # topics made, group joined, on a busy machine
_ASSIGNED = re.compile(r'"event":"assigned","partitions":"\[([0-9, ]*)\]"')
_ASSIGNED_AT = re.compile(r'^\{"time":"([^"]+)"[^\n]*"event":"assigned"', re.MULTILINE)
WAITING = {"232", "281", "22"}  # epoll_wait and epoll_pwait of x86-64, epoll_pwait of arm64
STOP_TRIES_MAX = 1_000
EXPLAINED = ("stale", "missing")  # no marker proves them; see tests/e2e/test_truth.py


@dataclass
class Roles:
    """Processes on one prefix, each known upstream by its name."""

    bootstrap: str
    prefix: str
    site: Site
    cwd: Path
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    started: int = 0

    @property
    def kafka(self) -> tuple[str, ...]:
        return ("--kafka", self.bootstrap, "--kafka-prefix", self.prefix)

    def start(self, role: str, name: str, *more: str) -> Program:
        """Start one; it is killed at the end at the latest."""
        self.started += 1
        arguments = (*self.kafka, "--upstream", self.site.url, "--contact", f"{name}@site.test")
        cwd = self.cwd / f"{name}-{self.started}"
        cwd.mkdir()
        return self.stack.enter_context(started(role, *arguments, *more, cwd=cwd))

    def produce(self, name: str = "produce", *more: str) -> Program:
        return self.start("produce", name, "--poll", "1", *more)

    def process(self, name: str, rate: float = 0, *more: str) -> Program:
        return self.start("process", name, "--rate", str(rate), *QUICK, *more)

    def requests(self, name: str, since: float) -> list[Mapping[str, Any]]:
        """What the process of that name asked for; `since` and `at` are monotonic seconds."""
        asked = self.site.control(f"requests?since={since}")
        return [each for each in asked if f"{name}@" in each["user_agent"]]

    @asynccontextmanager
    async def log(self) -> AsyncIterator[KafkaLog]:
        log = await KafkaLog.open(KafkaSettings(self.bootstrap, self.prefix))
        try:
            yield log
        finally:
            await log.close()

    async def assert_history(self, log: KafkaLog) -> None:
        """Nothing lost, doubled or gone back, from the first record to the last."""
        await assert_history(log, self.site.control("journal"), dense=False)

    async def config(self, log: KafkaLog) -> Config:
        """Written by the first `produce`."""
        async with asyncio.timeout(START_SECONDS_MAX):
            while (config := (await read_progress(log)).config) is None:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_SECONDS)
        return config

    async def ask_all(self, log: KafkaLog) -> None:
        """As a backfill does: an ask for every name of the index."""
        config = await self.config(log)
        upstream = HttpUpstream(ClientSettings(self.site.url, contact="t@site.test", rate=0))
        try:
            found = await upstream.serial_map()
            assert isinstance(found, SerialMap)
            await Reconciler(log, SystemClock(), config).run(found, Reason.BACKFILL)
        finally:
            await upstream.close()


@asynccontextmanager
async def roles(bootstrap: str, prefix: str, site: Site, cwd: Path) -> AsyncIterator[Roles]:
    """All that is left at the end is asked to stop, and killed."""
    with contextlib.ExitStack() as stack:
        yield Roles(bootstrap, prefix, site, cwd, stack)


def assigned(program: Program) -> set[int]:
    """The partitions that it was given last."""
    found = _ASSIGNED.findall(program.text())
    return {int(number) for number in found[-1].split(",") if number.strip()} if found else set()


async def until(
    program: Program, wanted: Callable[[], object], seconds_max: float, what: str
) -> float:
    """Wait for it in the loop, so that others go on; how long it took."""
    begun = time.monotonic()
    while not wanted():
        assert program.alive, f"ended with {program.process.returncode}:\n{program.text()}"
        assert time.monotonic() - begun < seconds_max, f"no {what}:\n{program.text()}"
        await asyncio.sleep(LOOK_SECONDS)
    return time.monotonic() - begun


async def share_settled(*programs: Program, total: int = 12, seconds_max: float = 40.0) -> None:
    """All partitions are with these, each with some, none with two."""

    def done() -> bool:
        parts = [assigned(program) for program in programs]
        return all(parts) and sum(map(len, parts)) == len(set().union(*parts)) == total

    await until(programs[0], done, seconds_max, f"{total} partitions with {len(programs)}")


def assigned_at(program: Program, said: int) -> float | None:
    """When it was given something after it had `said` so much, monotonic; None = not yet."""
    found = _ASSIGNED_AT.search(program.text()[said:])
    if found is None:
        return None
    return time.monotonic() - (time.time() - datetime.fromisoformat(found[1]).timestamp())


def pause_waiting(program: Program) -> None:
    """SIGSTOP while its loop waits for events, and so not between a request's check and its bytes.

    Whoever is stopped there sends that one request as soon as it goes on: no check can be so late
    that nothing comes after it.
    """
    for _ in range(STOP_TRIES_MAX):
        program.process.send_signal(signal.SIGSTOP)
        if _system_call(program.process.pid) in WAITING:
            return
        go_on(program)
        time.sleep(0.001)
    raise AssertionError(f"never met waiting in {STOP_TRIES_MAX} tries")


def _system_call(pid: int) -> str:
    """The number of the one that a process was stopped in; "-1": in none."""
    proc = Path("/proc") / str(pid)
    while proc.joinpath("stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.001)  # the signal is on its way
    return proc.joinpath("syscall").read_text().split()[0]


def go_on(program: Program) -> None:
    program.process.send_signal(signal.SIGCONT)


async def table(log: Log, topic: Topic) -> dict[str, Record]:
    """All partitions, folded."""
    found: dict[str, Record] = {}
    for partition in range(log.partitions):
        found.update((await log.table(TopicPartition(topic, partition))).rows)
    return found


async def all_true(log: Log, site: Site, seconds_max: float) -> Progress:
    """Wait until everything is decided, then hold it against what is true upstream."""
    begun = time.monotonic()
    wrong = ["nothing was looked at"]
    while time.monotonic() - begun < seconds_max:
        truth = truths(site.ask("/_control/truth").body)
        wrong = differences(truth, await table(log, Topic.METADATA), await table(log, Topic.STATE))
        progress = await read_progress(log)
        head = progress.head
        behind = [cut is None or head is None or cut.serial < head.serial for cut in progress.cuts]
        if not wrong and not any(behind):
            return progress
        await asyncio.sleep(1)
    raise AssertionError("\n".join([f"{len(wrong)} wrong", *wrong[:20]]))


def differences(
    truth: Mapping[str, Truth], metadata: Mapping[str, Record], states: Mapping[str, Record]
) -> list[str]:
    """Names that are not published as they are; what `EXPLAINED` names has its reason."""
    wrong = [f"{name}: published, and unknown upstream" for name in metadata.keys() - truth.keys()]
    for name, true in truth.items():
        row, raw = metadata.get(name), states.get(name)
        state = codec.decode(raw.value, State) if raw is not None and raw.value else None
        if state is not None and state.exception and state.reason.startswith(EXPLAINED):
            continue
        if true.document is None:
            wrong += [f"{name}: published, and not there; {state}"] if row else []
        elif row is None or row.value is None:
            wrong.append(f"{name}: not published; {state}")
        elif json.loads(row.value) != oracle_trim(true.document):
            serial = row.header("serial")
            why = f"{state.status.value} {state.reason!r} after {state.attempts}" if state else ""
            wrong.append(f"{name}: serial {serial}, true is {true.body_serial}: {why}; {state}")
    return wrong
