"""The HTTP client against the stand-in for PyPI, with every fault the stand-in knows."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import PypistreamError, RateLimited
from schemas.names import normalize
from upstream.client import HttpUpstream
from upstream.settings import ClientSettings
from upstream.source import Document, NotFound, NotModified, SerialMap

ROOT = Path(__file__).parents[2]
PROJECTS = 60


@pytest.fixture(scope="module")
def standin() -> Iterator[str]:
    """Address of a stand-in in a process of its own."""
    command = [sys.executable, "-m", "upstream.standin", "--port", "0", "--sizes", "small"]
    command += ["--projects", str(PROJECTS)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.terminate()


@pytest.fixture
async def client(standin: str) -> AsyncIterator[HttpUpstream]:
    """A client with short time-outs; no faults and clean counters."""
    control(standin, "faults", method="DELETE")
    control(standin, "stats/reset", {})
    base = ClientSettings(standin, "me@example.org", rate=0, in_flight=4, read_seconds_max=0.5)
    short = {
        name: replace(getattr(base, name), total_seconds=2.0)
        for name in ("document", "journal", "index")
    }
    client = HttpUpstream(replace(base, **short))
    yield client
    await client.close()


def control(url: str, path: str, body: Any = None, method: str | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/_control/{path}", data, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def truth(url: str) -> dict[str, dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/_control/truth", timeout=60) as answer:
        return {line["name"]: line for line in map(json.loads, answer.read().splitlines())}


async def test_journal_map_and_documents_are_the_truth(standin: str, client: HttpUpstream) -> None:
    """All rows in pages that end, all names with their serials, all documents; then 304."""
    found: list[tuple[Any, ...]] = []
    last = await client.last_serial()
    while not found or found[-1][4] < last:
        page = await client.journal_since(found[-1][4] if found else 0)
        assert page.bad == []
        found.extend(page.rows)
    assert [list(row) for row in found] == control(standin, "journal?since=0")

    index = await client.serial_map()
    assert isinstance(index, SerialMap)
    assert isinstance(await client.serial_map(index.etag), NotModified)
    projects = truth(standin)
    serials = {normalize(project.name): project.serial for project in index.projects}
    assert all(projects[name]["serial"] == serial for name, serial in serials.items())

    documents = 0
    for name, true in projects.items():
        answer = await client.project(normalize(name))
        if isinstance(answer, NotFound):
            assert true["document"] is None
            continue
        assert isinstance(answer, Document)
        assert json.loads(answer.body) == true["document"]
        assert (answer.serial, answer.etag) == (true["serial"], true["etag"])
        assert isinstance(await client.project(normalize(name), answer.etag), NotModified)
        documents += 1
    assert documents > PROJECTS // 2

    stats = control(standin, "stats")
    assert list(stats["user_agents"]) == [ClientSettings(standin, "me@example.org").user_agent]
    assert stats["connections"]["document"]["peak"] == 1
    assert stats["total"] == client.requests_sent


async def outcome(client: HttpUpstream, route: str, document: dict[str, Any]) -> str:
    """Name of the answer or of the error; anything but an error of ours goes through."""
    name = normalize(document["info"]["name"])
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "json": lambda: client.project(name),
        "version": lambda: client.version(name, document["info"]["version"]),
        "xmlrpc": lambda: client.journal_since(0),
        "simple": client.serial_map,
    }
    try:
        return type(await calls[route]()).__name__
    except PypistreamError as error:
        return type(error).__name__


async def outcomes(standin: str, kind: dict[str, Any], document: dict[str, Any]) -> set[str]:
    """What the calls come to under one fault, and that all is well after it."""
    # A client each: a hold of one fault must not stand in the way of the next.
    base = ClientSettings(standin, rate=0, in_flight=1, read_seconds_max=0.2)
    short = {
        route: replace(getattr(base, route), total_seconds=0.4)
        for route in ("document", "journal", "index")
    }
    client = HttpUpstream(replace(base, **short))
    params = {"mib": 80} if "mib" in kind["params"] else {}
    control(standin, "faults", {"kind": kind["kind"], **params})
    found: set[str] = set()
    for route in kind["routes"]:
        if route != "files" and not client.held_seconds():
            found.add(await outcome(client, route, document))
    control(standin, "faults", method="DELETE")
    if not client.held_seconds():
        assert await outcome(client, "json", document) == "Document"
        assert await outcome(client, "xmlrpc", document) == "JournalPage"
    await client.close()
    return found


@pytest.mark.timeout(600)  # sixty faults, some of which take their time-out
async def test_every_fault_is_an_answer_or_an_error_of_ours(standin: str) -> None:
    """Every kind on every route it has; the client is whole again once the fault is gone."""
    document = next(true["document"] for true in truth(standin).values() if true["document"])
    kinds = control(standin, "faults/kinds")

    seen = {kind["kind"]: await outcomes(standin, kind, document) for kind in kinds}

    assert len(seen) > 50
    expected = {
        "BrokenBody": "truncated-gzip gzip-without-trailer gzip-with-garbage bad-gzip not-gzip "
        "truncated-body truncated-chunks wrong-length-long reset-in-body unknown-encoding",
        "UpstreamUnavailable": "reset close hang drip not-http 500 503 redirect-loop redirect-host "
        "redirect-file redirect-nowhere redirect-chain xmlrpc-fault xmlrpc-bad-xml xmlrpc-deep "
        "xmlrpc-hang xmlrpc-entities xmlrpc-wrong-type",
        "RateLimited": "429 429-retry-after 429-retry-date 429-bad-retry-after 503-retry-after "
        "xmlrpc-rate-limit xmlrpc-rate-limit-reset",
        "ForeignMetadata": "redirect-project",
        "JournalGone": "xmlrpc-gone",
        "JournalPage": "xmlrpc-control-character xmlrpc-rows-out-of-order xmlrpc-repeated-rows "
        "xmlrpc-bad-row xmlrpc-bad-name",
    }
    wrong = {
        kind: seen[kind]
        for name, kinds_of_it in expected.items()
        for kind in kinds_of_it.split()
        if seen[kind] != {name}
    }
    assert wrong == {}


async def test_no_request_comes_before_the_time_upstream_named(
    standin: str, client: HttpUpstream
) -> None:
    """Counted at the stand-in, without grace."""
    control(standin, "faults", {"kind": "429-retry-after", "count": 1, "retry_after": 1})
    name = normalize(next(iter(truth(standin))))

    with pytest.raises(RateLimited):
        await client.project(name)
    for _ in range(3):
        await client.permit()
        await client.project(name)

    stats = control(standin, "stats")
    assert stats["early_strict"] == {}
    assert stats["faults"] == {"429-retry-after": 1}
