"""A DuckDB sink whose files may not grow, until they may: `DIR`. Exit 0 if nothing was lost."""

from __future__ import annotations

import random
import resource
import signal
import sys
from pathlib import Path

from schemas.errors import DiskFull
from sinks.duckdb.view import DuckDBView
from streams.log import Record
from tests.support.view_records import NOW_MS, document, metadata, query, reach, read, take

ROOM_BYTES = 300_000  # beyond what the first publication took
ROWS, TURNS = 100, 12


def limit(size: int) -> None:
    """No file may become longer than this."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def batch(first: int, noise: random.Random) -> list[Record]:
    """0.4 MB that do not compress well."""
    names = [f"p{first + i}" for i in range(ROWS)]
    bulk = [{"organization": noise.randbytes(2000).hex()} for _ in names]
    rows = [
        metadata(name, document(name, ownership=each))
        for name, each in zip(names, bulk, strict=True)
    ]
    return read(rows, first=first)


def publish(view: DuckDBView) -> None:
    """Publish what it stands at."""
    reach(view)
    view.publish(NOW_MS)


def main(root: Path) -> None:
    """Fill the room, be refused, see what is published stay, heal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    view = DuckDBView.in_directory(root)
    path = root / "pypi.duckdb"
    noise = random.Random(1)
    take(view, read([metadata("first", document("first"))]))
    publish(view)
    limit(path.stat().st_size + ROOM_BYTES)
    refused = {"batch": 0, "publication": 0}
    batches = [batch(1 + turn * ROWS, noise) for turn in range(TURNS)]
    taken = 0
    for _ in range(TURNS):
        try:
            take(view, batches[taken])
            taken += 1
        except DiskFull:
            refused["batch"] += 1
        try:
            publish(view)
        except DiskFull:
            refused["publication"] += 1
        assert query(path, "SELECT count(*) AS n FROM projects")[0]["n"] >= 1
    assert all(refused.values()), refused
    limit(resource.RLIM_INFINITY)
    for records in batches[taken:]:
        take(view, records)
    publish(view)
    view.close()
    expected = 1 + ROWS * TURNS
    assert query(path, "SELECT count(*) AS n FROM projects") == [{"n": expected}]
    sys.stdout.write(f"ok, refused {refused}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
