"""What a backfill and a burst of changes cost in requests, counted by the stand-in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from processors.decide import Patience
from schemas.records import Status
from tests.support.in_process import InProcess, in_process
from tests.support.standin import Running, standin
from tests.support.where import Where

PROJECTS = 200
STALE_SHARE = 0.05
PER_PROJECT_MAX, WITH_SECOND_LOOKS_MAX = 1.10, 1.30
BURST_ROWS = 5
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
