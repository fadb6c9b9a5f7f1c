"""What `status` says of where a log comes from."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from msgspec import structs
from rich.console import Console

from pypistream.data_dir import DataDir
from pypistream.health.status_page import page
from pypistream.health.status_report import HistoryReport, StatusReader, SweepReport
from streams.memory_log import MemoryLog
from streams.sqlite_log import SqliteLog

URL = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("stored", "reported", "shown"),
    [
        ({"upstream": URL, "contact": ""}, URL, URL),
        ({"upstream": "", "contact": "who@example.org"}, "", "PyPI"),
        ({"upstream": "", "contact": ""}, None, None),
        ({}, None, None),
    ],
)
async def test_an_upstream_is_told_only_where_one_is_asked(
    tmp_path: Path, stored: dict[str, object], reported: str | None, shown: str | None
) -> None:
    """A sink's directory knows none: PyPI may be another's upstream, or not."""
    data = DataDir(tmp_path)
    data.create()
    data.store(stored)
    log = await SqliteLog.open(data.log, 1)
    try:
        report = await StatusReader(data, log, brief=True).report()
    finally:
        await log.close()
    printed = StringIO()
    Console(file=printed, width=200).print(page(report))
    rows = [line.split() for line in printed.getvalue().splitlines()]

    assert reported == report.upstream
    assert ([shown] if shown else []) == [row[1] for row in rows if row[0] == "upstream"]


@pytest.mark.parametrize(
    ("history", "said"),
    [
        (HistoryReport(0, 90, asked=False), "every row of the journal since serial 0"),
        (HistoryReport(9000, None, asked=False), "every row after serial 9,000"),
        (
            HistoryReport(9000, None, asked=True),
            "every row after serial 9,000; what was before is asked for",
        ),
        (
            HistoryReport(9000, 60, asked=False),
            "every row after serial 9,000, and of those before 0 to 60 so far",
        ),
        (
            HistoryReport(9000, 5000, asked=False, begun=900),
            "every row after serial 9,000, and of those before 900 to 5,000 so far",
        ),
    ],
)
async def test_how_far_back_the_journal_is_held_is_a_sentence(
    tmp_path: Path, history: HistoryReport, said: str
) -> None:
    """Read by whoever looks at a log that follows another, or that is still reading backwards."""
    log = MemoryLog(1)
    report = await StatusReader(DataDir(tmp_path), log, brief=True).report()
    printed = StringIO()
    Console(file=printed, width=200).print(page(structs.replace(report, history=history)))

    assert f"history    {said}" in printed.getvalue()


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (None, "round 2, begun B: 40 % of 1,000 names, at foo, 3 changes found; a round takes 7 d"),
        (
            "E",
            "round 2, begun B, is through: 400 names looked at, 3 changes found; the next begins",
        ),
    ],
)
async def test_how_far_the_sweep_is_reads_as_a_sentence(
    tmp_path: Path, ended: str | None, said: str
) -> None:
    report = await StatusReader(DataDir(tmp_path), MemoryLog(1), brief=True).report()
    sweep = SweepReport(2, 604_800, "B", ended, 1000, 400, 40.0, 3, "foo", ended)
    printed = StringIO()
    Console(file=printed, width=200).print(page(structs.replace(report, sweep=sweep)))

    assert said in printed.getvalue()
