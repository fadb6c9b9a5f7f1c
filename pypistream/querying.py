"""`pypistream query`: from the command line to the SQL helper beside the snapshot."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from pypistream.data_dir import DataDir
from pypistream.place import located
from pypistream.terminal import ReaderGone, Stdout
from schemas.errors import UsageError
from sinks.query import run_query

WRITE_BYTES = 64 * 1024  # what a pipe takes at once
SQL_CHARACTERS_MAX = 1024 * 1024  # from stdin: more is no query but a mistake


def query(given: Mapping[str, object]) -> int:
    """The command; its exit code."""
    _, data = located({name: given[name] for name in ("data", "config")})
    require_snapshot(data)
    stdout = Stdout()
    format_name = str(given["format"] or ("table" if stdout.terminal else "jsonl"))
    if format_name == "parquet" and stdout.terminal:
        raise UsageError("Parquet is nothing for a terminal", hint="add: > result.parquet")
    sql = _sql(str(given["sql"]))
    gathered = _Gathered(stdout)
    try:
        try:
            run_query(data.snapshot, sql, format_name, gathered)
        finally:
            gathered.flush()  # rows that came before an error are true, too
    except (ReaderGone, KeyboardInterrupt):
        return 0
    return 0


class _Gathered:
    """Rows on their way out: one write a row would cost more than the query."""

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


def require_snapshot(data: DataDir) -> None:
    """Raises UsageError, saying what would make one."""
    data.check()
    if data.snapshot.exists():
        return
    if data.log.exists():
        hint = f"a `pypistream run --data {data.root}` publishes one every --snapshot-every seconds"
    else:
        hint = f"start with `pypistream run --data {data.root}`, or name another --data directory"
    raise UsageError(f"no snapshot in {data.root} yet", hint=hint)


def _sql(text: str) -> str:
    if text != "-":
        return text
    sql = sys.stdin.read(SQL_CHARACTERS_MAX + 1)
    if len(sql) > SQL_CHARACTERS_MAX:
        raise UsageError(f"the SQL on stdin has over {SQL_CHARACTERS_MAX} characters")
    return sql
