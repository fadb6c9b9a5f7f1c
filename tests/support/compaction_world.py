"""A view that reads batches on while its file is rewritten, and what such files hold."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from schemas.topics import Offset, Topic
from sinks.duckdb.compaction import Compaction
from sinks.duckdb.schema import TABLES
from sinks.duckdb.view import DuckDBView
from sinks.sink import Batch, Rewound
from streams.log import Outgoing, Record
from tests.support.new_view import new_view
from tests.support.view_records import (
    CONFIG,
    NOW_MS,
    document,
    entry,
    file,
    gone,
    live,
    metadata,
    positions,
    reach,
    read,
    releases,
    slim,
    state,
)

NAMES = 60
DEADLINE_SECONDS = 60.0
CATALOG = {
    "tables": "SELECT table_name, sql, comment FROM duckdb_tables()",
    "keys": "SELECT table_name, constraint_text FROM duckdb_constraints()",
    "columns": "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal",
    "views": "SELECT view_name, sql, comment FROM duckdb_views() WHERE NOT internal",
    "macros": (
        "SELECT function_name, parameters, macro_definition, comment FROM duckdb_functions()"
        " WHERE NOT internal"
    ),
}


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


class Log:
    """Batches that change, add and remove projects, and a view that reads them on."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.view = new_view(root)
        self.clock = Clock()
        self.view._compaction = Compaction(live(root), self.clock)
        self.rewound = 0
        self.batches: list[list[Record]] = []
        self.removed_share = 0.1
        self._chance = random.Random(seed)
        self._ends: dict[Topic, int] = {}

    def write(self, names: Sequence[str]) -> None:
        """One batch: a journal row and new rows, or a removal, of each."""
        out: list[Outgoing] = []
        for name in names:
            number = len(self.batches) * NAMES + len(out)
            out.append(entry(name, number + 1))
            if self._chance.random() < self.removed_share:
                out += [gone(name), gone(name, topic=Topic.RELEASES), state(name, gone=9)]
                continue
            noise = {"organization": self._chance.randbytes(150).hex()}
            out.append(metadata(name, document(name, f"1.{number}", ownership=noise)))
            files = [file(f"{name}-{i}.tar.gz") for i in range(3)]
            out += [releases(name, slim(name, {"1": files}, "1")), state(name)]
        out.append(metadata("broken", b"{"))
        self.batches.append([self.placed(each) for each in read(out)])

    def placed(self, record: Record) -> Record:
        """At its topic's next offset."""
        place = self._ends.get(record.topic, 0)
        self._ends[record.topic] = place + 1
        return record._replace(offset=Offset(place))

    def some(self) -> None:
        """Of those that are there, and a new one."""
        names = [f"p{self._chance.randrange(NAMES)}" for _ in range(20)]
        self.write([*dict.fromkeys(names), f"new{len(self.batches)}"])

    def catch_up(self, view: DuckDBView | None = None) -> None:
        """Take in all that comes after where the view stands, as a feed does."""
        view = view or self.view
        standing = view.standing().positions
        for records in self.batches:
            ends = positions(records)
            if all(standing.get(at, 0) >= end for at, end in ends.items()):
                continue
            try:
                view.apply(Batch(CONFIG, records, {**standing, **ends}))
            except Rewound:
                self.rewound += 1
                now = view.standing().positions
                assert all(now.get(at, 0) <= place for at, place in standing.items())
                return self.catch_up(view)
            standing = view.standing().positions
        return None

    def publish(self) -> None:
        """At a cut of all that is there."""
        self.catch_up()
        reach(self.view, len(self.batches))
        self.view.publish(NOW_MS)

    def settle(self) -> None:
        """Read on while the file is written anew, and then until that has its place."""
        for _ in range(3):
            self.some()
            self.catch_up()
        child, deadline = self.view._compaction._child, time.monotonic() + DEADLINE_SECONDS
        assert child is not None
        while child.ended() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        before = self.rewound
        self.some()
        self.catch_up()
        assert before + 1 == self.rewound

    def expected(self, root: Path) -> dict[str, list[Any]]:
        """What a view holds that has read all of it and was never written anew."""
        view = new_view(root)
        self.catch_up(view)
        view.close()
        return rows_of(live(root))

    def found(self) -> dict[str, list[Any]]:
        """What this view holds."""
        self.catch_up()
        self.view.close()
        return rows_of(live(self.root))


def rows_of(path: Path) -> dict[str, list[Any]]:
    """All that a live file holds but for notes: rows, what it says of tables, views and macros."""
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = {
            table.name: sorted(connection.execute(f"FROM {table.path}").fetchall(), key=repr)
            for table in TABLES
        }
        told = {
            name: sorted(connection.execute(question).fetchall(), key=repr)
            for name, question in CATALOG.items()
        }
        assert all(told.values())
        return rows | told
