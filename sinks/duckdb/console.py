"""Runs a stranger's SQL on the published snapshot: `python -m sinks.duckdb.console`.

There is a process for each query. DuckDB bounds neither the memory of its string functions nor the
time of anything (an interrupt may take half a minute), so the system bounds a query, and a kill
ends it: `sinks.duckdb.process` starts this program and kills it. The steps in here, in order: a
network namespace that leads nowhere (where the system allows it), the snapshot under a name that
reveals nothing about the machine, DuckDB locked down as for every reader, the limits, the check of
the statement, the query.

It reads the SQL from stdin, and writes a line of JSON (`Told`) and the rows to stdout.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import msgspec

from schemas.errors import NotPublished, PypistreamError, QueryFailed
from sinks.duckdb.errors import meaning
from sinks.duckdb.literals import literal
from sinks.duckdb.process import (
    BYTES_MAX,
    CSV,
    NO_PARQUET,
    PARQUET,
    ROWS_MAX,
    SQL_CHARACTERS_MAX,
    Bounds,
    Told,
)
from sinks.duckdb.query import csv_cell, csv_lines, dumped
from sinks.duckdb.query_session import Answer, answer_of, check, failing
from sinks.duckdb.snapshot import LOCKED_DOWN, READER_CONFIG, Config

MEMORY_LIMIT = "512MB"  # what DuckDB counts itself; it says so where RLIMIT_AS would only kill
STDOUT, STDOUT_PATH = 1, "/dev/stdout"
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@contextlib.contextmanager
def console(
    path: Path, scratch: Path, *, writable: str = ""
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that can read only the snapshot; `writable`: the one path it may write.

    DuckDB shows the path of an open database to any query. So it opens the descriptor of a link
    that is already removed: the path does not contain `scratch`, where the link was. Raises
    NotPublished, ViewCorrupt.
    """
    descriptor = _anonymous(path, scratch)
    config: Config = {**READER_CONFIG, "memory_limit": MEMORY_LIMIT, "threads": 1}
    with closing(duckdb.connect(":memory:", config=config)) as connection:
        try:
            connection.execute(f"ATTACH '/dev/fd/{descriptor}' AS pypi (READ_ONLY)")
            connection.execute("USE pypi")
            if writable:
                connection.execute("SET allowed_paths = ?", [[writable]])
            for statement in LOCKED_DOWN:
                connection.execute(statement)
        except duckdb.Error as error:
            raise meaning(error, path) from error
        finally:
            os.close(descriptor)
        yield connection


def _anonymous(path: Path, scratch: Path) -> int:
    link = scratch / f".console-{secrets.token_hex(8)}"
    try:
        os.link(path, link)
    except FileNotFoundError:
        raise NotPublished("no snapshot is published yet", hint="ask again in a minute") from None
    try:
        return os.open(link, os.O_RDONLY)
    finally:
        link.unlink()


def apart() -> None:
    """Leave the machine's network, and end with the parent, where the system supports that."""
    os.chdir("/")  # the current directory, where relative paths would be looked for
    library = ctypes.CDLL(None)
    if hasattr(library, "unshare"):
        library.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)  # refused in some containers
    if hasattr(library, "prctl"):
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def bound(bounds: Bounds) -> None:
    """Limit this process to what a query needs: no new process or thread, no file written."""
    signal.setitimer(signal.ITIMER_REAL, bounds.wall_seconds + 1)  # in case nobody kills us
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CPU: bounds.cpu_seconds,
        resource.RLIMIT_AS: bounds.memory_bytes,
    }
    for limit, most in limits.items():
        resource.setrlimit(limit, (most, most))


def answer(connection: duckdb.DuckDBPyConnection, sql: str, format_name: str) -> tuple[Told, bytes]:
    """The rows as JSON or CSV, as many as fit. Raises QueryFailed."""
    with failing(MEMORY_LIMIT):
        check(connection, sql, SQL_CHARACTERS_MAX)
    found = answer_of(connection, sql, MEMORY_LIMIT)
    if format_name == CSV:
        lines = (csv_lines([map(csv_cell, row)]) for row in _rows(found))
        truncated, body = _bounded(csv_lines([map(csv_cell, found.columns)]), lines, "")
        return Told(truncated=truncated), body
    head = f'{{"columns":{dumped(list(found.columns))},"rows":['
    lines = (dumped(list(row)) for row in _rows(found))
    truncated, body = _bounded(head, lines, ",\n")
    return Told(truncated=truncated), body + b"]"


def _rows(found: Answer) -> Iterator[tuple[object, ...]]:
    for rows in found.pieces:
        yield from rows


def _bounded(head: str, lines: Iterator[str], between: str) -> tuple[str, bytes]:
    """The lines that fit, and the limit that cut the others off; "" = there are no others."""
    body = bytearray(head.encode("utf-8", "replace"))
    for number, line in enumerate(lines):
        if number == ROWS_MAX:
            return "rows", bytes(body)
        raw = ((between if number else "") + line).encode("utf-8", "replace")
        if len(body) + len(raw) > BYTES_MAX:
            return "bytes", bytes(body)
        body += raw
    return "", bytes(body)


def _parquet(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Let DuckDB write the rows to stdout, a pipe, so no file is written. Raises QueryFailed."""
    with failing(MEMORY_LIMIT):
        check(connection, sql, SQL_CHARACTERS_MAX)
        # `query` takes the text as a value: nothing in it can end this statement.
        found = f"FROM query({literal(sql)}) LIMIT {ROWS_MAX + 1}"
        connection.execute(f"CREATE TEMP TABLE answer AS {found}")
        rows = connection.execute("SELECT count(*) FROM temp.answer").fetchall()[0][0]
        _write(msgspec.json.encode(Told(truncated="rows" if rows > ROWS_MAX else "")) + b"\n")
        try:
            connection.execute(
                f"COPY (FROM temp.answer LIMIT {ROWS_MAX}) TO '{STDOUT_PATH}' (FORMAT parquet)"
            )
        except duckdb.Error:
            sys.exit(NO_PARQUET)  # the first line, which promises rows, is written already


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(STDOUT, view) :]


def main(path: str, scratch: str, format_name: str, bounds: str) -> None:
    """Answer the SQL on stdin. Ends with a `Told`, or by a signal."""
    apart()
    writable = STDOUT_PATH if format_name == PARQUET else ""
    body = b""
    try:
        with console(Path(path), Path(scratch), writable=writable) as connection:
            sql = sys.stdin.buffer.read().decode("utf-8", "replace")
            bound(msgspec.json.decode(bounds, type=Bounds))
            if format_name == PARQUET:
                _parquet(connection, sql)
                return
            told, body = answer(connection, sql, format_name)
    except MemoryError:
        told = Told("the query needs more memory than it may have", "ask for fewer or smaller rows")
    except (QueryFailed, NotPublished) as error:
        told = Told(str(error), error.hint)
    except PypistreamError:
        told = Told("the snapshot cannot be read", "ask again in a minute")
    _write(msgspec.json.encode(told) + b"\n" + body)


if __name__ == "__main__":
    main(*sys.argv[1:])
