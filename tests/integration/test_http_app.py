"""What the application refuses before any endpoint sees it, and what every answer carries."""

from __future__ import annotations

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sinks.http.answers import json_answer
from tests.support.http_world import client_of
from tests.support.memory_library import MemoryLibrary


async def _echo(request: Request) -> Response:
    body = await request.body()
    return json_answer(request, {"bytes": len(body)})


async def _fail(_request: Request) -> Response:
    raise ZeroDivisionError("a secret of this program")


ROUTES = [Route("/echo", _echo, methods=["GET", "POST"]), Route("/fail", _fail)]


def client(*hosts: str) -> httpx.AsyncClient:
    return client_of(MemoryLibrary(), ROUTES, hosts)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("LOCALHOST.", 200),
        ("127.0.0.1:8000", 200),
        ("10.1.2.3", 200),
        ("[::1]:8000", 200),
        ("pypi.example.org", 200),
        ("PyPI.Example.Org:443", 200),
        ("evil.example.com", 421),
        ("127.0.0.1.example.com", 421),
        ("localhost.example.com", 421),
        ("evil.example.com:127.0.0.1", 421),
        ("[::1", 200),
        ("[evil]", 421),
        ("999.0.0.1", 421),
    ],
)
async def test_only_names_it_is_known_by_are_answered(host: str, status: int) -> None:
    """A page elsewhere that points its own name here learns nothing (DNS rebinding)."""
    async with client("pypi.example.org") as asking:
        for path in ("/echo", "/pypi/foo/json"):
            answer = await asking.get(path, headers={"Host": host})

            assert (421 == status) == (421 == answer.status_code)


async def test_a_star_answers_to_any_name() -> None:
    async with client("*") as asking:
        assert 200 == (await asking.get("/echo", headers={"Host": "any.example"})).status_code


async def test_long_addresses_headers_and_bodies_are_refused() -> None:
    """4 KiB, 16 KiB and 1 MiB are the limits; below them all is well."""
    async with client() as asking:
        assert 200 == (await asking.get("/echo?" + "x" * 4_000)).status_code
        assert 431 == (await asking.get("/echo?" + "x" * 4_100)).status_code
        assert 431 == (await asking.get("/pypi/" + "x" * 4_100 + "/json")).status_code
        assert 200 == (await asking.get("/echo", headers={"X": "x" * 15_000})).status_code
        assert 431 == (await asking.get("/echo", headers={"X": "x" * 17_000})).status_code
        assert 200 == (await asking.post("/echo", content=b"x" * 1_000_000)).status_code
        assert 413 == (await asking.post("/echo", content=b"x" * 1_050_000)).status_code


async def test_every_answer_of_a_route_carries_safety() -> None:
    async with client() as asking:
        for path in ("/echo", "/nowhere"):
            answer = await asking.get(path)

            assert "nosniff" == answer.headers["x-content-type-options"]
            assert "no-referrer" == answer.headers["referrer-policy"]
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "application/json" == answer.headers["content-type"]


async def test_an_error_of_the_program_tells_clients_nothing_of_it() -> None:
    """500 with a problem; the rest is in the log."""
    transport = httpx.ASGITransport(client()._transport.app, raise_app_exceptions=False)  # type: ignore[attr-defined]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as asking:
        answer = await asking.get("/fail")

    assert 500 == answer.status_code
    assert {"error", "hint"} == set(answer.json())
    assert "secret" not in answer.text


async def test_answers_may_be_asked_for_again_by_their_tag() -> None:
    async with client() as asking:
        first = await asking.get("/echo")
        again = await asking.get("/echo", headers={"If-None-Match": first.headers["etag"]})

    assert (304, b"") == (again.status_code, again.content)
