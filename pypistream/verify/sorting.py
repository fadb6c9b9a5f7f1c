"""Sorts lines with little memory: runs in temporary files, merged when they are read."""

from __future__ import annotations

import heapq
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

from sinks.durable import storage

RUN_BYTES_MAX = 32 * 1024 * 1024  # of lines in memory, where they take about twice that
FILE_BUFFER_BYTES = 256 * 1024  # of each run while all are merged
RUNS_MERGED_MAX = 64  # open files, with 16 MiB of buffers; more runs are merged first


class Sorter:
    """Takes lines in any order and returns them sorted by their bytes; used as `with`.

    Lines end with a newline and have no other. `folder` is where the runs go (None = the system's
    place for temporary files); nothing of them is left. Raises DiskFull, StorageFailed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lines: list[bytes] = []
        self._bytes = 0
        self._runs: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        for run in self._runs:
            run.close()
        self._runs, self._lines = [], []

    def put(self, line: bytes) -> None:
        """Take one line."""
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= RUN_BYTES_MAX:
            self._spill()

    def __iter__(self) -> Iterator[bytes]:
        """All lines in order; afterwards nothing more can be put."""
        self._lines.sort()
        return heapq.merge(*self._runs_read(), self._lines)

    def _spill(self) -> None:
        self._lines.sort()
        lines, self._lines, self._bytes = self._lines, [], 0
        self._write(iter(lines))
        if len(self._runs) >= RUNS_MERGED_MAX:
            merged = heapq.merge(*self._runs_read())
            old, self._runs = self._runs, []
            self._write(merged)
            for run in old:
                run.close()

    def _write(self, lines: Iterator[bytes]) -> None:
        with storage(self._folder or Path(tempfile.gettempdir())):
            run = tempfile.TemporaryFile(dir=self._folder, buffering=FILE_BUFFER_BYTES)  # noqa: SIM115  closed by __exit__
            self._runs.append(run)
            while piece := b"".join(itertools.islice(lines, 10_000)):
                run.write(piece)
            run.flush()

    def _runs_read(self) -> list[IO[bytes]]:
        for run in self._runs:
            run.seek(0)
        return self._runs
