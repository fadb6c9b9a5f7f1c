"""The watermark is never ahead of the truth: not at any cut of the log, not in any published file.

A name that the claim covers is reflected, or `state` names it as an exception at that very moment.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

from processors.decide import Patience
from schemas import codec
from schemas.records import Cut, Status
from schemas.topics import Topic
from streams.log import Log
from streams.progress import CUT_KEY
from tests.support.claims import Claim, Past, Shown, broken, claim_of, replay
from tests.support.history import records_of
from tests.support.in_process import in_process
from tests.support.process import Program, command, started, status
from tests.support.published import read_dump
from tests.support.standin import Running, standin
from tests.support.where import Where, embedded, on_kafka, placed

PROJECTS = 400
FETCHES_PER_SECOND = 25  # 16 s of backfill, of which the markers need 30 anyway
MARKERS_MIN = 3  # one comes every ten seconds
LIVE_SECONDS_MAX = 300.0  # of a busy machine; a quiet one takes 22
CHANGES_PER_SECOND = 6.0
QUICK = ("--poll", "1", "--settle", "0.3", "--snapshot-every", "1", "--dump-every", "1")
SAMPLE_SECONDS = 0.4
SPURIOUS_SHARE = 0.3
SECOND_LOOK_SECONDS = 15.0  # instead of sixty; later than the watermark, also on a busy machine


@dataclass
class Sampler:
    """Looks at the published files again and again, as their readers do."""

    where: Where
    data: Path
    program: Program
    taken: list[tuple[Claim, Shown]] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)

    @property
    def enough(self) -> bool:
        """Whether there is something to judge: some markers, and a watermark in each file."""
        claimed = {claim.where for claim, _ in self.taken if claim.base == 0 and claim.reached}
        markers = {report["reached"] for report in self.reports if report["reached"]}
        return claimed == {"snapshot", "dump"} and len(markers) >= MARKERS_MIN

    @contextmanager
    def at_work(self) -> Iterator[None]:
        ended = threading.Event()
        errors: list[BaseException] = []

        def work() -> None:
            took = 0.0
            try:
                while not ended.wait(max(SAMPLE_SECONDS, took)):
                    begun = time.monotonic()
                    self._look()
                    took = time.monotonic() - begun
            except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        for error in errors:
            raise error

    def _look(self) -> None:
        if self._new("pypi.duckdb"):
            self._snapshot(self.data / "pypi.duckdb")
        if self._new("dumps/manifest.json"):
            self._dump()
        if self.where.begun(self.program):
            self.reports.append(status(self.data))

    def _new(self, name: str) -> bool:
        path = self.data / name
        if not path.exists():
            return False
        inode, self._seen[name] = self._seen.get(name), path.stat().st_ino
        return inode != self._seen[name]

    def _snapshot(self, path: Path) -> None:
        with duckdb.connect(str(path), read_only=True) as connection:
            sql = "SELECT watermark, base, reached FROM progress"
            [(mark, base, reached)] = connection.execute(sql).fetchall()
            bodies = connection.execute("SELECT name, serial FROM projects").fetchall()
            states = connection.execute(
                "SELECT name, status, event_serial, attempts FROM base.state"
            ).fetchall()
        assert mark == (reached if base == 0 and reached else None)
        names = ("status", "event", "attempts")
        shown = Shown({n: dict(zip(names, rest, strict=True)) for n, *rest in states}, dict(bodies))
        # Before all workers have passed a marker nothing is claimed, from whatever base.
        self.taken.append((Claim("snapshot", base if reached else 0, reached), shown))

    def _dump(self) -> None:
        for _ in range(3):
            try:
                dump = read_dump(self.data)
                break
            except (AssertionError, FileNotFoundError):
                time.sleep(0.05)  # it was replaced while we read
        else:
            return
        told = dump.manifest
        claim = claim_of("dump", told["vector"])
        assert claim.reached == told["reached"]
        # Before all workers have passed a marker nothing is claimed, from whatever base.
        assert claim.base == told["base"] or not claim.reached
        assert told["watermark"] == (claim.reached if claim.base == 0 and claim.reached else None)
        bodies = {name: line["serial"] for name, line in dump.packages.items()}
        self.taken.append((claim, Shown(dict(dump.states), bodies)))


@pytest.fixture(params=[embedded(4), on_kafka(4)])
def where(request: pytest.FixtureRequest) -> Iterator[Where]:
    with placed(request) as found:
        yield found


async def test_never_ahead_of_the_truth(where: Where, tmp_path: Path, seed: int) -> None:
    """During a whole backfill with live changes and stale answers: every cut, every publication.

    With four partitions; embedded one with a single partition works beside it.
    """
    places = [Where(1), where] if where.embedded else [where]
    with ExitStack() as stack:
        living = standin(projects=PROJECTS, seed=seed % 1000, changes_per_second=CHANGES_PER_SECOND)
        site = stack.enter_context(living)
        site.fault("stale", share=0.2, lag_seconds=4)
        site.fault("soft-purge", share=0.2)
        samplers = []
        for place in places:
            data = tmp_path / str(place.partitions)
            arguments = (
                *("run", "--data", str(data), "--upstream", site.url, "--backfill"),
                *("--rate", str(FETCHES_PER_SECOND), *place.options, *QUICK),
            )
            said = f"said-{place.partitions}"
            program = stack.enter_context(started(*arguments, cwd=tmp_path, name=said))
            samplers.append(Sampler(place, data, program))
        with ExitStack() as working:
            for sampler in samplers:
                working.enter_context(sampler.at_work())
            await asyncio.to_thread(enough, samplers)
        for sampler in samplers:
            assert sampler.program.stop() == 0, sampler.program.text()
        past = Past(site)
        last = site.control("serial")["serial"]
    for sampler in samplers:
        await assert_never_ahead(sampler, past, last)


def enough(samplers: list[Sampler]) -> None:
    """Wait until each has seen a few markers and a watermark in both files."""
    end = time.monotonic() + LIVE_SECONDS_MAX
    while not all(sampler.enough for sampler in samplers) and time.monotonic() < end:
        time.sleep(SAMPLE_SECONDS)


async def assert_never_ahead(sampler: Sampler, past: Past, last: int) -> None:
    """Every claim that was made there was true, and some of each kind were made."""
    async with sampler.where.log(sampler.data) as log:
        replayed = await replay(log, past)
        await assert_counted(log)
    wrong = [*replayed.wrong, *(text for taken in sampler.taken for text in broken(*taken, past))]

    assert not wrong, f"{len(wrong)}: {wrong[:5]}"
    assert_history_of_claims(replayed.claims, last)
    assert_reports(sampler.reports)
    published = [claim for claim, _ in sampler.taken]
    assert {"snapshot", "dump"} == {claim.where for claim in published if claim.base == 0}
    assert any(claim.base for claim in published), "nothing was published during the backfill"
    known = {tuple(claim[1:]) for claim in replayed.claims} | {(0, 0)}
    assert {tuple(claim[1:]) for claim in published} <= known


async def assert_counted(log: Log) -> None:
    """Every cut of an open backfill says how many names are decided; the number only rises."""
    done: dict[int, list[int]] = {}
    for record in await records_of(log, Topic.PROGRESS):
        cut = codec.decode(record.value or b"", Cut) if record.key == CUT_KEY else None
        if cut is not None and cut.backfill is not None:
            done.setdefault(record.partition, []).append(cut.backfill.done)
    assert len(done) == log.partitions
    for counted in done.values():
        assert counted == sorted(counted)
        assert len(set(counted)) > 1


def assert_history_of_claims(claims: list[Claim], last: int) -> None:
    """First about changes since the base, then about everything; `reached` only ever rises."""
    bases = [claim.base for claim in claims]
    assert bases == sorted(bases, reverse=True)
    assert bases[-1] == 0 < bases[0]
    reached = [claim.reached for claim in claims]
    assert reached == sorted(reached)
    assert len(set(reached)) >= MARKERS_MIN, "too few markers to show anything"
    assert reached[-1] <= last


def assert_reports(reports: list[dict[str, Any]]) -> None:
    """`status`: null with n of m, n rising, then a watermark for good."""
    marks = [report["watermark"] for report in reports]
    first = next(place for place, mark in enumerate(marks) if mark is not None)
    assert all(marks[first:])
    counted = [each["backfill"] for each in reports[:first] if each["backfill"]]
    done = [each["done"] for each in counted]
    assert done == sorted(done)  # how many there are depends on how busy the machine is
    assert all(0 <= each["done"] <= each["names"] <= PROJECTS for each in counted)
    assert all(each["backfill"] is None for each in reports[first:])


async def test_spurious_404s_lose_no_project(where: Where, tmp_path: Path, seed: int) -> None:
    """Each is an exception to the watermark until its second look, which finds it again."""
    patience = Patience(absent_again_seconds=SECOND_LOOK_SECONDS)
    with standin(projects=PROJECTS, seed=seed % 1000) as site:
        served = set(site.served_names())
        listed = {line["name"] for line in _index(site)}
        site.fault("spurious-404", share=SPURIOUS_SHARE, route="json")
        async with in_process(site, tmp_path, patience, where) as run:
            await run.until(lambda: run.mark is not None, "watermark")
            site.heal()
            states = run.states
            owed = {name for name, state in states.items() if state.exception}
            there = {name for name, state in states.items() if state.status is Status.OK}
            assert there | owed == listed
            assert served - there <= owed, "a 404 was believed at once"
            assert len(served - there) > 0.1 * len(served)
            await run.until(lambda: not any(s.exception for s in run.states.values()), "end")
            found = {name for name, state in run.states.items() if state.published}

    assert served == found


def _index(site: Running) -> list[dict[str, Any]]:
    """Names that the index lists, normalised."""
    lines = site.ask("/_control/truth?documents=0").body.splitlines()
    hidden = ("removed", "quarantined")
    return [line for line in map(json.loads, lines) if line["status"] not in hidden]


@pytest.mark.skipif("not os.environ.get('PYPISTREAM_TEST_LONG')", reason="takes over a minute")
def test_spurious_404s_lose_no_project_of_the_real_program(
    where: Where, tmp_path: Path, seed: int
) -> None:
    """With its own patience: the second look is a minute later, and nothing asks for it."""
    data = tmp_path / "data"
    with standin(projects=PROJECTS, seed=seed % 1000) as site:
        served = set(site.served_names())
        site.fault("spurious-404", share=SPURIOUS_SHARE, route="json")
        arguments = (
            *("run", "--data", str(data), "--upstream", site.url, "--backfill", "--rate=0"),
            *where.options,
        )
        with started(*arguments, *QUICK, cwd=tmp_path) as program:
            program.until(lambda: where.begun(program), 30, "log")
            program.until(lambda: status(data)["watermark"], 60, "watermark")
            site.heal()
            program.until(lambda: status(data)["names"]["ok"] == len(served), 100, "second looks")
            assert program.stop() == 0
        ended = command(*arguments, "--once", "--once-wait", "0", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr

    assert served == read_dump(data).packages.keys()
