"""kill -9 at random moments: nothing is lost, nothing comes twice, nothing goes back.

`make kills` makes fifty of them (PYPISTREAM_TEST_KILLS); a plain run six.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support import view_oracle
from tests.support.history import assert_history
from tests.support.process import Program, command, started
from tests.support.published import (
    assert_journal_once,
    assert_none,
    drop_in_differences,
    dump_differences,
    query,
    read_dump,
    truths,
    view_differences,
)
from tests.support.schema_check import assert_log_valid
from tests.support.standin import Running, standin
from tests.support.where import Where, embedded, on_kafka, placed
from tests.support.world_changes import rest
from upstream.standin.settings import StandinSettings

KILLS = int(os.environ.get("PYPISTREAM_TEST_KILLS", "6"))
KILLS_ON_KAFKA = max(3, KILLS // 3)  # each takes ten seconds more
EMBEDDED_PARTITIONS = (1, 4)[int(os.environ["PYPISTREAM_SEED"]) % 2]
LIFE_SECONDS = (0.6, 3.0)  # before a kill: from before the log is open to amid publications
# Of the kills these wait until the workers are at work: on a busy machine they start slowly, and on
# Kafka the group waits out the session of those killed before.
AT_WORK_SHARE = 0.5
AT_WORK, AT_WORK_SECONDS_MAX = "  projects ", 60.0  # the line is there from a worker's start on
PROJECTS_EACH = 60  # so many a kill: the backfill is still going on at the last one
FETCHES_PER_SECOND = 60
CHANGES_PER_SECOND = 6.0
VICTIMS = {"all": 6, "parent": 3, "children": 2}  # how often which process is killed
PLACES = ("changelog", "refetch", "metadata", "releases", "state")
QUICK = ("--poll", "1", "--settle", "0.3", "--snapshot-every", "1", "--dump-every", "1")


@dataclass
class Murders:
    """Kills the program again and again, and looks at what is published in between."""

    site: Running
    data: Path
    chance: random.Random
    where: Where
    made: list[str] = field(default_factory=list)
    at_work: int = 0
    watermarks: list[int] = field(default_factory=list)
    vectors: list[list[dict[str, int] | None]] = field(default_factory=list)

    def arguments(self, *more: str) -> tuple[str, ...]:
        return (
            *("run", "--data", str(self.data), "--upstream", self.site.url, "--backfill"),
            *(*self.where.options, *QUICK, *more),
        )

    def go_on(self, kills: int) -> None:
        """So many kills; a killed program is started again with the same command."""
        while len(self.made) < kills:
            with self._running() as program:
                while program.alive and len(self.made) < kills:
                    self._one(program)
            self._look()

    @contextmanager
    def _running(self) -> Iterator[Program]:
        arguments = self.arguments("--rate", str(FETCHES_PER_SECOND))
        name = f"said-{len(self.made)}"
        with started(*arguments, cwd=self.data.parent, name=name) as program:
            yield program

    def _one(self, program: Program) -> None:
        if self.chance.random() < AT_WORK_SHARE or not self.made:
            program.until(lambda: AT_WORK in program.text(), AT_WORK_SECONDS_MAX, "worker")
            self.at_work += 1
        time.sleep(self.chance.uniform(*LIFE_SECONDS))
        assert program.alive, program.text()
        [victim] = self.chance.choices(list(VICTIMS), list(VICTIMS.values()))
        if victim == "children":
            program.kill_children()
        elif victim == "parent":
            program.process.kill()
            program.process.wait()
        else:
            program.kill()
        self.made.append(victim)

    def _look(self) -> None:
        """Whatever is published now is whole, and no older than what was published before."""
        if (self.data / "dumps" / "manifest.json").exists():
            manifest = read_dump(self.data).manifest
            self.vectors.append(manifest["vector"])
        if (self.data / "pypi.duckdb").exists():
            sql = "SELECT coalesce(watermark, 0) FROM progress"
            self.watermarks.append(query(self.data / "pypi.duckdb", sql)[0][0])


@pytest.fixture(params=[embedded(EMBEDDED_PARTITIONS), on_kafka(4)])
def where(request: pytest.FixtureRequest) -> Iterator[Where]:
    with placed(request) as found:
        yield found


@pytest.mark.timeout(600)
async def test_killed_at_any_moment(where: Where, tmp_path: Path, seed: int) -> None:
    """During a backfill with live changes; then everything is as after an undisturbed run."""
    chance, kills = random.Random(seed), KILLS if where.embedded else KILLS_ON_KAFKA
    settings = StandinSettings(
        projects=PROJECTS_EACH * kills,
        seed=seed % 1000,
        sizes="small",
        changes_per_second=CHANGES_PER_SECOND,
    )
    data, undisturbed = tmp_path / "data", tmp_path / "undisturbed"
    with standin(settings) as site:
        site.fault("serial-back", share=0.1)
        site.fault("stale", share=0.2, lag_seconds=2)
        murders = Murders(site, data, chance, where)
        murders.go_on(kills)
        site.heal()
        rest(site)
        _once(murders.arguments("--rate", "0"), tmp_path)
        fresh = Murders(site, undisturbed, chance, where.another("undisturbed"))
        _once(fresh.arguments("--rate", "0"), tmp_path)
        truth = truths(site.ask("/_control/truth").body)
        journal = site.control("journal?since=0")

    sys.stdout.write(f"kills: {murders.made}, {murders.at_work} at work, {where}\n")
    dump = read_dump(data)
    assert_none(dump_differences(dump, truth))
    assert_none(drop_in_differences(dump))
    assert_none(view_differences(data / "pypi.duckdb", truth, dump.exceptions))
    assert_same(data, undisturbed)
    assert_never_back(murders)
    async with where.log(data) as log:
        counts, base = await assert_history(log, journal, dense=where.embedded)
        assert assert_journal_once(data / "pypi.duckdb", journal, base)
        assert counts["metadata"] >= len(dump.packages) > 0.75 * settings.projects
        assert await assert_log_valid(log) == counts.total()


def assert_never_back(murders: Murders) -> None:
    """What was published between two kills never lies behind what was published before."""
    assert murders.watermarks == sorted(murders.watermarks)
    for before, after in pairwise(murders.vectors):
        for old, new in zip(before, after, strict=True):
            assert old is None or (new is not None and all(old[at] <= new[at] for at in PLACES))


def _once(arguments: tuple[str, ...], cwd: Path) -> None:
    ended = command(*arguments, "--once", "--once-wait", "2", cwd=cwd, seconds_max=120)
    assert ended.returncode == 0, ended.stderr


def assert_same(left: Path, right: Path) -> None:
    """Both dumps and both DuckDB files have the same projects, but for what either is owed."""
    dumps = read_dump(left), read_dump(right)
    owed = dumps[0].exceptions.keys() | dumps[1].exceptions.keys()
    documents = [
        {name: line["document"] for name, line in dump.packages.items() if name not in owed}
        for dump in dumps
    ]
    assert documents[0] == documents[1]
    for sql in view_oracle.QUERIES.values():
        rows = [
            Counter(row for row in query(root / "pypi.duckdb", sql) if row[0] not in owed)
            for root in (left, right)
        ]
        assert rows[0] == rows[1], sql
