"""XML-RPC is removed half-way, over HTTP and on the embedded log: what is held is what is true."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from processors.metadata import Worker, WorkerSettings
from processors.slots import Slots
from producers import changelog
from producers.changelog import ChangelogProducer, ProducerSettings
from producers.reconcile import Reconciler
from schemas import codec
from schemas.records import EventSource, Reason, State
from schemas.topics import Topic
from streams.clock import SystemClock
from streams.log import TopicPartition
from streams.progress import read_progress
from streams.sqlite_log import SqliteLog
from tests.support.index_world import QUICK
from tests.support.standin import Running, standin
from upstream.client import HttpUpstream
from upstream.settings import ClientSettings
from upstream.source import SerialMap

PARTITIONS = 3
SECONDS_MAX = 240.0
KINDS = ("release", "remove-project", "create", "quarantine", "add-file", "yank", "role")


class Held:
    """A log with its roles."""

    def __init__(self, log: SqliteLog, site: Running) -> None:
        self.log = log
        self.site = site
        self.clock = SystemClock()
        self.upstream = HttpUpstream(ClientSettings(base_url=site.url, contact="", rate=0))
        self.tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """All roles, and a backfill."""
        settings = ProducerSettings(poll_seconds=0.3, gone_seconds=1.0)
        producer = ChangelogProducer(self.log, self.upstream, self.clock, settings)
        config = await producer.begin()
        self.tasks.append(asyncio.create_task(producer.run()))
        slots = Slots(4)
        for partition in range(PARTITIONS):
            place = WorkerSettings(partition, config, settle_seconds=0, patience=QUICK)
            worker = Worker(self.log, self.upstream, slots, self.clock, place)
            self.tasks.append(asyncio.create_task(worker.run()))
        found = await self.upstream.serial_map()
        assert isinstance(found, SerialMap)
        await Reconciler(self.log, self.clock, config).run(found, Reason.BACKFILL)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.upstream.close()
        await self.log.close()

    async def published(self) -> dict[str, str]:
        """ETags of what is published, by name."""
        found: dict[str, str] = {}
        for partition in range(PARTITIONS):
            table = await self.log.table(TopicPartition(Topic.STATE, partition))
            for name, row in table.rows.items():
                state = codec.decode(row.value or b"", State)
                if state.published:
                    found[name] = state.etag
        return found

    def truth(self) -> dict[str, str]:
        """The same as upstream has it."""
        lines = self.site.ask("/_control/truth?documents=0").body.splitlines()
        known: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return {each["name"]: each["etag"] for each in known if each["status"] == "ok"}

    async def until_true(self, serial: int) -> None:
        """Until the watermark has reached `serial` and all is as it is upstream."""
        truth = await asyncio.to_thread(self.truth)
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                mark = (await read_progress(self.log)).watermark.serial
                if mark is not None and mark >= serial and await self.published() == truth:
                    return
                await asyncio.sleep(0.2)


@pytest.mark.timeout(600)
async def test_what_is_held_is_true_after_xmlrpc_is_removed_half_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Changes go on before, while it goes, and after; removals too."""
    monkeypatch.setattr(changelog, "INDEX_POLLS", 2)
    chance = Random(seed)  # printed
    log = await SqliteLog.open(tmp_path / "log.sqlite", PARTITIONS)
    with standin(projects=60, changes_per_second=0) as site:
        held = Held(log, site)
        try:
            await held.begin()
            names = sorted(site.served_names())
            for number in range(60):
                if number == 20:
                    site.fault("xmlrpc-gone")
                kind = chance.choice(KINDS)
                name = f"made-up-{number}" if kind == "create" else chance.choice(names)
                site.ask_control("change", {"kind": kind, "project": name})  # 409: suits it not
                await asyncio.sleep(0.05)
            head = site.ask("/simple/", accept="application/vnd.pypi.simple.v1+json").json()
            await held.until_true(head["meta"]["_last-serial"])

            progress = await read_progress(log)
            assert progress.head is not None
            assert progress.head.source is EventSource.INDEX
            made = site.change("release", names[0] if names[0] in held.truth() else None)
            assert made
            head = site.ask("/simple/", accept="application/vnd.pypi.simple.v1+json").json()
            await held.until_true(head["meta"]["_last-serial"])
        finally:
            await held.end()
