"""What a backfill and a burst of changes cost in requests, counted by the stand-in."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from processors.decide import Patience
from pypistream.settings import Settings
from schemas.records import Status
from tests.support.in_process import InProcess, in_process
from tests.support.index_world import Site, World, simulated
from tests.support.standin import Running, standin
from tests.support.virtual_time import WarpClock
from tests.support.where import Where
from upstream.source import JournalRow

PROJECTS = 200
STALE_SHARE = 0.05
PER_PROJECT_MAX, WITH_SECOND_LOOKS_MAX = 1.10, 1.30
BURST_ROWS, BURST_SECONDS = 5, 2.0
PATIENCE = Patience(schedule_seconds=(0.1, 0.5, 1, 2), absent_again_seconds=0.1)


def asked(site: Running) -> Counter[str]:
    """Requests by project: documents, pages and core metadata."""
    requests = site.control("requests")
    return Counter(each["project"] for each in requests if each["project"])


async def settled(run: InProcess) -> None:
    """Wait until every name is settled, absent ones by their second look."""
    await run.until(lambda: run.mark is not None, "watermark")
    await run.until(lambda: not any(s.exception for s in run.states.values()), "end")


async def test_a_backfill_costs_little_more_than_a_request_each(tmp_path: Path, seed: int) -> None:
    """One in twenty answers once with an older body; a sixth has no document and is asked twice."""
    with standin(projects=PROJECTS, seed=seed % 1000) as site:
        served = site.served_names()
        stale = served[: round(STALE_SHARE * PROJECTS)]
        for name in stale:
            site.fault("serial-back", project=name, route="json", count=1)
        async with in_process(site, tmp_path, PATIENCE, Where(2)) as run:
            await settled(run)
            states = run.states
        requests = asked(site)
        met = site.control("stats")["faults"]

    absent = {name for name, state in states.items() if state.status is Status.ABSENT}
    assert met == {"serial-back": len(stale)}
    assert absent == states.keys() - set(served)
    assert len(absent) > 0.1 * len(states)
    again = sum(requests[name] - 1 for name in absent)
    assert sum(requests.values()) - again <= PER_PROJECT_MAX * len(states)
    assert sum(requests.values()) <= WITH_SECOND_LOOKS_MAX * len(states)


async def test_a_burst_of_rows_costs_one_request(tmp_path: Path) -> None:
    """Five rows of one project that come together, as those of one upload do."""
    with standin(projects=20) as site:
        name = site.served_names()[0]
        async with in_process(site, tmp_path, PATIENCE, Where(1)) as run:
            await settled(run)
            before = asked(site)[name]
            rows = len(site.control("journal?since=0"))
            serial = site.change("role", name, count=BURST_ROWS)["serial"]
            await run.until(lambda: run.states[name].body == serial, "the last row's document")
            await run.until(lambda: run.mark == serial, "watermark")
            after = asked(site)[name]
            made = len(site.control("journal?since=0")) - rows

    assert made >= BURST_ROWS
    assert after - before == 1


class Now(Site):
    """Its rows bear the time at which they come."""

    def row(self, serial: int, name: str, action: str, version: str | None = None) -> None:
        second = WarpClock().now_ms() // 1000
        self.journal.append(JournalRow(name, version, second, action, serial))


def test_a_burst_that_several_polls_see_costs_one_request() -> None:
    """Its rows come over two seconds; with the settings that the program has of itself."""

    async def play(world: World) -> None:
        world.settle_seconds = Settings.settle
        await world.produce(poll_seconds=BURST_SECONDS / BURST_ROWS)
        for number in range(3):
            world.site.change(f"p{number}")
        await asyncio.sleep(60)
        before = len(world.site.asked)
        for row in range(BURST_ROWS):
            await asyncio.sleep(BURST_SECONDS / (BURST_ROWS - 1) if row else 0.7)
            world.site.change("p1")
        seen = [each for each in await world.entries() if each.name == "p1"][1:]
        await asyncio.sleep(60)

        assert 0 < len(seen) < BURST_ROWS, "one poll would see them all"
        assert world.site.asked[before:] == ["p1"]
        await world.assert_true()

    simulated(1, play, Now())
