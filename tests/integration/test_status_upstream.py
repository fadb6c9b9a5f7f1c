"""What `status` says of where a log comes from."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from pypistream.data_dir import DataDir
from pypistream.health.status_page import page
from pypistream.health.status_report import StatusReader
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
