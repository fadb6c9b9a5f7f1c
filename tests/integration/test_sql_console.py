"""`/v1/sql`: what is answered, in which form, and who has asked too much."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
import uvloop

from schemas.errors import QueryFailed
from sinks.duckdb import console as duckdb_console
from sinks.duckdb.cookbook import RECIPES, Recipe
from sinks.duckdb.process import BYTES_MAX, CSV, JSON, PARQUET, ROWS_MAX, Bounds, Result, ask
from sinks.http import sql
from sinks.http.sql import AT_ONCE, PER_MINUTE, SqlConsole
from tests.support.http_world import client_of
from tests.support.memory_library import MemoryLibrary
from tests.support.sql_world import publish

PATIENT = Bounds(60.0, 30)  # where time is not what a test is about


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("data"), 1_100)


@pytest.fixture
async def client(root: Path) -> AsyncIterator[httpx.AsyncClient]:
    console = SqlConsole(root / "pypi.duckdb", root, lambda: 0.0, on=True, bounds=PATIENT)
    async with client_of(MemoryLibrary(), console.routes()) as client:
        yield client


async def asked(client: httpx.AsyncClient, text: str, **more: str) -> httpx.Response:
    return await client.get("/v1/sql", params={"q": text, **more})


async def test_rows_come_as_json_with_the_limits(client: httpx.AsyncClient) -> None:
    """Columns in order, also two of one name; whether there is more; what a query may have."""
    answer = await asked(
        client, "SELECT name, 1 AS a, 2 AS a, NULL FROM pypi.projects ORDER BY 1 LIMIT 2"
    )
    value: dict[str, Any] = answer.json()

    assert answer.status_code == 200
    assert value["columns"] == ["name", "a", "a_1", "NULL"]
    assert value["rows"] == [["p0000", 1, 2, None], ["p0001", 1, 2, None]]
    assert value["truncated"] is None
    assert value["limits"]["rows"] == ROWS_MAX
    assert value["limits"]["per_minute"] == PER_MINUTE
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_what_is_more_than_an_answer_may_have_is_cut_and_said(
    client: httpx.AsyncClient,
) -> None:
    """By rows in every format, by bytes where the rows are wide."""
    text = "SELECT name, version FROM projects ORDER BY name"
    names = [f"p{i:04}" for i in range(ROWS_MAX)]
    as_json = await asked(client, text)
    as_csv = await asked(client, text, format="csv")
    as_parquet = await asked(client, text, format="parquet")
    wide = await asked(client, "SELECT repeat('x', 100000) FROM projects")
    table = list(csv.reader(io.StringIO(as_csv.text)))

    assert (as_json.json()["truncated"], as_json.headers["x-sql-truncated"]) == ("rows", "rows")
    assert [row[0] for row in as_json.json()["rows"]] == names
    assert table[0] == ["name", "version"]
    assert [row[0] for row in table[1:]] == names
    assert as_csv.headers["x-sql-truncated"] == as_parquet.headers["x-sql-truncated"] == "rows"
    assert f"rows={ROWS_MAX}" in as_csv.headers["x-sql-limits"]
    assert wide.json()["truncated"] == "bytes"
    assert len(wide.json()["rows"]) == 10
    assert len(wide.content) < BYTES_MAX + 1_000


async def test_parquet_keeps_types(client: httpx.AsyncClient, tmp_path: Path) -> None:
    """As DuckDB reads it again."""
    text = "SELECT name, [1, 2] AS l, DATE '2024-02-29' AS d FROM projects ORDER BY name LIMIT 3"
    answer = await asked(client, text, format="parquet")
    path = tmp_path / "answer.parquet"
    path.write_bytes(answer.content)

    assert answer.headers["content-disposition"] == 'attachment; filename="answer.parquet"'
    with duckdb.connect() as connection:
        found = connection.execute(f"DESCRIBE FROM '{path}'").fetchall()
        rows = connection.execute(f"SELECT name FROM '{path}'").fetchall()
    assert [row[1] for row in found] == ["VARCHAR", "INTEGER[]", "DATE"]
    assert rows == [("p0000",), ("p0001",), ("p0002",)]


async def test_a_plan_is_shown_and_nothing_else_is_explained(client: httpx.AsyncClient) -> None:
    plan = await asked(client, "-- how\nEXPLAIN ANALYZE SELECT max(summary) FROM projects")
    other = await asked(client, "EXPLAIN ANALYZE CREATE TEMP TABLE x AS SELECT 1")

    assert "1 row" in plan.text
    assert (other.status_code, "CREATE" in other.json()["error"]) == (400, True)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.question)
def test_the_pages_recipes_are_answered(root: Path, recipe: Recipe) -> None:
    """What the page proposes is nothing that the gate or the lock refuses."""
    with duckdb_console.console(root / "pypi.duckdb", root) as connection:
        for format_name in (JSON, CSV):
            told, body = duckdb_console.answer(connection, recipe.sql, format_name)

            assert (told.error, bool(body)) == ("", True)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "no SQL"),
        ("q=", "no SQL"),
        ("q=+%0A", "no SQL"),
        ("q=SELECT+1&format=table", "no such format"),
        ("q=SELECT+1&q=SELECT+2", "given twice"),
        ("q=SELECT+1&limit=5", "no parameter 'limit'"),
        ("q=SELECT+nothing", "nothing"),
        ("q=SELEC+1", "syntax error"),
        ("q=DROP+TABLE+projects", "DROP is not allowed"),
        ("q=SELECT+1%3B+SELECT+2", "one statement"),
    ],
)
async def test_what_is_wrong_is_said(client: httpx.AsyncClient, query: str, says: str) -> None:
    answer = await client.get(f"/v1/sql?{query}")

    assert answer.status_code == 400
    assert says in answer.json()["error"]


async def test_it_is_off_unless_somebody_wants_it(root: Path) -> None:
    """404, with a word on what there is in its place; no process is begun."""
    console = SqlConsole(root / "missing", root, lambda: 0.0, on=False)
    async with client_of(MemoryLibrary(), console.routes()) as client:
        answer = await asked(client, "SELECT 1")

    assert (answer.status_code, answer.json()["error"]) == (404, "SQL is not switched on here")


async def test_before_the_first_snapshot_that_is_said(tmp_path: Path) -> None:
    """Without a word of where it would lie."""
    console = SqlConsole(tmp_path / "pypi.duckdb", tmp_path, lambda: 0.0, on=True, bounds=PATIENT)
    async with client_of(MemoryLibrary(), console.routes()) as client:
        answer = await asked(client, "SELECT 1")

    assert answer.json()["error"] == "no snapshot is published yet"
    assert str(tmp_path) not in answer.text


async def test_few_run_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is told to come again, and costs its client nothing of what it may ask."""
    release, running = asyncio.Event(), asyncio.Semaphore(0)

    async def waiting(*_: object) -> Result:
        running.release()
        await release.wait()
        return Result(b'{"columns":[],"rows":[]', "")

    monkeypatch.setattr(sql, "ask", waiting)
    console = SqlConsole(root / "pypi.duckdb", root, lambda: 0.0, on=True)
    async with client_of(MemoryLibrary(), console.routes()) as client:
        first = [asyncio.create_task(asked(client, "SELECT 1")) for _ in range(AT_ONCE)]
        for _ in first:
            await running.acquire()
        refused = await asked(client, "SELECT 1")
        release.set()
        answers = await asyncio.gather(*first)
        again = await asked(client, "SELECT 1")

    assert (refused.status_code, int(refused.headers["retry-after"]) >= 1) == (503, True)
    assert [answer.status_code for answer in (*answers, again)] == [200] * (AT_ONCE + 1)


async def test_a_client_that_asks_too_often_is_told_when_to_come(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where what it asks is refused."""

    async def refused(*_: object) -> Result:
        raise QueryFailed("no")

    monkeypatch.setattr(sql, "ask", refused)
    console = SqlConsole(root / "pypi.duckdb", root, lambda: 0.0, on=True)
    async with client_of(MemoryLibrary(), console.routes()) as client:
        answers = [await asked(client, "SELECT 1") for _ in range(PER_MINUTE + 1)]

    assert [answer.status_code for answer in answers] == [400] * PER_MINUTE + [429]
    assert answers[-1].headers["retry-after"] == "60"
    assert answers[-1].headers["ratelimit-policy"] == '"sql";q=10;w=60'


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_every_format_comes_on_every_loop(
    root: Path, run: Callable[[Coroutine[Any, Any, Any]], Any]
) -> None:
    """The service runs on uvloop, whose pipes to a process are sockets; these tests do not."""
    names = "SELECT name FROM projects ORDER BY name LIMIT 3"
    wide = "SELECT repeat(md5(range::TEXT), 999) FROM range(1000)"

    async def asking(text: str, format_name: str) -> bytes | str:
        try:
            return (await ask(root / "pypi.duckdb", root, text, format_name, PATIENT)).body
        except QueryFailed as error:
            return str(error)

    assert run(asking(names, CSV)) == b"name\np0000\np0001\np0002\n"
    assert run(asking(names, JSON)).startswith(b'{"columns":["name"],"rows":[["p0000"],')
    parquet = run(asking(names, PARQUET))
    assert (parquet[:4], parquet[-4:]) == (b"PAR1", b"PAR1")
    assert "more than 1048576 bytes" in run(asking(wide, PARQUET))
    assert run(asking("SELECT {}", PARQUET)) == "these rows cannot be written as Parquet"
    assert "syntax error" in run(asking("SELEC", PARQUET))
