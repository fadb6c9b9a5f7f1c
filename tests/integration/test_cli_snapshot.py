"""`query` and `doctor` as processes, on a directory whose sinks were built from its log."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import duckdb
import psutil
import pytest

from tests.support.reading_world import (
    HOSTILE,
    HOSTILE_SHOWN,
    SECONDS_MAX,
    World,
    build,
    command_line,
    run,
)

ENDLESS = "select count(*) from range(1e15::bigint) a where a.range % 7 = hash(a.range) % 3"
BUSY_SECONDS = 1.5  # of CPU: starting takes a third of that, so the query runs
NAMES = "select name from projects order by name"


@pytest.fixture(name="built", scope="module")
def _built(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A directory with log, snapshot and dump. Nobody may change it."""
    root = tmp_path_factory.mktemp("world") / "data"
    world = asyncio.run(build(root))
    done = run("rebuild", "--data", str(root), cwd=root)
    assert done.returncode == 0, done.stderr
    return world


@pytest.fixture(name="own")
def _own(built: World, tmp_path: Path) -> World:
    """A copy of it to damage."""
    shutil.copytree(built.root, tmp_path / "own", symlinks=True)
    return World(type(built.data)(tmp_path / "own"), built.now)


def _query(world: World, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return run("query", "--data", str(world.root), *arguments, cwd=world.root, given=given)


def _doctor(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("doctor", "--data", str(world.root), *arguments, cwd=world.root)


def _finding(text: str, what: str) -> str:
    return next(line for line in text.splitlines() if line[9:].split()[:1] == [what])


# --- query ----------------------------------------------------------------------------------------


def test_query_in_a_pipe_prints_json_lines(built: World) -> None:
    """Without --format; and from stdin with `-`."""
    done = _query(built, NAMES)
    from_stdin = _query(built, "-", given=NAMES)

    assert done.returncode == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"name": "alpha"}, {"name": "beta"},
    ]  # fmt: skip
    assert from_stdin.stdout == done.stdout


def test_query_in_every_format(built: World, tmp_path: Path) -> None:
    """The same rows each time."""
    texts = {
        name: _query(built, NAMES, "--format", name).stdout for name in ("json", "csv", "table")
    }
    target = tmp_path / "result.parquet"
    with target.open("wb") as file:
        subprocess.run(
            command_line("query", "--data", str(built.root), NAMES, "--format", "parquet"),
            stdout=file, timeout=SECONDS_MAX, check=True,
        )  # fmt: skip

    assert json.loads(texts["json"]) == [{"name": "alpha"}, {"name": "beta"}]
    assert list(csv.reader(io.StringIO(texts["csv"]))) == [["name"], ["alpha"], ["beta"]]
    assert texts["table"].split()[:4] == ["name", "-----", "alpha", "beta"]
    assert duckdb.read_parquet(str(target)).fetchall() == [("alpha",), ("beta",)]


def test_query_escapes_in_a_table_and_only_there(built: World) -> None:
    """A table is for eyes; JSON carries the text as it is, as JSON escapes it."""
    sql = "select action from changelog where name = 'beta'"

    assert HOSTILE_SHOWN in _query(built, sql, "--format", "table").stdout
    assert json.loads(_query(built, sql).stdout)["action"] == HOSTILE


def test_query_says_what_is_wrong(built: World) -> None:
    """A mistyped column, in one line, with DuckDB's own suggestion; exit 1, no traceback."""
    done = _query(built, "select nama from projects")

    assert done.returncode == 1
    assert done.stdout == ""
    assert "nama" in done.stderr
    assert '"name"' in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "sql", ["drop table base.project", "copy (select 1) to 'x.csv'", "select 1; select 2"]
)
def test_query_only_reads(built: World, sql: str) -> None:
    """One SELECT, and nothing is written."""
    done = _query(built, sql)

    assert done.returncode == 1
    assert not (built.root / "x.csv").exists()
    assert [line for line in done.stderr.splitlines() if line.startswith("Error:")] != []


def test_a_finished_pipe_ends_query(built: World) -> None:
    """`| head -n 1` on a long answer."""
    query = " ".join(command_line("query", "--data", str(built.root), "'from range(3000000)'"))
    done = subprocess.run(
        ["bash", "-c", f"{query} | head -n 1; exit ${{PIPESTATUS[0]}}"],
        cwd=built.root, capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, '{"range":0}\n', "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_query_ends_without_a_traceback(built: World, number: signal.Signals) -> None:
    """DuckDB is in the middle of it; half an answer is not ok, so the exit code is not 0."""
    with subprocess.Popen(
        command_line("query", "--data", str(built.root), ENDLESS),
        cwd=built.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        watched = psutil.Process(process.pid)
        while process.poll() is None and watched.cpu_times().user < BUSY_SECONDS:
            time.sleep(0.05)
        process.send_signal(number)
        try:
            stdout, stderr = process.communicate(timeout=SECONDS_MAX)
        finally:
            process.kill()

    assert (process.returncode, stdout, stderr) == (130, "", "")


def test_query_without_a_snapshot_says_when_there_will_be_one(own: World) -> None:
    """The log is there, the snapshot is not: it is made from the log, or a process is about to."""
    own.data.snapshot.unlink()
    done = _query(own, NAMES)
    held = own.data.hold("sink-duckdb")
    soon = _query(own, NAMES)
    held.release()

    assert done.returncode == soon.returncode == 2
    assert "no snapshot in" in done.stderr
    assert f"Next:  `pypistream rebuild duckdb --data {own.root}` makes one" in done.stderr
    assert "rebuild" not in soon.stderr
    assert "ask again in a moment" in soon.stderr


def test_query_on_a_damaged_snapshot(own: World) -> None:
    """A clear error and the command that mends it."""
    own.data.snapshot.write_bytes(b"\0" * 8192)
    done = _query(own, NAMES)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "pypistream rebuild duckdb" in done.stderr


# --- doctor ---------------------------------------------------------------------------------------


def test_doctor_finds_nothing_wrong(built: World) -> None:
    """Every check is a line; upstream is loopback's discard port, which nobody serves."""
    done = _doctor(built)
    verdicts = {
        line[9:].split()[0]: line.split()[0] for line in done.stdout.splitlines() if line[0] != " "
    }

    upstream = verdicts.pop("upstream")
    assert upstream == "problem"
    assert verdicts.pop("zstd") in ("ok", "note")
    assert verdicts.pop("disk") in ("ok", "note")
    assert set(verdicts.values()) == {"ok"}
    assert set(verdicts) == {
        "settings", "python", "sqlite", "duckdb", "processes", "log", "checksums", "clock",
        "snapshot", "dump",
    }  # fmt: skip
    assert done.returncode == 1


def test_doctor_asks_nobody_without_a_contact(own: World) -> None:
    """PyPI itself is never asked by itself: that is a note, and no problem is exit 0."""
    own.data.store({})
    done = _doctor(own)

    assert done.returncode == 0
    assert _finding(done.stdout, "upstream").startswith("note")
    assert "no request" not in done.stderr


def test_doctor_sends_one_request_to_the_upstream_given(own: World) -> None:
    """Something that answers, but is no PyPI, is a problem that says so."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with subprocess.Popen(
            command_line("doctor", "--data", str(own.root), "--upstream", f"http://127.0.0.1:{port}"),
            cwd=own.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            server.settimeout(SECONDS_MAX)
            connection, _ = server.accept()
            with connection:
                asked = connection.recv(65_536)
                while b"methodCall>" not in asked:
                    asked += connection.recv(65_536)
                body = b"<html><body>hello</body></html>"
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n"
                    b"content-length: %d\r\n\r\n%s" % (len(body), body)
                )
            stdout, _ = process.communicate(timeout=SECONDS_MAX)
            server.settimeout(0.2)
            with pytest.raises(TimeoutError):
                server.accept()

    assert b"changelog_last_serial" in asked
    assert process.returncode == 1
    assert _finding(stdout, "upstream").startswith("problem")


def test_doctor_respects_a_hold(tmp_path: Path) -> None:
    """While upstream wants every process to wait, it is not asked."""
    world = asyncio.run(build(tmp_path / "data", hold_seconds=600))
    line = _finding(_doctor(world).stdout, "upstream")

    assert line.startswith("note")
    assert "on hold" in line
    assert "429 \\x1b[1m" in line


def test_doctor_finds_a_damaged_log(own: World) -> None:
    """A flipped byte within a record: its checksum does not match, and the hint says what to do."""
    raw = own.data.log.read_bytes()
    place = raw.index(b"remove project")
    own.data.log.write_bytes(raw[:place] + b"REMOVE" + raw[place + 6 :])
    done = _doctor(own)

    assert done.returncode == 1
    assert _finding(done.stdout, "checksums").startswith("problem")
    assert "changelog/0" in _finding(done.stdout, "checksums")


def test_doctor_finds_damaged_publications(own: World) -> None:
    """Snapshot and dump, each named with the command that makes it anew."""
    own.data.snapshot.write_bytes(b"no database")
    for dump in own.data.dumps.rglob("packages.jsonl.zst"):
        raw = bytearray(dump.read_bytes())
        raw[len(raw) // 2] ^= 1
        dump.unlink()  # a link to what the sink holds
        dump.write_bytes(raw)
    done = _doctor(own)

    assert done.returncode == 1
    assert _finding(done.stdout, "snapshot").startswith("problem")
    assert _finding(done.stdout, "dump").startswith("problem")
    assert "pypistream rebuild duckdb" in done.stdout


def test_doctor_before_anything_was_started(tmp_path: Path) -> None:
    """On a fresh machine: nothing is made, nothing is wrong, and it says how to begin."""
    done = run("doctor", "--data", "new", cwd=tmp_path)

    assert done.returncode == 0
    assert _finding(done.stdout, "log").startswith("note")
    assert "pypistream run --data new" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_doctor_names_a_bad_settings_file(tmp_path: Path) -> None:
    """It is the one command that is run when something is wrong: that, too, is a finding."""
    (tmp_path / "pypistream.toml").write_text("polll = 3\n")
    done = run("doctor", cwd=tmp_path)

    assert done.returncode == 1
    assert _finding(done.stdout, "settings").startswith("problem")
    assert "did you mean 'poll'?" in done.stdout
