"""The pipeline over a stand-in whose JSON API is gone, or lost its releases, and stays so."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processors import json_api
from processors.decide import Patience
from schemas.records import Source, Status
from schemas.topics import Offset, Topic
from streams.log import Record, TopicPartition
from tests.support.in_process import InProcess, in_process
from tests.support.oracle import oracle_slim, oracle_trim
from tests.support.published import Truth, truths
from tests.support.second_source import files_of
from tests.support.standin import Running, standin
from tests.support.where import Where

QUICK = Patience(
    schedule_seconds=(0.1, 0.2, 0.4, 0.8, 1.2, 1.6),
    missing_proof_seconds=1.0,
    arrival_grace_seconds=0.1,
    absent_again_seconds=0.2,
)
PARTITIONS = 2
SETTLE_SECONDS_MAX = 150.0
# So many that each partition has more of them than raise a doubt about the API.
CHANGES = ("release", "release", "create", "yank", "add-file", "release", "role", "prerelease") * 5
TOO_FEW = ("release", "yank", "create")


@pytest.fixture(autouse=True)
def _probes_come_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_api, "PROBE_MS_FIRST", 200)


@pytest.fixture
def site() -> Iterator[Running]:
    with standin(projects=80, sizes="real", changes_per_second=0) as running:
        yield running


def all_truth(site: Running) -> dict[str, Truth]:
    """What is true of every name."""
    return truths(site.ask("/_control/truth").body)


async def tables(run: InProcess, topic: Topic) -> dict[str, Record]:
    """What the topic holds now, tombstones left out."""
    found: dict[str, Record] = {}
    for partition in range(PARTITIONS):
        table = await run.pipeline.log.table(TopicPartition(topic, partition))
        found |= {n: record for n, record in table.rows.items() if record.value is not None}
    return found


async def wrong_by_files(run: InProcess, site: Running) -> dict[str, str]:
    """Names whose files are not those that are true; what has no file cannot be had."""
    found = await tables(run, Topic.RELEASES)
    wrong = {}
    for name, true in all_truth(site).items():
        document = true.document or {"releases": {}}
        due = _by_file(document)
        record = found.pop(name, None)
        if record is None:
            if due:
                wrong[name] = "missing"
            continue
        value = json.loads(record.value or b"")
        if _by_file(value) != due and (due or true.document is None):
            wrong[name] = f"files at {value['serial']}, {record.header('source')}"
    return wrong | dict.fromkeys(found, "not there upstream")


def _by_file(document: dict[str, Any]) -> dict[str, tuple[str, object, bool]]:
    return {
        filename: (version, file["size"], bool(file["yanked"]))
        for filename, (version, file) in files_of(document).items()
    }


async def wrong_by_document(run: InProcess, site: Running) -> list[str]:
    """Names whose records are not the JSON API's own document."""
    metadata, releases = await tables(run, Topic.METADATA), await tables(run, Topic.RELEASES)
    served = {n: true for n, true in all_truth(site).items() if true.document is not None}
    wrong = sorted(metadata.keys() ^ served.keys())
    for name, true in served.items():
        if name not in metadata:
            continue
        document = true.document or {}
        slim = oracle_slim(document, name, true.body_serial)
        if (
            json.loads(metadata[name].value or b"") != oracle_trim(document)
            or json.loads(releases[name].value or b"") != slim
        ):
            wrong.append(name)
    return wrong


async def settles(run: InProcess, wrong: Any, site: Running) -> None:
    """Wait until nothing is owed, and nothing is wrong either.

    To compare everything takes longer than a look is apart: half of the time at most goes there.
    """
    found: Any = None
    end = time.monotonic() + SETTLE_SECONDS_MAX
    while (begun := time.monotonic()) < end:
        if not any(state.exception for state in run.states.values()):
            found = await wrong(run, site)
            if not found:
                await run.until_written()
                return
        await asyncio.sleep(time.monotonic() - begun)
        await run.until_next_look()
    owed = {n: (s.status, s.reason) for n, s in run.states.items() if s.exception}
    pytest.fail(f"wrong {str(found)[:1500]}, owed {str(owed)[:800]}")


def change(site: Running, kinds: tuple[str, ...] = CHANGES) -> list[str]:
    """Changes that only add or mark; the projects."""
    return [site.change(kind)["project"] for kind in kinds]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("status", [404, 501])
async def test_without_the_json_api_what_changes_comes_from_the_index(
    site: Running, tmp_path: Path, status: int
) -> None:
    """Nothing is removed, nothing stays owed; when it is back, its own documents replace those.

    A 501 is a failure: what it is asked for comes from the index when the attempts are used up.
    """
    async with in_process(site, tmp_path, QUICK, Where(PARTITIONS)) as run:
        await settles(run, wrong_by_document, site)
        site.fault("json-gone", status=status)
        changed = set(change(site))
        removed = site.change("remove-project")["project"]
        await settles(run, wrong_by_files, site)

        records = await tables(run, Topic.METADATA)
        assert removed not in records
        sources = {n: records[n].header("source") for n in changed - {removed} if n in records}
        assert set(sources.values()) == {"index"}
        published = {n: state for n, state in run.states.items() if state.published}
        assert {n for n, s in published.items() if s.source is Source.INDEX} == set(sources)
        document = json.loads(records[min(sources)].value or b"")
        assert "ownership" not in document

        site.heal()
        await settles(run, wrong_by_document, site)
        records = await tables(run, Topic.METADATA)
        assert {record.header("source") for record in records.values()} == {"json"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kinds", [CHANGES, TOO_FEW])
async def test_documents_without_releases_lose_none(
    site: Running, tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    """They come from the page; no record that ever was has fewer than the one before it.

    When the API is whole again its own documents replace them, however few they are.
    """
    async with in_process(site, tmp_path, QUICK, Where(PARTITIONS)) as run:
        await settles(run, wrong_by_document, site)
        site.fault("no-releases")
        changed = set(change(site, kinds))
        await settles(run, wrong_by_files, site)

        records = await tables(run, Topic.METADATA)
        assert {records[name].header("source") for name in changed} == {"json+index"}
        for name in changed:  # everything that JSON tells is there as it was told
            true, value = all_truth(site)[name].document or {}, records[name].value or b""
            made = json.loads(value)
            assert made["info"] == oracle_trim(true)["info"]
            assert made["urls"] == true["urls"]
            assert made["releases"][true["info"]["version"]] == true["urls"]
        site.heal()
        await settles(run, wrong_by_document, site)
        await _never_fewer(run)


async def _never_fewer(run: InProcess) -> None:
    """Over the whole topic: each record of a name has all releases with files of the one before."""
    for partition in range(PARTITIONS):
        at = TopicPartition(Topic.RELEASES, partition)
        end = (await run.pipeline.log.ends(Topic.RELEASES))[at]
        reader = await run.pipeline.log.reader({at: Offset(0)})
        before: dict[str, set[str]] = {}
        read = 0
        while read < end:
            for record in await reader.read(500, 1.0):
                read = record.offset + 1
                releases = json.loads(record.value or b"{}")["releases"]
                with_files = {version for version, files in releases.items() if files}
                assert before.get(record.key or "", set()) <= with_files, record.key
                before[record.key or ""] = with_files
        await reader.close()


@pytest.mark.timeout(600)
async def test_a_backfill_without_the_json_api(site: Running, tmp_path: Path) -> None:
    """Every project with a file comes; names without one are absent."""
    site.fault("json-gone", status=410)
    async with in_process(site, tmp_path, QUICK, Where(PARTITIONS)) as run:
        await settles(run, wrong_by_files, site)
        records = await tables(run, Topic.METADATA)
        assert {record.header("source") for record in records.values()} == {"index"}
        stats = site.control("stats")
        assert stats["connections"]["document"]["peak"] <= 8
        assert stats["early_total"] == 0
        site.heal()
        await settles(run, wrong_by_document, site)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["bad-json", "json-gone"])
async def test_one_project_that_the_json_api_fails_for_good(
    site: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """After its last attempt, or before a 404 would remove it, the index has the word."""
    monkeypatch.setattr(json_api, "PROBE_MS_FIRST", 600_000)  # no looks but those of its events
    async with in_process(site, tmp_path, QUICK, Where(PARTITIONS)) as run:
        await settles(run, wrong_by_document, site)
        names = [n for n, true in all_truth(site).items() if _has_files(true)]
        name = names[7]
        site.fault(kind, project=name, route="json")
        site.change("role", name)
        serial = site.control("serial")["serial"]
        await settles(run, wrong_by_files, site)
        await run.until(lambda: run.states[name].body == serial, "the new serial")
        await run.until_written()
        state = run.states[name]
        assert (state.status, state.source, state.gone) == (Status.OK, Source.INDEX, 0)
        letters = sum((await run.pipeline.log.ends(Topic.DEAD_LETTER)).values())
        assert letters == (kind == "bad-json")  # a 404 is nothing to be kept as evidence

        site.change("role", name)  # already known to need it: no schedule is gone through
        asked = len([1 for each in site.control("requests") if each["project"] == name])
        await run.until(lambda: run.states[name].body > serial, "the next serial")
        assert run.states[name].source is Source.INDEX
        again = len([1 for each in site.control("requests") if each["project"] == name])
        assert again - asked <= 3 + (kind == "json-gone")
        site.heal()
        site.change("role", name)
        await settles(run, wrong_by_document, site)


def _has_files(true: Truth) -> bool:
    return any((true.document or {"releases": {}})["releases"].values())
