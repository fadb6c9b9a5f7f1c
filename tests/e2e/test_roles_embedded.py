"""`produce` and `process` apart on the embedded log: two processes of one data directory."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pypistream.data_dir import DataDir
from streams.sqlite_log import SqliteLog
from tests.support.history import assert_history
from tests.support.kafka_roles import all_true
from tests.support.process import command, started
from tests.support.standin import standin
from tests.support.world_changes import rest
from upstream.standin.settings import StandinSettings

QUICK = ("--rate", "0", "--settle", "0.3")


@pytest.mark.timeout(180)
async def test_two_processes_share_one_directory(tmp_path: Path, seed: int) -> None:
    """In any order, one of each and no more; what they write is what one `run` would."""
    settings = StandinSettings(projects=150, seed=seed % 1000, sizes="small", changes_per_second=10)
    data = tmp_path / "data"
    with standin(settings) as site:
        where = ("--data", str(data), "--upstream", site.url)
        with (
            started("process", *where, *QUICK, cwd=tmp_path, name="process") as worker,
            started("produce", *where, "--poll", "1", cwd=tmp_path, name="produce") as producer,
        ):
            worker.until(lambda: "partitions 0 of 1" in worker.text(), 40, "line")
            for role in ("produce", "process"):
                second = command(role, *where, cwd=tmp_path)
                assert second.returncode == 1
                assert f"holds the role '{role}'" in second.stderr
            asked = command("backfill", *where, cwd=tmp_path)
            assert asked.returncode == 0, asked.stderr
            rest(site)
            log = await SqliteLog.open(DataDir(data).log, create=False)
            try:
                await all_true(log, site, 60)
                assert worker.stop(signal.SIGTERM) == 0, worker.text()
                assert producer.stop(signal.SIGTERM) == 0, producer.text()
                await assert_history(log, site.control("journal"), dense=False)
            finally:
                await log.close()
