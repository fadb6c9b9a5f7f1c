"""`pypistream redact` beside a `run`, and on its own: nothing of it is in any file afterwards."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
import zstandard

from schemas.redaction import PERSONAL
from sinks.duckdb.view import LIVE_FILE
from tests.support.process import Program, command, started, status
from tests.support.standin import Running, standin
from tests.support.where import Where, embedded, on_kafka, placed

SECONDS_MAX = 240.0
QUICK = ("--rate", "0", "--poll", "1", "--settle", "0.1", "--snapshot-every", "5")
TABLES = "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'it'"
PIECE = 1024 * 1024  # bytes of a file that one frame is looked for in
FRAME = b"\x28\xb5\x2f\xfd"  # how a zstd frame begins (RFC 8878)


@pytest.fixture(params=[embedded(1), on_kafka(4)])
def where(request: pytest.FixtureRequest) -> Iterator[Where]:
    with placed(request) as found:
        yield found


@pytest.fixture
def site() -> Iterator[Running]:
    with standin(projects=40) as running:
        yield running


def redact(data: Path, *arguments: str) -> str:
    """The command; what it said."""
    done = command("redact", "--data", str(data), *arguments, cwd=data.parent)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def query(data: Path, sql: str) -> list[dict[str, Any]]:
    done = command("query", "--data", str(data), sql, "--format", "jsonl", cwd=data.parent)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def holding(data: Path, *texts: str) -> dict[str, set[str]]:
    """Which file holds which of the texts, as they are or within a zstd frame."""
    found: dict[str, set[str]] = {}
    for path in data.rglob("*"):
        if not path.is_file():
            continue
        raw = path.read_bytes()
        for piece in (raw, *frames(raw)):
            for text in texts:
                if text.encode() in piece:
                    found.setdefault(str(path.relative_to(data)), set()).add(text)
    return found


def told(data: Path, *texts: str, at_rest: bool = False) -> dict[str, set[str]]:
    """Which DuckDB or Parquet file has which of the texts in a row of any table, its own included.

    DuckDB codes texts so that their bytes are in none of its files: here it reads them itself. Of
    what is no row any more no file has a trace that it was not made with: `redact` has all of them
    made anew. What a process has open is read only once it is `at_rest`.
    """
    found: dict[str, set[str]] = {}
    for path in sorted(data.rglob("*")):
        if path.suffix == ".parquet":
            sources, attach = [f"read_parquet('{path}')"], ""
        elif path.suffix == ".duckdb" and (at_rest or path.name != LIVE_FILE):
            sources, attach = [], f"ATTACH '{path}' AS it (READ_ONLY)"
        else:
            continue
        with duckdb.connect() as connection:
            connection.execute(attach or "SELECT 1")
            for schema, table in connection.execute(TABLES).fetchall() if attach else ():
                sources.append(f'it."{schema}"."{table}"')
            for source, text in itertools.product(sources, texts):
                sql = f"SELECT count(*) FROM {source} AS t WHERE contains(t::VARCHAR, ?)"
                if connection.execute(sql, [text]).fetchall()[0][0]:
                    found.setdefault(str(path.relative_to(data)), set()).add(text)
    return found


def suffix_of(path: str) -> str:
    """In `dumps`, whatever its name."""
    return Path(path).suffix if path.startswith("dumps/") else ""


def frames(raw: bytes) -> Iterator[bytes]:
    """What every zstd frame in it unpacks to, as far as it goes in one piece."""
    at = raw.find(FRAME)
    while at >= 0:
        try:
            yield zstandard.ZstdDecompressor().decompressobj().decompress(raw[at : at + PIECE])
        except zstandard.ZstdError:
            yield b""  # no frame, or one that goes on elsewhere
        at = raw.find(FRAME, at + 1)


def named(data: Path, names: int = 2) -> list[tuple[str, str]]:
    """Projects with an address that no other project has."""
    rows = query(
        data,
        "SELECT name, author_email AS mail FROM projects WHERE author_email LIKE '%@%'"
        " QUALIFY count(*) OVER (PARTITION BY author_email) = 1 ORDER BY name",
    )
    assert len(rows) >= names, rows
    return [(row["name"], row["mail"]) for row in rows[:names]]


def test_nothing_is_left_of_what_was_redacted(site: Running, where: Where, tmp_path: Path) -> None:
    """Beside a run with all its sinks, then for all projects without any other process."""
    data = tmp_path / "data"
    arguments = ("--data", str(data), "--upstream", site.url, "--backfill", *where.options)
    with started("run", *arguments, *QUICK, "--http", "127.0.0.1:0", cwd=tmp_path) as program:
        url = address_of(program)
        program.until(
            lambda: where.begun(program) and status(data).get("watermark"),
            SECONDS_MAX,
            "watermark",
        )
        program.until((data / "pypi.duckdb").exists, SECONDS_MAX, "DuckDB file")
        assert command("dump", "--data", str(data), cwd=tmp_path).returncode == 0
        (name, mail), (other, another) = named(data)
        before = {name.partition("/")[0].removesuffix("-wal") for name in holding(data, mail)}
        kept = {"dumps", "state"}  # DuckDB codes texts so that their bytes are in no file of it
        tables = told(data, mail)
        assert {"pypi.duckdb", ".duckdb", ".parquet"} <= {*tables, *map(suffix_of, tables)}
        assert (kept | {"log.sqlite"} if where.embedded else kept) <= before

        said = redact(data, name)

        assert "duckdb" in said
        assert "dump" in said
        assert holding(data, mail) == told(data, mail) == {}
        assert (other, another) in (left := named(data, 1))
        assert (name, mail) not in left
        assert holding(data, another)
        info = httpx.get(f"{url}/pypi/{name}/json").json()["info"]
        assert {info.get(field) for field in PERSONAL - {"ownership"}} <= {None}
        assert where.embedded or "max.compaction.lag.ms" in said
        assert program.stop() == 0
    assert told(data, mail, at_rest=True) == {}
    assert {"pypi.duckdb", "state/live.duckdb"} <= set(told(data, another, at_rest=True))

    if not where.embedded:
        ended = command(
            "redact", "--data", str(data), "--field", "author", "--wait", "1", cwd=tmp_path
        )
        assert (ended.returncode, "the rule is kept" in ended.stderr) == (1, True)
        return
    assert "was there already" in redact(data, name)
    redact(data, "--field", "author_email", "--field", "author")
    assert holding(data, mail, another) == told(data, mail, another, at_rest=True) == {}
    [row] = query(data, "SELECT count(*) AS n FROM projects WHERE author_email IS NOT NULL")
    assert row["n"] == 0
    anomalies = query(data, f"SELECT anomaly FROM anomalies WHERE name = '{other}'")
    assert {"anomaly": "redacted"} in anomalies


def address_of(program: Program) -> str:
    """Where it says that it listens."""

    def found() -> list[str]:
        return [w for w in program.text().split() if w.startswith("http://127.0.0.1")][1:]

    return program.until(found, SECONDS_MAX, "address")[0]
