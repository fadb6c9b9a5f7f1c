"""`pypistream reconcile` on a directory: what it says, what it asks for, and the index it keeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from producers.changelog import ChangelogProducer, ProducerSettings
from pypistream.cli import invoke
from pypistream.data_dir import DataDir
from pypistream.jobs.index_copy import FILE, IndexCopy
from pypistream.settings import Settings
from pypistream.wiring import make_upstream, open_log
from schemas.topics import Topic
from streams.clock import SystemClock
from tests.support.history import records_of
from tests.support.standin import Running, standin
from upstream.source import NotModified, ProjectSerial, SerialMap

PROJECTS = 30
INDEX = SerialMap(9, '"one"', [ProjectSerial("Foo.Bar", 7), ProjectSerial("x", 2**62)])


@pytest.fixture
def site() -> Iterator[Running]:
    """Upstream, where nothing changes."""
    with standin(projects=PROJECTS, changes_per_second=0) as running:
        yield running


@pytest.fixture
def data(site: Running, tmp_path: Path) -> DataDir:
    """A directory with a log that was founded and holds nothing."""
    found = DataDir(tmp_path / "d")
    settings = Settings(data=found.root, upstream=site.url)

    async def founded() -> None:
        log = await open_log(settings, found)
        upstream = make_upstream(settings, lambda *_: None)
        producer = ChangelogProducer(log, upstream, SystemClock(), ProducerSettings())
        await producer.begin()
        await producer.close()
        await upstream.close()
        await log.close()

    asyncio.run(founded())
    found.store(settings.stored())
    return found


def asked(data: DataDir) -> list[Any]:
    """Names that lie in `refetch`."""

    async def keys() -> list[Any]:
        log = await open_log(Settings(data=data.root), data)
        try:
            return [record.key for record in await records_of(log, Topic.REFETCH)]
        finally:
            await log.close()

    return asyncio.run(keys())


def command(data: DataDir, *arguments: str) -> int:
    return invoke([*arguments, "--data", str(data.root)])


def test_a_dry_run_says_what_the_run_then_asks_for(
    data: DataDir, capfd: pytest.CaptureFixture[str]
) -> None:
    """As JSON lines on stdout, with the figures on stderr; nothing is written."""
    assert command(data, "reconcile", "--dry-run") == 0
    said = capfd.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert asked(data) == []
    assert f"{len(lines)} to ask for; at 10 fetches per second this takes 3 s" in said.err
    assert "no backfill yet" in said.err
    assert {*lines[0]} == {"name", "display_name", "serial", "gone"}

    assert command(data, "reconcile") == 0
    said = capfd.readouterr()
    assert said.out == f"asked for {len(lines)} projects: whoever processes this log fetches them\n"
    assert asked(data) == [line["name"] for line in lines]


def test_only_what_a_filter_names_is_asked_for(
    data: DataDir, capfd: pytest.CaptureFixture[str]
) -> None:
    """A backfill of a part says that it gives no watermark."""
    assert command(data, "backfill", "--dry-run", "--order", "name") == 0
    names = [json.loads(line)["name"] for line in capfd.readouterr().out.splitlines()]
    assert names == sorted(names)

    options = ("--include", f"{names[0]}", "--include", names[3], "--exclude", names[3])
    assert command(data, "backfill", "--yes", *options) == 0
    said = capfd.readouterr()
    assert "asked for 1 projects" in said.out
    assert "the watermark stays as it is" in said.err
    assert asked(data) == [None, names[0], None]
    assert command(data, "backfill", "--dry-run", "--changed-since", str(2**62)) == 0
    assert capfd.readouterr().out == ""


def test_the_journal_from_before_is_asked_for_by_a_request(
    data: DataDir, capfd: pytest.CaptureFixture[str]
) -> None:
    """No document is; `status` says that it waits, and where changes come from."""
    assert command(data, "backfill", "--journal") == 0
    said = capfd.readouterr().out
    assert command(data, "status", "--json", "--brief") == 0
    report = json.loads(capfd.readouterr().out)
    assert command(data, "status") == 0
    page = capfd.readouterr().out

    assert said.startswith(f"asked for the journal up to serial {report['head']:,}: ")
    assert report["history"] == {"since": report["head"], "read": None, "asked": True}
    assert report["source"] == "journal"
    assert "what was before is asked for" in page
    assert asked(data) == []


def test_an_index_that_did_not_change_is_not_sent_again(data: DataDir, site: Running) -> None:
    """The copy takes its place; another upstream's copy, or a damaged one, does not."""
    copy = data.state / FILE

    async def fetched() -> SerialMap:
        upstream = make_upstream(Settings(upstream=site.url), lambda *_: None)
        try:
            return await IndexCopy(data.state, site.url).fetch(upstream)
        finally:
            await upstream.close()

    def answers() -> list[int]:
        found = site.control("requests?since=0")
        return [each["status"] for each in found if each["route"] == "simple"]

    first = asyncio.run(fetched())
    kept = copy.read_bytes()
    again = asyncio.run(fetched())
    assert answers() == [200, 304]
    assert (again.last_serial, again.etag) == (first.last_serial, first.etag)
    assert [(p.name, p.serial) for p in again.projects] == [
        (p.name, p.serial) for p in first.projects
    ]

    for damaged, asked_for in (
        (b"", [200]),
        (b"x" + kept[1:], [200]),
        (kept[: len(kept) // 2], [304, 200]),  # what it is of can still be read
    ):
        before = len(answers())
        copy.write_bytes(damaged)
        assert asyncio.run(fetched()).last_serial == first.last_serial
        assert answers()[before:] == asked_for
        assert copy.read_bytes() == kept


def folder_of(path: Path) -> list[Path]:
    return sorted(path.iterdir())


class OneIndex:
    """Answers with INDEX, or 304 to its ETag."""

    def __init__(self) -> None:
        self.etags: list[str] = []

    async def serial_map(self, etag: str = "") -> SerialMap | NotModified:
        self.etags.append(etag)
        return NotModified(None) if etag == INDEX.etag else INDEX


async def test_the_copy_of_another_upstream_is_none(tmp_path: Path) -> None:
    """Nor is any kept where there is no directory."""
    for folder, url, sent in (
        (tmp_path, "http://a", ""),
        (tmp_path, "http://a", '"one"'),
        (tmp_path, "http://b", ""),
        (tmp_path / "none", "http://b", ""),
        (None, "http://b", ""),
    ):
        upstream = OneIndex()
        found = await IndexCopy(folder, url).fetch(upstream)  # type: ignore[arg-type]

        assert upstream.etags == [sent], (folder, url)
        assert [(p.name, p.serial) for p in found.projects] == [("Foo.Bar", 7), ("x", 2**62)]
        assert found.last_serial == 9
    assert [path.name for path in folder_of(tmp_path)] == [FILE]
