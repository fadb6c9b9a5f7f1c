"""`run_query`: SQL on the published snapshot, as a table, JSON, JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Protocol

from schemas.errors import UsageError
from sinks.duckdb.query_session import Answer, answered, write_parquet
from sinks.durable import storage

WIDTHS_FROM_ROWS = 1_000  # a table's columns are as wide as these rows need; others are streamed
CELL_CHARACTERS_MAX = 60  # of a table's cell; the other formats cut nothing
COPY_BYTES = 1024 * 1024  # of a Parquet file at a time

_EXPLAINED = ("explain_key", "explain_value")  # a drawing of several lines
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would execute


class Out(Protocol):
    """Anything that takes bytes."""

    def write(self, piece: bytes, /) -> object:
        """All of `piece`."""
        ...


def run_query(path: Path, sql: str, format_name: str, out: Out) -> None:
    """Write the rows of `sql` on the snapshot at `path` to `out`, as UTF-8, as they come.

    `format_name` is one of FORMATS. Parquet is first written to a temporary file: DuckDB writes it
    to a path only. Raises NotPublished, QueryFailed, ViewCorrupt, StorageFailed, UsageError.
    """
    if format_name == PARQUET:
        _write_parquet(path, sql, out)
        return
    render = _RENDERERS.get(format_name)
    if render is None:
        raise UsageError(f"no such format: {format_name}", hint=f"one of {', '.join(FORMATS)}")
    with answered(path, sql) as answer:
        for piece in render(answer):
            out.write(piece.encode("utf-8", "replace"))


def _write_parquet(path: Path, sql: str, out: Out) -> None:
    with tempfile.TemporaryDirectory(prefix="pypistream-") as folder:
        target = Path(folder) / "answer.parquet"
        write_parquet(path, sql, target)
        with storage(target), target.open("rb") as file:
            while piece := file.read(COPY_BYTES):
                out.write(piece)


def _table(answer: Answer) -> Iterator[str]:
    if answer.columns == _EXPLAINED:
        plans = (str(plan) for rows in answer.pieces for _, plan in rows)
        yield from (_escaped(line) + "\n" for plan in plans for line in plan.splitlines())
        return
    first: list[list[str]] = []
    pieces = iter(answer.pieces)
    for rows in pieces:
        first += [[_cell(value) for value in row] for row in rows]
        if len(first) >= WIDTHS_FROM_ROWS:
            break
    heads = [_shown(name) for name in answer.columns]
    widths = [max(map(len, column)) for column in zip(heads, *first, strict=True)]
    yield "  ".join(map(str.ljust, heads, widths)).rstrip() + "\n"
    yield "  ".join("-" * width for width in widths) + "\n"
    count = 0
    rest = ([_cell(value) for value in row] for rows in pieces for row in rows)
    for row in itertools.chain(first, rest):
        yield "  ".join(map(str.ljust, row, widths)).rstrip() + "\n"
        count += 1
    yield f"({count} row{'' if count == 1 else 's'})\n"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return _shown(value)
    if isinstance(value, list | dict):
        return _shown(dumped(value))
    return _shown(_text(value))


def _shown(text: str) -> str:
    """The text escaped for a terminal and shortened."""
    if len(text) > CELL_CHARACTERS_MAX:
        text = text[: CELL_CHARACTERS_MAX - 1] + "…"
    return _escaped(text)


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _json(answer: Answer) -> Iterator[str]:
    before = "["
    for line in _objects(answer):
        yield f"{before}\n{line}"
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def _jsonl(answer: Answer) -> Iterator[str]:
    for line in _objects(answer):
        yield line + "\n"


def _objects(answer: Answer) -> Iterator[str]:
    for rows in answer.pieces:
        for row in rows:
            yield dumped(dict(zip(answer.columns, row, strict=True)))


def _csv(answer: Answer) -> Iterator[str]:
    yield csv_lines([answer.columns])
    for rows in answer.pieces:
        yield csv_lines([csv_cell(value) for value in row] for row in rows)


def csv_lines(rows: Iterable[Iterable[object]]) -> str:
    """The rows as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def csv_cell(value: object) -> object:
    """A value as a cell that no spreadsheet executes."""
    if isinstance(value, list | dict):
        value = dumped(value)
    elif not isinstance(value, str):
        return "" if value is None else _text(value)
    return f"'{value}" if value.startswith(_FORMULA) else value


def dumped(value: object) -> str:
    """A value of DuckDB's, or a list of them, as JSON without spaces."""
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))


def _plain(value: object) -> object:
    """A value as JSON has it. Integers of any size stay numbers; NaN and infinities become null."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else _text(key): _plain(each) for key, each in value.items()
        }
    return _text(value)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat(sep="T")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)  # numbers, decimals, intervals, UUIDs


Renderer = Callable[[Answer], Iterator[str]]
PARQUET = "parquet"
_RENDERERS: dict[str, Renderer] = {"table": _table, "json": _json, "jsonl": _jsonl, "csv": _csv}
FORMATS = (*_RENDERERS, PARQUET)
