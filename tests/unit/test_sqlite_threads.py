"""A connection whose transaction could not even be ended is not used again."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import LogFull
from schemas.topics import Offset, Topic
from streams.log import Outgoing, TopicPartition
from streams.sqlite_log import SqliteLog

STATES = TopicPartition(Topic.STATE, 0)


class Refusing(sqlite3.Connection):
    """Refuses the statements that begin like `refused`, each once, as a full disk would."""

    refused: list[str] = []  # noqa: RUF012  # of the one test that sets it

    def execute(self, *given: Any) -> Any:
        for beginning in self.refused:
            if given[0].startswith(beginning):
                self.refused.remove(beginning)
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
        return super().execute(*given)


@pytest.fixture(autouse=True)
def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection is one that refuses."""
    real = sqlite3.connect

    def connect(*given: Any, **named: Any) -> sqlite3.Connection:
        return real(*given, **named, factory=Refusing)

    monkeypatch.setattr(sqlite3, "connect", connect)
    monkeypatch.setattr(Refusing, "refused", [])


async def test_a_write_goes_on_after_a_rollback_that_failed(tmp_path: Path) -> None:
    """The next transaction begins on a new connection; nothing of the old one is seen."""
    log = await SqliteLog.open(tmp_path / "log.sqlite")
    record = Outgoing(Topic.STATE, "a", b"{}", (), 0)
    Refusing.refused[:] = ["COMMIT", "ROLLBACK"]
    with pytest.raises(LogFull):
        await log.append([record])

    assert Refusing.refused == []
    assert list(await log.append([record])) == [Offset(0)]
    await log.close()


async def test_a_read_goes_on_after_a_rollback_that_failed(tmp_path: Path) -> None:
    """A reader that is asked next has a connection without a transaction of another's."""
    log = await SqliteLog.open(tmp_path / "log.sqlite")
    await log.append([Outgoing(Topic.STATE, "a", b"{}", (), 0)])
    Refusing.refused[:] = ["ROLLBACK"]

    assert list((await log.table(STATES)).rows) == ["a"]
    assert Refusing.refused == []
    for _ in range(5):
        assert list((await log.table(STATES)).rows) == ["a"]
    await log.close()
