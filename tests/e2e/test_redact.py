"""`pypistream redact` beside a `run`, and on its own: nothing of it is in any file afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard

from schemas.redaction import PERSONAL
from tests.support.process import Program, command, started, status
from tests.support.standin import Running, standin
from tests.support.where import Where, embedded, on_kafka, placed

SECONDS_MAX = 240.0
QUICK = ("--rate", "0", "--poll", "1", "--settle", "0.1", "--snapshot-every", "5")
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
        kept = {"dumps", "state"}  # DuckDB may compress texts so that their bytes are in no file
        assert (kept | {"log.sqlite"} if where.embedded else kept) <= before

        said = redact(data, name)

        assert "duckdb" in said
        assert "dump" in said
        assert holding(data, mail) == {}
        assert (other, another) in (left := named(data, 1))
        assert (name, mail) not in left
        assert holding(data, another)
        info = httpx.get(f"{url}/pypi/{name}/json").json()["info"]
        assert {info.get(field) for field in PERSONAL - {"ownership"}} <= {None}
        assert where.embedded or "max.compaction.lag.ms" in said
        assert program.stop() == 0

    if not where.embedded:
        ended = command(
            "redact", "--data", str(data), "--field", "author", "--wait", "1", cwd=tmp_path
        )
        assert (ended.returncode, "the rule is kept" in ended.stderr) == (1, True)
        return
    assert "was there already" in redact(data, name)
    redact(data, "--field", "author_email", "--field", "author")
    assert holding(data, mail, another) == {}
    [row] = query(data, "SELECT count(*) AS n FROM projects WHERE author_email IS NOT NULL")
    assert row["n"] == 0
    anomalies = query(data, f"SELECT anomaly FROM anomalies WHERE name = '{other}'")
    assert {"anomaly": "redacted"} in anomalies


def address_of(program: Program) -> str:
    """Where it says that it listens."""

    def found() -> list[str]:
        return [w for w in program.text().split() if w.startswith("http://127.0.0.1")][1:]

    return program.until(found, SECONDS_MAX, "address")[0]
