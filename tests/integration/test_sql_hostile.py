"""SQL that means harm: refused by the gate, refused by DuckDB, or killed."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import psutil
import pytest

from schemas.errors import QueryFailed
from sinks.duckdb import console as duckdb_console
from sinks.duckdb.console import console
from sinks.duckdb.process import BYTES_MAX, MODULE, NO_HOME, TOLD_BYTES_MAX, Bounds, ask
from tests.support import sql_many
from tests.support.hostile_sql import HEAVY, REFUSED, SHOWN, Heavy
from tests.support.sql_world import publish

ALL = bool(os.environ.get("PYPISTREAM_TEST_SQL"))
SECRET = "a-word-that-nobody-may-read"
# In a plain run the bounds are tighter, so that the ends come sooner; with all they are the real
# ones. The wall's are wide where another bound is meant: the machine may be busy.
BOUNDS = Bounds(60.0, 3 if ALL else 1)
ONE_EACH = {(heavy.wants, heavy.format_name): heavy for heavy in HEAVY}.values()
WALL = Bounds(5.0 if ALL else 3.0, 3)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("pypistream-secret-place"), 3)


@pytest.fixture
def web() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def answered(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The answer by what a query's process does, done here. Raises QueryFailed."""
    return duckdb_console.answer(connection, sql, "json")[1].decode()


def queries() -> list[psutil.Process]:
    """The processes of queries that are under way."""
    return [child for child in psutil.Process().children() if MODULE in child.cmdline()]


def test_there_are_enough() -> None:
    """As many as the goals ask for, no two the same."""
    written = [sql for each in REFUSED.values() for sql in each]
    everything = [*written, *SHOWN, *(f"{heavy.format_name}: {heavy.sql}" for heavy in HEAVY)]

    assert len(everything) == len(set(everything))
    assert len(everything) >= 150
    assert len(written) >= 150


@pytest.mark.parametrize("after", REFUSED)
def test_it_is_refused(after: str, root: Path, tmp_path: Path, web: socket.socket) -> None:
    """Each statement, and nothing was written, asked, or told of what a file holds."""
    file, folder = tmp_path / "secret.csv", tmp_path / "folder"
    file.write_text(SECRET)
    folder.mkdir()
    before = (root / "pypi.duckdb").read_bytes()
    address = f"http://127.0.0.1:{web.getsockname()[1]}"
    given = {"{file}": str(file), "{folder}": str(folder), "{web}": address}
    allowed, told = [], []
    with console(root / "pypi.duckdb", root) as connection:
        for template in REFUSED[after]:
            sql = template
            for name, value in given.items():
                sql = sql.replace(name, value)
            try:
                answered(connection, sql)
                allowed.append(sql)
            except QueryFailed as error:
                told.append(str(error))
            assert "3" in answered(connection, "SELECT count(*) FROM projects"), sql

    assert allowed == []
    assert [line for line in told if SECRET in line] == []
    assert list(folder.iterdir()) == []
    assert before == (root / "pypi.duckdb").read_bytes()
    assert [".console"] != [path.name[:8] for path in root.iterdir()]
    with pytest.raises(BlockingIOError):
        web.accept()


TOUCHING = re.compile(
    r"\b(open\w*|creat|unlink\w*|mkdir\w*|rmdir|rename\w*|link\w*|symlink\w*|truncate\w*|chmod|"
    r"fchmod\w*|mknod\w*|socket|connect|bind|send\w*|execve\w*)\("
)


def test_the_system_sees_nothing_of_it(root: Path, tmp_path: Path) -> None:
    """Traced: while all of them are refused nothing is opened, made, removed or connected to."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace, which not every machine that tests has")
    file, trace = tmp_path / "secret.csv", tmp_path / "trace"
    file.write_text(SECRET)
    arguments = (str(root), str(file), str(tmp_path), "http://127.0.0.1:9")
    done = subprocess.run(
        [
            *(strace, "-f", "-qq", "-e", "trace=file,network", "-o", str(trace)),
            *(sys.executable, "-m", sql_many.__name__, *arguments),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if "PTRACE" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("nothing may be traced here")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == sum(map(len, REFUSED.values()))
    calls = trace.read_text(errors="replace")
    watched = calls[calls.index(sql_many.BEGINS) : calls.index(sql_many.ENDS)].splitlines()

    assert TOUCHING.search(calls[: calls.index(sql_many.BEGINS)])  # it would be seen
    assert [line for line in watched if TOUCHING.search(line)] == []


def test_what_duckdb_tells_of_itself_tells_nothing_of_the_machine(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where the file lies, nor who runs the service."""
    hidden = {str(root.parent), root.name, str(Path.home())}
    monkeypatch.setenv("HOME", NO_HOME)  # as a query's process has it
    with console(root / "pypi.duckdb", root) as connection:
        told = [answered(connection, sql) for sql in SHOWN]
        for sql in ("FROM duckdb_secrets()", "FROM duckdb_extensions()", "FROM no_such_table"):
            with pytest.raises(QueryFailed) as refused:
                answered(connection, sql)
            told.append(str(refused.value))

    assert [word for word in hidden if word in "\n".join(told)] == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "heavy",
    HEAVY if ALL else ONE_EACH,
    ids=lambda heavy: f"{heavy.wants}-{heavy.format_name}",
)
async def test_too_much_is_ended(heavy: Heavy, root: Path) -> None:
    """Or cut to the limits; either way its process is gone."""
    bounds = WALL if heavy.wants == "wall" else BOUNDS
    try:
        result = await ask(root / "pypi.duckdb", root, heavy.sql, heavy.format_name, bounds)
    except QueryFailed as error:
        why: str | None = str(error)
    else:
        why = None
        assert len(result.body) <= BYTES_MAX + TOLD_BYTES_MAX
        assert bool(result.truncated) == (heavy.wants == "size")

    if why is None:
        assert heavy.wants in ("size", "quick")
    else:
        assert heavy.why, why
        assert any(word in why for word in heavy.why.split("|")), why
    assert queries() == []


async def test_a_query_that_is_given_up_is_ended(root: Path) -> None:
    """By whoever asked: its process does not go on."""
    asking = asyncio.create_task(
        ask(root / "pypi.duckdb", root, "SELECT sleep_ms(600000)", "json", Bounds(60.0))
    )
    async with asyncio.timeout(30):
        while not (found := queries()):  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.02)
    asking.cancel()
    await asyncio.wait([asking])

    assert [process for process in found if process.is_running()] == []
