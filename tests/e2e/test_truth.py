"""After a backfill with live changes, what is published is what is true upstream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.process import Program, command, started, status
from tests.support.published import (
    Dump,
    Truth,
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

PROJECTS = {1: 600, 4: 250, 12: 250}  # by partitions; a quarter has an oddity: 250 have each once
PROJECTS_ON_KAFKA = 250
CHANGES_PER_SECOND = 20.0
LIVE_ROWS_MIN = 100
QUICK = ("--rate", "0", "--poll", "1", "--settle", "0.3", "--snapshot-every", "1")
EXPLAINED = {
    "stale",  # a row under an earlier spelling: `last_serial` never reaches it
    "missing",  # a 404 that nothing proves yet: five minutes have not passed
}


@dataclass(frozen=True)
class Ended:
    """A data directory after a backfill and a last `--once`, with the truth of that moment."""

    where: Where
    data: Path
    truth: dict[str, Truth]
    journal: list[list[object]]
    dump: Dump
    said: str

    @property
    def snapshot(self) -> Path:
        return self.data / "pypi.duckdb"

    @property
    def base(self) -> int:
        """The serial the log starts at: the low mark of the backfill's map."""
        return int(self.dump.manifest["vector"][0]["low"])


@pytest.fixture(scope="module", params=[*map(embedded, PROJECTS), *map(on_kafka, PROJECTS)])
def where(request: pytest.FixtureRequest) -> Iterator[Where]:
    with placed(request) as found:
        yield found


@pytest.fixture(scope="module")
def ended(where: Where, tmp_path_factory: pytest.TempPathFactory, seed: int) -> Ended:
    """Backfill while the journal lives, stop both, catch up with `--once`."""
    root = tmp_path_factory.mktemp("truth")
    data = root / "data"
    settings = StandinSettings(
        projects=PROJECTS[where.partitions] if where.embedded else PROJECTS_ON_KAFKA,
        seed=seed % 1000,
        changes_per_second=CHANGES_PER_SECOND,
    )
    with standin(settings) as site:
        arguments = ("run", "--data", str(data), *where.options, "--upstream", site.url)
        with started(*arguments, *QUICK, "--backfill", cwd=root) as program:
            _live_backfill(site, program, data)
            assert program.stop() == 0, program.text()
        last = command(*arguments, *QUICK, "--once", "--once-wait", "1", cwd=root)
        assert last.returncode == 0, last.stderr
        return Ended(
            where,
            data,
            truths(site.ask("/_control/truth").body),
            site.control("journal?since=0"),
            read_dump(data),
            last.stderr,
        )


def _live_backfill(site: Running, program: Program, data: Path) -> None:
    """Until the watermark is there and enough was changed; then upstream comes to rest."""
    base = site.control("serial")["serial"]
    program.until((data / "pypi.duckdb").exists, 60, "snapshot")
    program.until(lambda: status(data)["watermark"], 60, "watermark")
    program.until(
        lambda: len(site.control(f"journal?since={base}")) >= LIVE_ROWS_MIN, 60, "changes"
    )
    rest(site)


def test_the_dump_is_the_truth(ended: Ended) -> None:
    """Every document trimmed, every release in slim form, every name's state."""
    assert_none(dump_differences(ended.dump, ended.truth))
    assert len(ended.dump.packages) > 0.75 * len(ended.truth)


def test_the_duckdb_file_is_the_truth(ended: Ended) -> None:
    """Every row of every view, by an oracle that reads the same documents."""
    assert_none(view_differences(ended.snapshot, ended.truth, ended.dump.exceptions))
    names = {name for (name,) in query(ended.snapshot, "SELECT name FROM projects")}
    assert names == ended.dump.packages.keys()


def test_the_drop_in_is_read_as_repology_reads_it(ended: Ended) -> None:
    assert_none(drop_in_differences(ended.dump))


def test_exceptions_are_few_and_named(ended: Ended) -> None:
    """Each for a reason that waiting alone mends; those not absent once are named at the end."""
    owed = {
        name: state for name, state in ended.dump.exceptions.items() if state["status"] != "absent"
    }
    assert {state["reason"].partition(":")[0] for state in owed.values()} <= EXPLAINED
    assert len(owed) < len(ended.truth) / 5
    if owed:
        assert f"{len(owed)} exceptions:" in ended.said
    named = [line.split(":")[0].strip() for line in ended.said.splitlines()]
    assert len(owed.keys() & set(named)) == min(len(owed), 20)


def test_every_journal_row_is_in_changelog_once(ended: Ended) -> None:
    """From the serial on at which the log starts."""
    assert assert_journal_once(ended.snapshot, ended.journal, ended.base) >= LIVE_ROWS_MIN


def test_dump_and_snapshot_claim_the_same(ended: Ended) -> None:
    """One cut for all, and the watermark is the last serial that a marker promises."""
    manifest = ended.dump.manifest
    sql = "SELECT watermark, base, exceptions FROM progress"
    [(watermark, base, exceptions)] = query(ended.snapshot, sql)
    head = max(int(str(row[4])) for row in ended.journal)

    assert manifest["watermark"] == watermark <= head
    assert manifest["base"] == base == 0
    assert sum(manifest["exceptions"]["counts"].values()) == exceptions


async def test_every_record_keeps_to_the_schemas(ended: Ended) -> None:
    async with ended.where.log(ended.data) as log:
        assert await assert_log_valid(log) > 3 * len(ended.dump.packages)
