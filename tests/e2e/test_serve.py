"""The HTTP service as a process: another pypistream reads it, and it outlives what befalls it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.support.process import Program, command, started
from tests.support.published import read_dump
from tests.support.standin import Running, standin
from tests.support.where import Where, embedded, on_kafka, placed

PROJECTS = 60
SECONDS_MAX = 240.0
QUICK = ("--rate", "0", "--poll", "1", "--settle", "0.3", "--snapshot-every", "5")
ONCE = (*QUICK, "--once", "--once-wait", "1", "--dump-every", "1")

WAYS = {"index": ("--no-xmlrpc",), "journal": ()}


@pytest.fixture
def site() -> Iterator[Running]:
    with standin(projects=PROJECTS) as running:
        yield running


@pytest.fixture(params=[embedded(1), on_kafka(4)])
def where(request: pytest.FixtureRequest) -> Iterator[Where]:
    with placed(request) as found:
        yield found


def ask(url: str, path: str) -> tuple[int, Any]:
    """Status and JSON of one request; (0, None) if nobody is there."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except OSError:
        return 0, None
    finally:
        connection.close()


def address_of(program: Program) -> str:
    """What it says that it listens at."""
    pattern: re.Pattern[str] = re.compile(r"(?:^http|listening on) (http://\S+)", re.MULTILINE)
    found = program.until(lambda: pattern.findall(program.text()), SECONDS_MAX, "address")
    return str(found[0])


def served(program: Program, url: str, serial: int) -> dict[str, Any]:
    """The status once everything up to a serial is served."""

    def reached() -> dict[str, Any]:
        code, told = ask(url, "/v1/status")
        return dict(told) if code == 200 and (told["watermark"] or 0) >= serial else {}

    return program.until(reached, SECONDS_MAX, f"watermark {serial} at {url}")


def head(site: Running) -> int:
    return int(site.control("serial")["serial"])


def published(url: str) -> dict[str, int]:
    """Names and serials of the map."""
    code, index = ask(url, "/simple/")
    assert code == 200, index
    return {line["name"]: line["_last-serial"] for line in index["projects"]}


def held(data: Path) -> dict[str, int]:
    """Names and serials of what a copy has published."""
    packages = read_dump(data).packages.values()
    return {line["document"]["info"]["name"]: line["serial"] for line in packages}


def test_another_pypistream_reads_it_as_it_reads_pypi(
    site: Running, where: Where, tmp_path: Path
) -> None:
    """By the index and its documents, then by the journal; a reconcile finds what changed."""
    run = ("run", "--data", str(tmp_path / "first"), *where.options, "--upstream", site.url, *QUICK)
    with started(*run, "--backfill", "--http", "127.0.0.1:0", cwd=tmp_path) as program:
        url = address_of(program)
        told = served(program, url, head(site))
        assert told["projects"] == len(site.served_names())
        names = published(url)

        copies = {way: ("--data", str(tmp_path / way), "--upstream", url) for way in WAYS}
        for way, copy in copies.items():
            ended = command("run", *copy, *ONCE, "--backfill", *WAYS[way], cwd=tmp_path)
            assert ended.returncode == 0, ended.stderr
            assert names == held(tmp_path / way)
            same = command("reconcile", *copy, "--dry-run", cwd=tmp_path)
            assert (same.returncode, same.stdout) == (0, ""), same.stderr

        gone, changed = sorted(site.served_names())[:2]
        site.change("remove-project", gone)
        site.change("release", changed)
        served(program, url, head(site))
        names = published(url)
        for way, copy in copies.items():
            differs = command("reconcile", *copy, "--dry-run", cwd=tmp_path)
            lines = differs.stdout.splitlines()
            assert {gone, changed} == {json.loads(line)["name"] for line in lines}, differs.stderr
            ended = command("run", *copy, *ONCE, cwd=tmp_path)
            assert ended.returncode == 0, ended.stderr
            assert names == held(tmp_path / way)
        assert program.stop(signal.SIGTERM) == 0, program.text()
    assert "Traceback" not in program.text()


def test_killed_it_serves_again_at_the_same_address(site: Running, tmp_path: Path) -> None:
    """The child of a `run` alone dies; who asks meanwhile waits; the pipeline goes on."""
    data = tmp_path / "data"
    run = ("run", "--data", str(data), "--upstream", site.url, *QUICK, "--backfill")
    with started(*run, "--http", "127.0.0.1:0", cwd=tmp_path) as program:
        url = address_of(program)
        served(program, url, head(site))
        [child] = [one for one in program.children() if "serving" in one.cmdline()]
        child.kill()
        psutil.wait_procs([child], timeout=SECONDS_MAX)
        site.change("release", min(site.served_names()))
        served(program, url, head(site))

        same = ("serve", "--data", str(data), "--http", url.removeprefix("http://"))
        again = command(*same, cwd=tmp_path)
        other = command("serve", "--data", str(data), "--http", "127.0.0.1:0", cwd=tmp_path)
        assert program.stop(signal.SIGINT) == 0, program.text()

    for ended in (again, other):  # its own port, too: the directory is what is in use
        assert 1 == ended.returncode
        assert "holds the role 'serve'" in ended.stderr


def test_what_a_run_does_is_in_the_metrics(site: Running, tmp_path: Path) -> None:
    """Its fetches, noted for the child that serves; the child's flags; a line for each request."""
    data = tmp_path / "data"
    run = ("run", "--data", str(data), "--upstream", site.url, *QUICK, "--backfill")
    with started(*run, "--http", "127.0.0.1:0", "--sql", "--http-log", cwd=tmp_path) as program:
        url = address_of(program)
        served(program, url, head(site))

        def fetched() -> str:
            text = httpx.get(f"{url}/metrics", timeout=SECONDS_MAX).text
            return text if 'fetches_total{role="run",outcome="document"}' in text else ""

        text = program.until(fetched, SECONDS_MAX, "fetches")
        switched_on = ask(url, "/v1/sql")
        assert program.stop(signal.SIGINT) == 0, program.text()

    assert 'pypistream_names{status="dead"} 0' in text
    assert re.search(r"^pypistream_lag_seconds \d", text, re.MULTILINE)
    assert (switched_on[0], switched_on[1]["error"]) == (400, "no SQL")
    assert '"logger":"http.request","event":"request"' in program.text()


def test_it_serves_beside_a_run_and_after_it(site: Running, tmp_path: Path) -> None:
    """`serve` on the same directory: what is written shows, and stays when the writer has ended."""
    data = tmp_path / "data"
    run = ("run", "--data", str(data), "--upstream", site.url, *QUICK)
    ended = command(*run, "--once", "--once-wait", "1", "--backfill", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    serve = ("serve", "--data", str(data), "--http", "127.0.0.1:0")
    with started(*serve, cwd=tmp_path, name="serve") as service:
        url = address_of(service)
        before = served(service, url, head(site))
        with started(*run, cwd=tmp_path, name="run") as program:
            program.until(lambda: "following" in program.text(), SECONDS_MAX, "start")
            site.change("release", min(site.served_names()))
            served(service, url, head(site))
            assert program.stop() == 0, program.text()
        after = ask(url, "/v1/status")[1]

        assert after["watermark"] > before["watermark"]
        assert 200 == ask(url, "/healthz")[0]
        assert 200 == ask(url, "/dumps/manifest.json")[0]

        with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)):
            assert service.stop(signal.SIGTERM) == 0, service.text()
    assert "Traceback" not in service.text()


def test_without_a_log_there_is_nothing_to_serve(tmp_path: Path) -> None:
    ended = command("serve", "--data", str(tmp_path / "none"), cwd=tmp_path)

    assert 2 == ended.returncode
    assert "no log in" in ended.stderr


def test_a_run_says_at_once_that_its_port_is_taken(tmp_path: Path) -> None:
    """Before anything is made, and before anybody is asked for anything."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        nobody = ("--upstream", "http://127.0.0.1:9", "--data", str(tmp_path / "data"))
        ended = command("run", *nobody, "--http", taken, cwd=tmp_path)

    assert 2 == ended.returncode
    assert f"{taken} is taken" in ended.stderr
    assert not (tmp_path / "data").exists()
