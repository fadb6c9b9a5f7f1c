"""All at once: a backfill under every fault with live changes, killed, its journal taken away.

`make whole-truth` is the long form: PYPISTREAM_TEST_WHOLE=20000. At its end `verify` says
100 % less exactly what the stand-in says cannot be right.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from processors.decide import Patience
from producers import changelog
from pypistream.run import producing
from pypistream.verify.report import VerifyReport
from schemas.coverage import coverage
from schemas.records import EventSource, Source, Status
from tests.support.every_fault import APART, Changing, Everything
from tests.support.fault_events import last_serial
from tests.support.in_process import InProcess, in_process
from tests.support.process import command
from tests.support.published import (
    assert_none,
    dump_differences,
    query,
    read_dump,
    truths,
    view_differences,
)
from tests.support.standin import standin_process
from tests.support.verify_world import World, found
from tests.support.where import Where
from upstream import answers, xmlrpc
from upstream.standin.faults import KINDS

PROJECTS = int(os.environ.get("PYPISTREAM_TEST_WHOLE", "300"))
LONG = PROJECTS > 2_000


class Form(NamedTuple):
    """How much of everything; `share` of each fault, there are sixty for documents alone."""

    share: float
    changes_per_second: float
    for_good: int  # dead as many as stuck
    schedule: tuple[float, ...]
    proof_seconds: float


# As many attempts as in earnest, and as many of them after the proof: two spoilt ones kill nothing.
LITTLE = Form(0.003, 8, 3, (0.2, 0.4, 0.8, 1.6, 3, 5, 6.5, 8, 10, 12), 4.0)
MUCH = Form(0.003, 20, 12, (0.3, 0.6, 1.2, 2.5, 5, 10, 20, 30, 45, 60), 15.0)
FORM = MUCH if LONG else LITTLE
PATIENCE = Patience(
    schedule_seconds=FORM.schedule,
    missing_proof_seconds=FORM.proof_seconds,  # half a dozen attempts, as in five real minutes
    arrival_grace_seconds=1.0,
    absent_again_seconds=1.0,
)
REFUSED_SECONDS = 1.0  # in place of 30: there are a dozen such refusals
GONE_POLLS, INDEX_POLLS = 4, 2  # in place of 30 and 6
STEP_SECONDS_MAX = 600.0 if LONG else 300.0  # on a busy machine; alone it is a tenth


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LIMITED_SECONDS", REFUSED_SECONDS)
    monkeypatch.setattr(answers, "REFUSED_SECONDS", REFUSED_SECONDS)
    monkeypatch.setattr(xmlrpc, "LIMITED_SECONDS", REFUSED_SECONDS)
    monkeypatch.setattr(producing, "GONE_POLLS", GONE_POLLS)
    monkeypatch.setattr(changelog, "INDEX_POLLS", INDEX_POLLS)


@dataclass
class Whole:
    """The run, step by step."""

    world: World
    everything: Everything

    @asynccontextmanager
    async def running(self) -> AsyncIterator[InProcess]:
        world = self.world
        async with in_process(world.site, world.data, PATIENCE, world.where) as run:
            yield run

    async def backfill_killed(self) -> None:
        """Until half of the names are settled; then everything ends as it stands."""
        async with self.running() as run:
            await _until(
                run, lambda: run.pipeline.counts()[Status.OK] > 0.4 * PROJECTS, "half of it"
            )
            assert run.mark is None

    async def switched(self) -> None:
        """The rest of the backfill; then projects stick, and the journal is gone for good."""
        async with self.running() as run:
            await _until(run, lambda: run.mark is not None, "watermark")
            if LONG:
                await asyncio.to_thread(self.everything.bring, "xmlrpc")
                await _until(run, lambda: not self.everything.unmet("xmlrpc"), "its other faults")
            await self.world.publish()
            await asyncio.to_thread(self.everything.stick)
            await asyncio.to_thread(self.everything.end, "xmlrpc")
            self.everything.site.fault("xmlrpc-gone")
            await _until(run, lambda: _by_index(run), "index in place of the journal")
            rows = run.pipeline.producer.rows
            await _until(run, lambda: run.pipeline.producer.rows > rows, "changes by the index")

    async def settled(self) -> set[str]:
        """No fault comes and goes now: what is owed comes right. Names not from the JSON API."""
        serial = await asyncio.to_thread(last_serial, self.everything.site)

        async with self.running() as run:

            def rest() -> bool:
                counts = run.pipeline.counts()
                owed = counts[Status.PENDING] + counts[Status.PARKED]
                return not owed and run.mark == serial and run.pipeline.caught_up()

            await _until(run, rest, "rest")
            await _until(run, lambda: not _looked_at_once(run), "second looks")
            await run.until_written()
            return {n for n, s in run.states.items() if s.published and s.source is not Source.JSON}

    async def repaired(self) -> None:
        """What passing faults have killed by chance is asked for by `verify --repair`."""
        dead = {name for name, _, _ in found(await self.world.verify(), "dead")}
        if dead - self.everything.excepted().dead:
            await self.world.verify(repair=True)
            await self.settled()

    def asked_by_reconcile(self) -> int:
        """How many projects `reconcile` asks for."""
        data, site = self.world.data, self.everything.site
        ended = command(
            "reconcile", "--data", str(data), "--upstream", site.url, "--rate=0", cwd=data.parent
        )
        assert ended.returncode == 0, ended.stderr
        return int(ended.stdout.split("asked for ")[1].split()[0].replace(",", ""))


async def _until(run: InProcess, wanted: object, what: str) -> None:
    assert callable(wanted)
    await run.until(wanted, what, STEP_SECONDS_MAX)


def _by_index(run: InProcess) -> bool:
    head = run.pipeline.producer.head
    return head is not None and head.source is EventSource.INDEX


def _looked_at_once(run: InProcess) -> bool:
    return any(s.exception for s in run.states.values() if s.status is Status.ABSENT)


@pytest.mark.timeout(3600 if LONG else 1500)
async def test_verify_names_exactly_what_cannot_be_right(tmp_path: Path, seed: int) -> None:
    """Documents, too, are those that are true, in dump and DuckDB file; then nothing is asked."""
    with standin_process(PROJECTS, seed % 1000) as site:
        everything = Everything(site, seed, FORM.for_good)
        whole = Whole(World(site, tmp_path / "data", Where(2)), everything)
        everything.break_some()
        everything.begin(FORM.share)
        with Changing(everything, FORM.changes_per_second) as changing:
            await whole.backfill_killed()
            await whole.switched()
        await asyncio.to_thread(everything.end, "json", "simple", "xmlrpc")
        made_up = await whole.settled()
        # What no serial tells, a lie or the index's poorer document, ends with the next change.
        await asyncio.to_thread(everything.change_again, made_up | everything.lied_to())
        await whole.settled()
        if await asyncio.to_thread(whole.asked_by_reconcile):  # an index has lacked names
            await whole.settled()
        await whole.repaired()
        second = await asyncio.to_thread(whole.asked_by_reconcile)
        await whole.world.publish()
        report = await whole.world.verify()
        truth = truths(site.ask("/_control/truth").body)
        serial = last_serial(site)
        excepted, met = everything.excepted(), everything.met()
        requests = site.control("stats")["total"]

    said = f"{changing.made} changes, {requests} requests, {len(met)} kinds of faults"
    sys.stdout.write(f"{said}; {report.coverage} % of {report.names} names\n")
    assert second == 0
    dump, snapshot = read_dump(tmp_path / "data"), tmp_path / "data/pypi.duckdb"
    assert_none(dump_differences(dump, truth))
    _assert_exact(report, excepted.dead, excepted.stuck, serial)
    assert dump.exceptions.keys() == excepted.dead | excepted.stuck
    assert_none(view_differences(snapshot, truth, dump.exceptions))
    [told] = query(snapshot, "SELECT count(*) FROM exceptions")
    assert told == (len(dump.exceptions),)
    if LONG:
        assert sorted(KINDS.keys() - met - APART.keys()) == sorted(_never_asked())


def _never_asked() -> set[str]:
    """Kinds for routes that the program never asks for."""
    return {
        kind.name for kind in KINDS.values() if not {"json", "xmlrpc", "simple"} & {*kind.routes}
    }


def _assert_exact(report: VerifyReport, dead: set[str], stuck: set[str], serial: int) -> None:
    assert found(report) == {
        *((name, "state", "dead") for name in dead),
        *((name, "state", "stale") for name in stuck),
    }
    assert report.sound
    assert report.coverage == coverage(report.names, len(dead) + len(stuck))
    assert len(dead) == len(stuck) == FORM.for_good
    assert (report.watermark, report.index) == (serial, serial)
    assert (report.duckdb.agrees, report.dump.agrees) == (True, True)
