"""An instance's DuckDB file and its dump with the tables made of that, in a directory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pypistream.data_dir import DataDir
from pypistream.settings import Settings
from pypistream.wiring import make_sink, make_tables
from sinks.duckdb.tables import EXPORTED
from sinks.dump.table_set import TableSets
from sinks.feed import Feed
from streams.log import Log
from tests.support.bootstrap_world import Clock, Other
from tests.support.new_view import plant

PARQUETS = tuple(f"{name}.parquet" for name in EXPORTED)


@dataclass
class Shown:
    """What is published of `log` below `root`."""

    root: Path
    log: Log
    clock: Clock
    tables: TableSets = field(init=False)

    def __post_init__(self) -> None:
        self.data = DataDir(self.root)
        self.data.create()
        plant(self.root)
        self.settings = Settings(data=self.root)
        self.tables = make_tables(self.data, self.settings)

    @property
    def dumps(self) -> Path:
        return self.data.dumps

    def path(self, name: str) -> Path:
        return self.dumps / name

    async def publish(self, *names: str, ask: bool = True) -> None:
        """Bring these sinks to the log's newest cut and publish them; the tables, too, if asked."""
        if ask:
            self.tables.ask()
        for name in names or ("duckdb", "dump"):
            sink = make_sink(name, self.data, self.settings, self.tables)
            async with Feed(
                *(self.log, sink, self.clock),
                publish_every_seconds=0,
                wall_ms=self.clock.now_ms,
            ) as feed:
                assert await feed.finish() is not None


async def some_of_everything(root: Path, clock: Clock, partitions: int = 4) -> Other:
    """An instance with odd, stale, removed and failed projects; nothing is published yet."""
    other = Other(root, partitions, clock=clock)
    await other.found()
    await other.history(900)
    for number in range(12):
        await other.publish_project(
            f"p{number:02}",
            requires_dist=["idna>=3; extra == 'x'", "b", "no requirement at all !"],
            classifiers=["Framework :: Django :: 5.0", "License :: OSI Approved"],
            project_urls={"Home Page": "https://example.org/", "Bug-Tracker": "https://b.example"},
        )
    await other.publish_project("quoted", 'a "quoted", ünïcode\nsummary', version='1,"0"')
    await other.publish_project("odd", classifiers="no list")
    await other.stale("p01")
    await other.remove("p02")
    await other.remove("p03")
    await other.publish_project("p03", "again")
    await other.fail("p04")
    await other.remove("never-held")
    other.clock.ms += 5_250
    await other.remove("p05")
    await other.mark()
    return other
