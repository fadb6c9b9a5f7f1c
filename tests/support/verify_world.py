"""A small log with its snapshot and dump, true to a stand-in; and ways to spoil each of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path

import duckdb
import zstandard
from msgspec.structs import replace

from processors.decide import Patience
from pypistream.children.publishing import publish_now
from pypistream.data_dir import DataDir
from pypistream.verify.command import Wanted, verified
from pypistream.verify.report import VerifyReport
from schemas import codec
from schemas.records import Ask, Cut, Reason, State, Status
from schemas.topics import COMPACTED, Offset, Topic
from streams.log import Outgoing, Record, TopicPartition
from streams.progress import read_progress
from tests.support.in_process import in_process
from tests.support.new_view import plant
from tests.support.published import decompressed
from tests.support.reading_world import progress
from tests.support.standin import Site
from tests.support.where import Where

QUICK = Patience(
    schedule_seconds=(0.05, 0.1),
    missing_proof_seconds=0.3,
    arrival_grace_seconds=0.1,
    absent_again_seconds=0.1,
)
SNAPSHOT = "pypi.duckdb"


@dataclass(frozen=True)
class World:
    """A data directory made from the stand-in at `site`."""

    site: Site
    data: Path
    where: Where

    def copied(self, data: Path) -> World:
        """The same, in a directory of its own; what was one file under two names is one again."""
        copies: dict[int, str] = {}

        def copy(one: str, other: str) -> None:
            if first := copies.get(Path(one).stat().st_ino):
                Path(other).hardlink_to(first)
                return
            copies[Path(one).stat().st_ino] = other
            shutil.copy2(one, other)

        shutil.copytree(self.data, data, copy_function=copy)
        return replaced(self, data=data)

    async def work(self) -> None:
        """Process until nothing is owed that patience settles; then nobody runs."""
        async with in_process(self.site, self.data, QUICK, self.where) as running:
            pipeline = running.pipeline
            await running.until(
                lambda: pipeline.caught_up() and _at_rest(running.states.values()), "rest"
            )

    async def publish(self) -> None:
        """Bring snapshot and dump up to the log's cut."""
        given = {"data": self.data, "partitions": self.where.partitions}
        for sink in ("duckdb", "dump"):
            assert await asyncio.to_thread(publish_now, given, sink) == 0

    async def verify(self, *, upstream: bool = True, repair: bool = False) -> VerifyReport:
        """What the command would find."""
        settings = self.where.settings(self.data, upstream=self.site.url)
        async with self.where.log(self.data) as log:
            wanted = Wanted(settings, DataDir(self.data), upstream=upstream, repair=repair)
            return await verified(log, wanted)

    async def newest(self, topic: Topic) -> dict[str, Record]:
        """The last record per name of a compacted topic."""
        rows: dict[str, Record] = {}
        async with self.where.log(self.data) as log:
            for partition in range(log.partitions):
                rows |= (await log.table(TopicPartition(topic, partition))).rows
        return rows

    async def asks(self) -> dict[str, Ask]:
        """Asks that nobody has read yet, by name, but those of the sweep."""
        found: dict[str, Ask] = {}
        async with self.where.log(self.data) as log:
            cuts = (await read_progress(log)).cuts
            places = [Offset(cut.refetch if cut else 0) for cut in cuts]
            at = {TopicPartition(Topic.REFETCH, n): place for n, place in enumerate(places)}
            reader = await log.reader(at)
            for record in await reader.read(10_000, 0.1):
                if record.key is not None and record.value is not None:
                    ask = codec.decode(record.value, Ask)
                    if ask.reason is not Reason.SWEEP:
                        found[record.key] = ask
            await reader.close()
        return found

    async def plant(self, *records: Outgoing) -> None:
        """Write into the compacted topics what no worker wrote, and a cut behind it."""
        async with self.where.log(self.data) as log:
            await log.append(records)
            ends = {topic: await log.ends(topic) for topic in COMPACTED}
            cuts = (await read_progress(log)).cuts
            now = 1_800_000_000
            await log.append(
                [
                    progress("p", _moved(cut, ends, partition), partition, now)
                    for partition, cut in enumerate(cuts)
                    if cut is not None
                ]
            )


def _at_rest(states: Iterable[State]) -> bool:
    """No attempt is to come, nor a first fetch."""
    return not any(state.next_ms or state.status is Status.PENDING for state in states)


Ends = Mapping[Topic, Mapping[TopicPartition, Offset]]


def _moved(cut: Cut, ends: Ends, partition: int) -> Cut:
    """The cut at the ends of the compacted topics."""
    places = {t.value: int(ends[t][TopicPartition(t, partition)]) for t in COMPACTED}
    return replace(cut, **places)


async def make(site: Site, data: Path, partitions: int) -> World:
    """Backfill from the stand-in, settle everything, publish both."""
    plant(data)
    world = World(site, data, Where(partitions))
    await world.work()
    await world.publish()
    return world


def outgoing(record: Record, value: bytes | None) -> Outgoing:
    """A record as another one was, with another value."""
    return Outgoing(record.topic, record.key, value, record.headers)


def in_snapshot(data: Path, *statements: str) -> None:
    """Change the published DuckDB file behind its sink's back."""
    with duckdb.connect(str(data / SNAPSHOT)) as connection:
        for statement in statements:
            connection.execute(statement)


def in_dump(
    data: Path, file: str, change: Callable[[list[bytes]], list[bytes]], *, told: bool
) -> None:
    """Change the lines of a dump's file; `told`: the manifest is made to fit."""
    current = json.loads((data / "dumps/manifest.json").read_bytes())
    folder = data / "dumps/.versions" / current["version"]
    lines = change(decompressed((folder / file).read_bytes()).splitlines(keepends=True))
    plain = b"".join(lines)
    raw = zstandard.ZstdCompressor(write_checksum=True, write_content_size=True).compress(plain)
    (folder / file).unlink()  # it may be a link to the sink's own
    (folder / file).write_bytes(raw)
    if told:
        current["files"][file] = {
            "bytes": len(raw),
            "sha256": hashlib.sha256(raw).hexdigest(),
            "rows": len(lines),
            "uncompressed_bytes": len(plain),
        }
        for place in (folder, data / "dumps"):
            (place / "manifest.json").unlink()
            (place / "manifest.json").write_text(json.dumps(current))


def found(report: VerifyReport, *whys: str) -> set[tuple[str, str, str]]:
    """Name, side and reason of what a report names, of these reasons or of all."""
    return {
        (each.name, each.side, each.why) for each in report.named if not whys or each.why in whys
    }
