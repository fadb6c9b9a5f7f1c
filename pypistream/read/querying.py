"""`pypistream query`: from the command line to the SQL helper beside the snapshot."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from threading import Thread

from pypistream.cli import EXIT_INTERRUPTED
from pypistream.data_dir import DataDir
from pypistream.place import located
from pypistream.roles import holders
from pypistream.stopping import ending
from pypistream.terminal import ReaderGone, Stdout
from schemas.errors import UsageError
from sinks.duckdb.query import run_query

WRITE_BYTES = 64 * 1024  # what a pipe takes in one write
SINK_ROLE = "sink-duckdb"  # of the process that publishes the snapshot
SQL_CHARACTERS_MAX = 1024 * 1024  # from stdin: more must be a mistake


def query(given: Mapping[str, object]) -> int:
    """The command; its exit code."""
    settings, data = located(given)
    require_snapshot(data, kafka=bool(settings.kafka))
    stdout = Stdout()
    format_name = str(given["format"] or ("table" if stdout.terminal else "jsonl"))
    if format_name == "parquet" and stdout.terminal:
        raise UsageError("Parquet cannot be shown on a terminal", hint="add: > result.parquet")
    sql = _sql(str(given["query"]))
    with tempfile.TemporaryDirectory(prefix="pypistream-") as scratch:
        tempfile.tempdir = scratch  # where Parquet is assembled, so that nothing is left behind
        _end_on_signals(Path(scratch))
        return _answer(data, sql, format_name, stdout)


def _answer(data: DataDir, sql: str, format_name: str, stdout: Stdout) -> int:
    gathered = _Gathered(stdout)
    try:
        try:
            run_query(data.snapshot, sql, format_name, gathered)
        finally:
            gathered.flush()  # rows that came before an error are right, too
    except ReaderGone:
        return 0
    return 0


def _end_on_signals(scratch: Path) -> None:
    """End this process at once on Ctrl-C, SIGTERM or SIGHUP, also in the middle of a long query.

    DuckDB handles signals itself, but may wait for its own threads for ever after it has seen one
    (2.0.0). So none may reach it: they are blocked, and a thread of ours waits for them. Nothing is
    lost by this end, since the snapshot is only read. The exit code is 130, because half an answer
    is no success.
    """
    numbers = ending()
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # DuckDB's threads inherit this

    def wait() -> None:
        signal.sigwait(numbers)
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(EXIT_INTERRUPTED)

    Thread(target=wait, name="signals", daemon=True).start()


class _Gathered:
    """Collects rows for larger writes: one write per row would cost more than the query."""

    def __init__(self, stdout: Stdout) -> None:
        self._stdout = stdout
        self._held = bytearray()

    def write(self, piece: bytes) -> None:
        self._held += piece
        if len(self._held) >= WRITE_BYTES:
            self.flush()

    def flush(self) -> None:
        held, self._held = bytes(self._held), bytearray()
        self._stdout.write(held)


def require_snapshot(data: DataDir, *, kafka: bool) -> None:
    """Raise UsageError if there is no snapshot, saying how to make one."""
    data.check()
    if data.snapshot.exists():
        return
    if kafka:
        hint = f"`pypistream sink duckdb --data {data.root}` makes one from the log on Kafka"
    elif any(holder.role == SINK_ROLE for holder in holders(data)):
        hint = "a process here publishes one every --snapshot-every seconds: ask again in a moment"
    elif data.log.exists():
        hint = (
            f"`pypistream rebuild duckdb --data {data.root}` makes one from the log, without asking"
            " upstream; a `pypistream run` publishes one as well"
        )
    else:
        hint = f"start with `pypistream run --data {data.root}`, or name another --data directory"
    raise UsageError(f"no snapshot in {data.root} yet", hint=hint)


def _sql(text: str) -> str:
    if text != "-":
        return text
    sql = sys.stdin.read(SQL_CHARACTERS_MAX + 1)
    if len(sql) > SQL_CHARACTERS_MAX:
        raise UsageError(
            f"the SQL on stdin has over {SQL_CHARACTERS_MAX} characters",
            hint="ask in several queries; the published file opens in DuckDB itself, too",
        )
    return sql
