"""What is no proper call: refused with a fault, soon, and the next call is answered."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any
from xmlrpc.client import Fault, dumps, loads

import httpx
import pytest

from sinks.http.xmlrpc import calls as xmlrpc_calls
from sinks.http.xmlrpc.calls import CALL_BYTES_MAX
from tests.support.documents import document
from tests.support.http_served import served
from tests.support.http_world import client_of
from tests.support.memory_library import MemoryLibrary

PARSE_ERROR, WRONG_PARAMETERS = -32700, -32602
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 9))

NUMBER_AS_NAME = "<struct><member><name>name</name><value><int>1</int></value></member></struct>"


def call_of(method: str, *values: str) -> str:
    """A call with parameters as they are written."""
    given = "".join(f"<param><value>{value}</value></param>" for value in values)
    name = f"<methodName>{method}</methodName>"
    return f"<?xml version='1.0'?><methodCall>{name}<params>{given}</params></methodCall>"


def fault_of(answer: httpx.Response) -> Fault:
    """The fault that an answer is."""
    assert (200, "text/xml; charset=utf-8") == (answer.status_code, answer.headers["content-type"])
    with pytest.raises(Fault) as caught:
        loads(answer.content)
    return caught.value


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    library = MemoryLibrary()
    library.put(document("1", name="here"))
    async with client_of(library, xmlrpc_calls.routes(library)) as client:
        yield client
        answer = await client.post("/pypi", content=dumps(("here",), "package_releases"))
        assert ((["1"],), None) == loads(answer.content)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not xml",
        "<?xml version='1.0'?><methodCall>",
        "<methodCall></methodCall>",
        "<methodCall><methodName></methodName></methodCall>",
        "<methodResponse><params></params></methodResponse>",
        "<html><body>hello</body></html>",
        dumps(Fault(1, "no")),
        f"<!DOCTYPE x [{LAUGHS}]>{call_of('&l8;')}",
        f"<!DOCTYPE x [<!ENTITY l0 'list_packages'>]>{call_of('&l0;')}",
        f"<!DOCTYPE x SYSTEM 'file:///etc/passwd'>{call_of('list_packages')}",
        f"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>{call_of('&e;')}",
        call_of("search", "<array><data><value>" * 500 + "</value></data></array>" * 500),
        call_of("search", "<struct><member><name>a</name><value>" * 9 + "1"),
        call_of("changelog", f"<int>{'9' * 5_000}</int>"),
        call_of("changelog", "<int>one</int>"),
        call_of("changelog", "<double>much</double>"),
        call_of("changelog", "<boolean>2</boolean>"),
        call_of("changelog", "<dateTime.iso8601>yesterday</dateTime.iso8601>"),
        call_of("package_releases", "<string>\x00</string>"),
        call_of("package_releases", "<string>&#0;</string>"),
    ],
)
async def test_what_is_no_call(client: httpx.AsyncClient, body: str) -> None:
    """A parse error, without a word of what entities name."""
    fault = fault_of(await client.post("/pypi", content=body.encode()))

    assert PARSE_ERROR == fault.faultCode
    assert "root:" not in fault.faultString


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("changelog_last_serial", ["<int>1</int>"]),
        ("changelog_since_serial", []),
        ("changelog_since_serial", [f"<int>{2**64}</int>"]),
        ("changelog_since_serial", [f"<i8>{2**63}</i8>"]),
        ("changelog_since_serial", ["<int>-1</int>"]),
        ("changelog_since_serial", ["<boolean>1</boolean>"]),
        ("changelog_since_serial", ["<double>1.5</double>"]),
        ("changelog_since_serial", ["<string>1</string>"]),
        ("changelog_since_serial", ["<int>1</int>", "<int>1</int>"]),
        ("changelog", ["<double>nan</double>"]),
        ("changelog", ["<double>1e300</double>"]),
        ("changelog", ["<int>1</int>", "<string>yes</string>"]),
        ("changelog", ["<int>1</int>", "<array><data></data></array>"]),
        ("updated_releases", ["<nil/>"]),
        ("changed_packages", ["<struct></struct>"]),
        ("package_releases", ["<int>1</int>"]),
        ("package_releases", [f"<string>{'x' * 1_001}</string>"]),
        ("package_releases", ["<base64>aGVyZQ==</base64>"]),
        ("package_releases", ["<dateTime.iso8601>20200101T00:00:00</dateTime.iso8601>"]),
        ("release_urls", ["here"]),
        ("release_data", ["here", "<int>1</int>"]),
        ("package_roles", ["<nil/>"]),
        ("user_packages", ["<array><data></data></array>"]),
        ("browse", ["A"]),
        ("browse", ["<array><data></data></array>"]),
        ("browse", ["<array><data><value><int>1</int></value></data></array>"]),
        ("browse", [f"<array><data>{'<value>x</value>' * 101}</data></array>"]),
        ("search", ["name"]),
        ("search", [NUMBER_AS_NAME]),
        ("search", ["<struct></struct>", "xor"]),
        ("list_packages", ["here"]),
        ("system.multicall", ["here"]),
        ("system.multicall", [f"<array><data>{'<value>x</value>' * 21}</data></array>"]),
    ],
)
async def test_parameters_of_the_wrong_kind(
    client: httpx.AsyncClient, method: str, values: list[str]
) -> None:
    """Too few, too many, of other types, out of range, too long: a fault that says which."""
    fault = fault_of(await client.post("/pypi", content=call_of(method, *values)))

    assert WRONG_PARAMETERS == fault.faultCode


async def test_a_multicall_within_a_multicall(client: httpx.AsyncClient) -> None:
    """Not even one; and what is no call there gets its fault in its place."""
    inner: list[Any] = [{"methodName": "system.multicall", "params": [[]]}, {"params": []}, 7]
    inner.append({"methodName": "package_releases", "params": ["here"]})
    answer = await client.post("/pypi", content=dumps((inner,), "system.multicall"))
    found: list[Any] = list(loads(answer.content)[0])

    assert [WRONG_PARAMETERS] * 3 == [each["faultCode"] for each in found[0][:3]]
    assert [["1"]] == found[0][3]


async def test_a_body_over_the_limit(client: httpx.AsyncClient) -> None:
    """Refused by its length, and where none is told, as soon as it is over."""
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while taken < 900_000:
            taken += 10_000
            yield b" " * 10_000

    for content in (b" " * (CALL_BYTES_MAX + 1), endless()):
        fault = fault_of(await client.post("/pypi", content=content))
        assert PARSE_ERROR == fault.faultCode
        assert str(CALL_BYTES_MAX) in fault.faultString


async def test_a_body_over_the_limit_on_a_socket() -> None:
    """The fault comes over a real connection, too, while the client is still sending."""
    library = MemoryLibrary()
    async with (
        served(library, xmlrpc_calls.routes(library)) as address,
        httpx.AsyncClient() as client,
    ):
        fault = fault_of(await client.post(f"{address}/pypi", content=b" " * 800_000))

    assert PARSE_ERROR == fault.faultCode


async def test_bodies_damaged_at_random(client: httpx.AsyncClient) -> None:
    """Whatever a call is turned into, the answer is a value or a fault."""
    good = dumps(({"name": ["here"]}, "and"), "search").encode()
    draw = random.Random(5)
    for _ in range(400):
        body = bytearray(good)
        for _ in range(draw.randint(1, 6)):
            at = draw.randrange(len(body))
            body[at : at + draw.randint(0, 9)] = bytes(
                draw.choice(b"<>&/;=\x00\xff9aint") for _ in range(draw.randint(0, 5))
            )
        answer = await client.post("/pypi", content=bytes(body))
        assert 200 == answer.status_code
        with contextlib.suppress(Fault):
            loads(answer.content)


async def test_only_calls_are_posted(client: httpx.AsyncClient) -> None:
    """A browser that looks gets a problem of HTTP, not of XML-RPC."""
    assert 405 == (await client.get("/pypi")).status_code
