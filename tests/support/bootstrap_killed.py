"""Load a dump again and again, killed each time at a later transaction.

python -m tests.support.bootstrap_killed DUMPS FOLDER: FOLDER/1, FOLDER/2, … are data directories as
the kill left them, before a commit and after it in turn; prints how many, when one was not killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pypistream.data_dir import DataDir
from streams.log import Outgoing
from streams.sqlite_log import SqliteLog, SqliteWriter
from tests.support.bootstrap_world import Clock, Own
from tests.support.each_point import killed_at_each_point

POINTS_MAX = 200  # a small dump takes fewer transactions than this
BATCH_RECORDS = 20


def main(dumps: Path, folder: Path) -> int:
    """One child per point; the exit code."""
    return killed_at_each_point(
        POINTS_MAX, lambda point: asyncio.run(_load(dumps, folder / str(point), point))
    )


async def _load(dumps: Path, root: Path, point: int) -> None:
    commit, commits = SqliteWriter.commit, 0

    async def counted(writer: SqliteWriter, records: Sequence[Outgoing], *rest: Any) -> Any:
        nonlocal commits
        commits += 1
        if commits == (point + 1) // 2 and point % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        written = await commit(writer, records, *rest)
        if commits == point // 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return written

    data = DataDir(root)
    data.create()
    log = await SqliteLog.open(data.log, 1)
    with (
        patch.object(SqliteWriter, "commit", counted),
        patch("producers.bootstrap.BATCH_RECORDS_MAX", BATCH_RECORDS),
    ):
        await Own(root, log, Clock()).load(dumps)
    await log.close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
