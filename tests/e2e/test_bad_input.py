"""What a person, a disk or another program may do wrong: one clear error, or it mends itself.

An error says on at most two lines what is wrong, why, and what to do; the exit code is 2 for what
was typed, 1 for what was found.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import command, refused, started, status
from tests.support.published import (
    assert_none,
    dump_differences,
    query,
    read_dump,
    truths,
    view_differences,
)
from tests.support.standin import Running, standin
from tests.support.where import Where, embedded, on_kafka, placed

PROJECTS = 60
CLOSED_PORT = "http://127.0.0.1:9"
QUICK = ("--rate", "0", "--poll", "1", "--settle", "0.2", "--snapshot-every", "1")
ONCE = ("--once", "--once-wait", "0")
DRAIN_SECONDS_MAX = 10.0
COUNT = "SELECT count(*) FROM projects"

embedded_only = pytest.mark.parametrize("where", [embedded(1)], indirect=True)


@pytest.fixture(scope="module")
def site() -> Iterator[Running]:
    with standin(projects=PROJECTS) as running:
        yield running


@pytest.fixture(autouse=True)
def healed(site: Running) -> Iterator[None]:
    yield
    site.heal()


@pytest.fixture(scope="module", params=[embedded(1), on_kafka(4)])
def where(request: pytest.FixtureRequest) -> Iterator[Where]:
    with placed(request) as found:
        yield found


@pytest.fixture
def new_log(where: Where) -> tuple[str, ...]:
    """Options that name a log of the test's own; a directory that is in use knows its log."""
    return where.another(secrets.token_hex(4)).options


@pytest.fixture(scope="module")
def prepared(where: Where, site: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a finished backfill."""
    root = tmp_path_factory.mktemp("prepared")
    ended = command(*run(root / "data", site), *where.options, "--backfill", *ONCE, cwd=root)
    assert ended.returncode == 0, ended.stderr
    return root / "data"


@pytest.fixture
def data(prepared: Path, tmp_path: Path) -> Path:
    """A copy of it. A log on Kafka is the same for all copies, and only grows."""
    return Path(shutil.copytree(prepared, tmp_path / "data"))


def run(data: Path, upstream: Running | str) -> tuple[str, ...]:
    url = upstream if isinstance(upstream, str) else upstream.url
    return ("run", "--data", str(data), "--upstream", url, *QUICK)


# --- upstream -----------------------------------------------------------------------------------


def test_no_network(site: Running, new_log: tuple[str, ...], tmp_path: Path) -> None:
    """Nothing is founded: the same directory may have another filter when the network is back."""
    data = tmp_path / "data"
    away = (*run(data, CLOSED_PORT), *new_log)
    refused(*away, cwd=tmp_path, code=1, says="attempts failed", hint="--upstream")
    refused(
        *away, "--backfill", cwd=tmp_path, code=1, says="attempts failed", hint="check the network"
    )
    there = (*run(data, site), *new_log, "--include", "loopback-*")
    ended = command(*there, "--backfill", *ONCE, cwd=tmp_path)

    assert 0 == ended.returncode, ended.stderr
    assert 0 < len(read_dump(data).packages) < PROJECTS / 2


@embedded_only
def test_a_mistyped_upstream_is_not_kept(where: Where, site: Running, tmp_path: Path) -> None:
    """Of a log that it never founded; of one that is there it is told what was before."""
    data = tmp_path / "new"
    mistyped = refused(
        *run(data, CLOSED_PORT), cwd=tmp_path, code=1, says="cannot be started", hint="--upstream"
    )
    forgotten = refused(
        *("run", "--data", str(data), "--contact", ""), cwd=tmp_path, code=2, says="no contact"
    )
    with started(*run(data, site), cwd=tmp_path, name="founded") as program:
        program.until(lambda: "following from" in program.text(), 30, "log")
        assert program.stop() == 0, program.text()
    with started(*run(data, CLOSED_PORT), cwd=tmp_path, name="changed") as program:
        program.until(lambda: "until now" in program.text(), 30, "note")
        assert program.stop() == 0, program.text()

    assert CLOSED_PORT not in forgotten
    assert "nothing was written" in mistyped
    said = f"upstream was {site.url} until now: --upstream {site.url} goes back to it"
    assert said in program.text()
    assert "until now" not in (tmp_path / "founded.txt").read_text()


def test_a_network_that_goes_away_and_comes_back(site: Running, data: Path, tmp_path: Path) -> None:
    """A log that is there is started without upstream, and goes on where it stood."""
    with started(*run(data, CLOSED_PORT), cwd=tmp_path) as program:
        program.until(lambda: "could not be read" in program.text(), 20, "warning")
        assert status(data)["watermark"]
        assert "watermark null" not in program.text(), "said before the log was read"
        assert program.stop() == 0, program.text()
    site.change("release", "loopback-hello")
    ended = command(*run(data, site), "--once", "--once-wait", "3", cwd=tmp_path)

    assert 0 == ended.returncode, ended.stderr
    assert_none(dump_differences(read_dump(data), truths(site.ask("/_control/truth").body)))


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/", "http://127.0.0.1:1/?a=b"])
def test_what_is_no_url(url: str, tmp_path: Path) -> None:
    """Nothing is made."""
    data = tmp_path / "data"
    refused(*run(data, url), cwd=tmp_path, code=2, says="upstream", hint="" if "?" in url else "--")
    assert not data.exists()


@pytest.mark.parametrize("more", [[], ["--backfill"]])
def test_a_wrong_address(more: list[str], site: Running, tmp_path: Path) -> None:
    refused(
        *run(tmp_path / "data", f"{site.url}/elsewhere/"), *more, cwd=tmp_path, code=1, says="404",
        hint="--upstream",
    )  # fmt: skip


@pytest.mark.parametrize(("route", "more"), [("xmlrpc", []), ("simple", ["--backfill"])])
def test_html_where_something_else_is_due(
    route: str, more: list[str], site: Running, tmp_path: Path
) -> None:
    site.fault("html", route=route)
    refused(
        *run(tmp_path / "data", site), *more, cwd=tmp_path, code=1, says="HTML", hint="--upstream"
    )


def test_html_for_a_while(site: Running, data: Path, tmp_path: Path) -> None:
    """A running program says so, and goes on by itself."""
    with started(*run(data, site), cwd=tmp_path) as program:
        program.until(lambda: "following from" in program.text(), 20, "start")
        site.fault("html", route="xmlrpc")
        serial = site.change("role", "loopback-hello")["serial"]
        program.until(lambda: "HTML instead of XML" in program.text(), 20, "warning")
        site.heal()
        sql = "SELECT max(serial) FROM projects"
        program.until(lambda: query(data / "pypi.duckdb", sql)[0][0] >= serial, 30, "change")
        assert program.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_upstream_that_hangs_does_not_hold_up_the_end(
    number: int, site: Running, new_log: tuple[str, ...], tmp_path: Path
) -> None:
    """Neither before the log is founded nor afterwards."""
    site.fault("hang")
    with started(*run(tmp_path / "new", site), *new_log, cwd=tmp_path) as program:
        program.until(lambda: site.control("stats")["in_flight"]["all"]["now"], 20, "request")
        assert 0 == program.stop(number, DRAIN_SECONDS_MAX), program.text()
        assert "Traceback" not in program.text()


# --- the data directory -------------------------------------------------------------------------


def test_a_directory_in_use(site: Running, data: Path, tmp_path: Path) -> None:
    """By whom is said; what only reads goes on, and what another process can do it is asked for."""
    with started(*run(data, site), cwd=tmp_path) as program:
        program.until(lambda: len(status(data)["roles"]) == 4, 30, "roles")
        pid = str(program.process.pid)
        refused(*run(data, site), cwd=tmp_path, code=1, says=pid, hint="another --data")
        with socket.create_server(("127.0.0.1", 0)) as its:  # as if it listened there itself
            http = ("--http", f"127.0.0.1:{its.getsockname()[1]}")
            refused(*run(data, site), *http, cwd=tmp_path, code=1, says=pid, hint="another --data")
        refused("rebuild", "--data", str(data), cwd=tmp_path, code=1, says="sink", hint="stop")
        asked = command("dump", "--data", str(data), cwd=tmp_path)
        answered = command("query", "--data", str(data), COUNT, cwd=tmp_path)
        assert program.stop() == 0, program.text()

    assert (0, 0) == (asked.returncode, answered.returncode), asked.stderr + answered.stderr


@embedded_only
@pytest.mark.parametrize("arguments", [["run"], ["status"], ["query", "SELECT 1"]])
def test_a_directory_of_another_version(arguments: list[str], data: Path) -> None:
    settings = data / "settings.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"format": 7}))
    place = ("--data", str(data))
    refused(*arguments, *place, cwd=data.parent, code=1, says="layout 7", hint="new --data")


@embedded_only
def test_settings_that_cannot_be_read(data: Path) -> None:
    (data / "settings.json").write_text("{")
    for name in ("run", "status"):
        refused(name, "--data", str(data), cwd=data.parent, code=2, says="settings", hint="remove")


@embedded_only
@pytest.mark.parametrize("damage", ["start", "middle", "cut"])
def test_a_damaged_log(damage: str, site: Running, data: Path) -> None:
    """Whoever meets the damage stops and names what mends it; nothing is guessed."""
    path = data / "log.sqlite"
    raw = bytearray(path.read_bytes())
    if damage == "start":
        raw[:16] = b"not a database!!"
    elif damage == "middle":
        third = len(raw) // 3
        raw[third : 2 * third] = bytes(byte ^ 0x55 for byte in raw[third : 2 * third])
    else:
        del raw[len(raw) // 2 :]
    path.write_bytes(raw)

    refused(*run(data, site), *ONCE, cwd=data.parent, code=1, says="log.sqlite", hint="backup")


@embedded_only
def test_a_flipped_bit_in_a_record(site: Running, data: Path) -> None:
    """SQLite does not notice: the record's checksum does."""
    with sqlite3.connect(data / "log.sqlite") as log:
        sql = "UPDATE state_0 SET value = CAST(substr(value, 2) || x'00' AS BLOB) WHERE offset = 5"
        assert 1 == log.execute(sql).rowcount
    log.close()

    refused(*run(data, site), *ONCE, cwd=data.parent, code=1, says="checksum", hint="pypistream")


@pytest.mark.parametrize("file", ["state/live.duckdb", "frames"])
def test_damaged_state_of_the_sinks(file: str, site: Running, data: Path) -> None:
    """It is made anew from the log, without being asked for; what is damaged is moved aside."""
    mends_itself(file, site, data)


@embedded_only  # these are made of the sinks' state, whatever the log
@pytest.mark.parametrize("file", ["pypi.duckdb", "dumps/packages.jsonl.zst", "dumps/manifest.json"])
def test_damaged_publications(file: str, site: Running, data: Path) -> None:
    """They are published anew."""
    mends_itself(file, site, data)


def mends_itself(file: str, site: Running, data: Path) -> None:
    frames = [path for path in (data / "state/frames").iterdir() if path.is_file()]
    for path in frames if file == "frames" else [data / file]:
        path.chmod(0o600)
        # The published files are links to the frames: written in place, both are damaged.
        with path.open("r+b") as damaged:
            damaged.write(b"garbage in the place of a header")
    if file == "pypi.duckdb":
        place = ("--data", str(data))
        refused("query", *place, COUNT, cwd=data.parent, code=1, says=file, hint="rebuild duckdb")
    ended = command(*run(data, site), *ONCE, cwd=data.parent)
    dump = read_dump(data)
    truth = truths(site.ask("/_control/truth").body)

    assert 0 == ended.returncode, ended.stderr
    assert "Traceback" not in ended.stderr
    assert_none(dump_differences(dump, truth))
    assert_none(view_differences(data / "pypi.duckdb", truth, dump.exceptions))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs the right to mount a tmpfs")
    made = subprocess.run(mounting, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {made.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@embedded_only
@pytest.mark.parametrize(
    "arguments", [["status"], ["follow", "-c", "1"], ["verify", "--no-upstream"], ["run"], ["dump"]]
)
def test_a_disk_that_is_mounted_read_only(
    arguments: list[str], data: Path, small_disk: Path
) -> None:
    """What is published can be asked; what needs the log says why it cannot be, and what to do."""
    shutil.copytree(data, small_disk / "data")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    place = ("--data", str(small_disk / "data"))
    upstream = ("--upstream", CLOSED_PORT) if arguments == ["run"] else ()
    told = refused_by_disk(*arguments, *place, *upstream, cwd=data.parent)
    answered = command("query", *place, COUNT, cwd=data.parent)

    assert "read-only" in told.lower()
    assert "mount" in told.splitlines()[-1]
    assert 0 == answered.returncode, answered.stderr


def refused_by_disk(*arguments: str, cwd: Path) -> str:
    """Two lines of error, whatever the exit code."""
    ended = command(*arguments, cwd=cwd)
    lines = ended.stderr.splitlines()

    assert ended.returncode in (1, 2)
    assert ["Error: ", "Next:  "] == [line[:7] for line in lines[-2:]], ended.stderr
    return ended.stderr


def test_a_full_disk(
    site: Running, new_log: tuple[str, ...], small_disk: Path, tmp_path: Path
) -> None:
    """It says so and waits; when there is room again it goes on, and nothing is lost."""
    data, filler = small_disk / "data", small_disk / "filler"
    filler.write_bytes(bytes(22 << 20))
    with started(*run(data, site), *new_log, "--backfill", cwd=tmp_path) as program:
        program.until(
            lambda: "full" in program.text() or "space" in program.text(), 60, "complaint"
        )
        assert program.alive
        filler.unlink()
        program.until((data / "dumps/manifest.json").exists, 60, "dump")
        program.until(lambda: status(data)["watermark"], 60, "watermark")
        assert program.stop() == 0, program.text()
    assert "Traceback" not in program.text()
    ended = command(*run(data, site), *ONCE, cwd=tmp_path)

    assert 0 == ended.returncode, ended.stderr
    assert_none(dump_differences(read_dump(data), truths(site.ask("/_control/truth").body)))
