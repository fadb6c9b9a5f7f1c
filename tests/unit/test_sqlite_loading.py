"""A log that is only being loaded: which of its transactions wait for the disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import Topic
from streams.log import Outgoing
from streams.sqlite_log import SqliteLog

RECORD = Outgoing(Topic.STATE, "a", b"{}", (), 0)
CLOSING = Outgoing(Topic.PROGRESS, "cut", b"{}", (), 0)
NORMAL, FULL = 1, 2  # of PRAGMA synchronous


class Noting(sqlite3.Connection):
    """Notes how each transaction is committed."""

    noted: list[int] = []  # noqa: RUF012  of the one test that sets it

    def execute(self, *given: Any) -> Any:
        if given[0] == "COMMIT":
            [(level,)] = super().execute("PRAGMA synchronous").fetchall()
            self.noted.append(level)
        return super().execute(*given)


@pytest.fixture(autouse=True)
def noting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection is one that notes."""
    real = sqlite3.connect

    def connect(*given: Any, **named: Any) -> sqlite3.Connection:
        return real(*given, **named, factory=Noting)

    monkeypatch.setattr(sqlite3, "connect", connect)
    monkeypatch.setattr(Noting, "noted", [])


@pytest.mark.parametrize(
    ("loading", "expected"), [(False, [FULL] * 4), (True, [NORMAL, NORMAL, FULL, NORMAL])]
)
async def test_the_one_that_makes_a_load_whole_waits_for_the_disk(
    tmp_path: Path, expected: list[int], *, loading: bool
) -> None:
    """What came before it lies before it in the same file: it is on the disk, too, from then on."""
    log = await SqliteLog.open(tmp_path / "log.sqlite", loading=loading)
    writer = await log.writer("w")
    Noting.noted.clear()
    await writer.commit([RECORD])
    await writer.commit([RECORD])
    await writer.commit([RECORD], lambda _: [CLOSING])
    await writer.commit([RECORD])
    await log.close()

    assert expected == Noting.noted
