"""Documents that nobody should send: dead letters or anomalies, and the stream goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from processors.decide import Patience
from schemas.records import Source, Status
from schemas.topics import Topic
from tests.support.history import records_of
from tests.support.in_process import in_process
from tests.support.process import command, started, status
from tests.support.published import (
    assert_none,
    dump_differences,
    query,
    read_dump,
    truths,
    view_differences,
)
from tests.support.standin import Running, standin
from tests.support.where import Where, embedded, on_kafka, placed

PROJECTS = 80
PATIENCE = Patience(schedule_seconds=(0.1, 0.2))  # instead of half an hour
EXCERPT_BYTES_MAX = 4096
# The real program asks after a minute, and then not before 300 s: where a machine takes that minute
# for what comes before the healing, the next time is the one to wait for.
EXCEPTIONS_SECONDS_MAX = 310.0
MIB = 1 << 20
RESIDENT_BYTES_MAX = 400 * MIB


class Hostile(NamedTuple):
    """A fault kind, what its dead letter says ("" = it is published), and its anomaly."""

    kind: str
    reason: str
    anomaly: str = ""
    parameters: dict[str, Any] = {}  # noqa: RUF012  a default that nobody changes


CASES = (
    Hostile("bad-json", "undecodable: "),
    Hostile("empty-body", "undecodable: "),
    Hostile("html", "undecodable: "),
    Hostile("not-an-object", "undecodable: "),
    Hostile("missing-keys", "undecodable: "),
    Hostile("bad-utf8", "undecodable: "),
    Hostile("nan", "undecodable: "),
    Hostile("lone-surrogates", "undecodable: "),
    Hostile("depth-bomb", "undecodable: ", parameters={"depth": 2000}),
    Hostile("wide-bomb", "undecodable: "),
    Hostile("huge-body", "oversized: ", parameters={"mib": 200}),
    Hostile("gzip-bomb", "oversized: ", parameters={"mib": 1024}),
    Hostile("foreign-body", "foreign: "),
    Hostile("nul", "", "nul"),
    Hostile("big-integer", "", "big-int"),
)


def spoil(site: Running) -> dict[str, Hostile]:
    """One project for each case, from now on."""
    spoilt = dict(zip(site.served_names(), CASES, strict=False))
    for name, case in spoilt.items():
        site.fault(case.kind, project=name, route="json", **case.parameters)
    return spoilt


def has_files(site: Running, name: str) -> bool:
    """Whether the index could tell of a release; one without a file is the JSON API's alone."""
    return any(site.truth(name)["document"]["releases"].values())


def peak_bytes(pid: int) -> int:
    """The most memory a process had resident; what it has now where the system does not tell."""
    told = Path(f"/proc/{pid}/status")
    if not told.exists():
        return int(psutil.Process(pid).memory_info().rss)
    line = next(line for line in told.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.fixture(params=[embedded(1), on_kafka(4)])
def where(request: pytest.FixtureRequest) -> Iterator[Where]:
    with placed(request) as found:
        yield found


@pytest.mark.parametrize("with_index", [True, False])
async def test_each_is_a_dead_letter_or_an_anomaly(
    where: Where, tmp_path: Path, *, with_index: bool
) -> None:
    """With its reason, serial and hash; all others are fetched as if nothing was.

    Where the index tells of those projects their documents are made from it, and they owe nothing.
    """
    with standin(projects=PROJECTS) as site:
        spoilt = spoil(site)
        served = site.served_names()
        failed = {name for name, case in spoilt.items() if case.reason}
        if not with_index:
            for name in failed:
                site.fault("500", project=name, route="simple")
        dead = {name for name in failed if not (with_index and has_files(site, name))}
        async with in_process(site, tmp_path, PATIENCE, where) as run:
            await run.until(
                lambda: {n for n, s in run.states.items() if s.status is Status.DEAD} == dead, "end"
            )
            await run.until(
                lambda: (
                    {n for n, s in run.states.items() if s.source is Source.INDEX} == failed - dead
                ),
                "documents from the index",
            )
            await run.until(lambda: run.mark is not None, "watermark")
            await run.until_written()
            published = {name for name, state in run.states.items() if state.published}
            letters = await records_of(run.pipeline.log, Topic.DEAD_LETTER)
            metadata = await records_of(run.pipeline.log, Topic.METADATA)

    assert published == set(served) - dead
    assert failed == {letter.key for letter in letters}
    assert len(letters) == len(failed), "one letter each, not one an attempt"
    for record in letters:
        assert record.key is not None
        letter = json.loads(record.value or b"")
        assert letter["reason"].startswith(spoilt[record.key].reason), (spoilt[record.key], letter)
        assert letter["serial"] > 0
        assert letter["attempts"] == len(PATIENCE.schedule_seconds) + 1
        assert len(letter["excerpt"].encode()) <= EXCERPT_BYTES_MAX
    odd = {record.key: record.header("anomalies") or "" for record in metadata}
    for name, case in spoilt.items():
        if case.anomaly:
            assert case.anomaly in odd[name].split(","), (case, odd[name])


def test_the_stream_goes_on_and_nothing_is_lost(where: Where, tmp_path: Path) -> None:
    """They wait with their reasons while others change; healed, they come right by themselves."""
    data = tmp_path / "data"
    with standin(projects=PROJECTS) as site:
        spoilt = spoil(site)
        deadly = {name for name, case in spoilt.items() if case.reason}
        arguments = (
            *("run", "--data", str(data), "--upstream", site.url, "--backfill", "--rate", "0"),
            *("--poll", "1", "--settle", "0.2", "--snapshot-every", "1", "--dump-every", "1"),
            *where.options,
        )
        with started(*arguments, cwd=tmp_path) as program:
            program.until((data / "dumps/manifest.json").exists, 60, "dump")
            program.until((data / "pypi.duckdb").exists, 60, "snapshot")
            program.until(lambda: status(data)["watermark"], 60, "watermark")
            serial = site.change("role", site.served_names()[-1])["serial"]
            newest = "SELECT coalesce(max(serial), 0) FROM projects"
            program.until(lambda: query(data / "pypi.duckdb", newest)[0][0] >= serial, 60, "change")
            owed = {each["name"]: each for each in status(data)["exceptions"]}
            anomalies = query(data / "pypi.duckdb", "SELECT name, anomaly FROM anomalies")
            peak = peak_bytes(program.process.pid)
            site.heal()
            program.until(
                lambda: not status(data)["exceptions"], EXCEPTIONS_SECONDS_MAX, "end of exceptions"
            )
            # Those were published as they came: without a new serial nobody asks again.
            for name in spoilt.keys() - deadly:
                site.change("role", name)
            assert program.stop() == 0, program.text()
        ended = command(*arguments, "--once", "--once-wait", "1", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in program.text()
        truth = truths(site.ask("/_control/truth").body)

        assert deadly == set(owed)
        for name, each in owed.items():
            assert each["status"] == "parked"
            assert each["reason"].startswith(spoilt[name].reason)
        assert {(n, c.anomaly) for n, c in spoilt.items() if c.anomaly} <= set(anomalies)
        assert peak < RESIDENT_BYTES_MAX
    dump = read_dump(data)
    assert_none(dump_differences(dump, truth))
    assert_none(view_differences(data / "pypi.duckdb", truth, dump.exceptions))
