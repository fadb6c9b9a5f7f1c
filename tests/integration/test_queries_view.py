"""Queries and XML-RPC calls answered from the serving view's file, as they are from memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, dumps, loads

import pytest

from schemas.codec import encode
from schemas.records import ChangelogEntry, Kind
from schemas.topics import Topic
from sinks.http import queries
from sinks.http.library import Library
from sinks.http.xmlrpc import calls as xmlrpc_calls
from sinks.serving.reader import ServingLibrary
from sinks.serving.view import ServingView
from streams.log import Outgoing
from tests.support.http_world import client_of
from tests.support.memory_library import MemoryLibrary
from tests.support.view_records import (
    TIME,
    document,
    file,
    info,
    metadata,
    reach,
    read,
    releases,
    slim,
    state,
    take,
)

SERIAL = 50
CLASSIFIERS = ["Topic :: Utilities", "Typing :: Typed"]
ROLES = {"roles": [{"role": "Owner", "user": "amy"}, {"role": "Maintainer", "user": "bob"}]}
ROWS = [
    ChangelogEntry(10 + at, name, version, TIME + 3_600 * at, action, kind)
    for at, (name, version, action, kind) in enumerate(
        [
            ("toml-kit", None, "create", Kind.CREATE),
            ("toml-kit", "1.0", "new release", Kind.NEW_RELEASE),
            ("other", "1.0", "new release", Kind.NEW_RELEASE),
            ("toml-kit", "2.0", "new release", Kind.NEW_RELEASE),
        ]
    )
]
CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("changelog_last_serial", ()),
    ("changelog_since_serial", (10,)),
    ("changelog", (TIME + 3_600, True)),
    ("updated_releases", (TIME,)),
    ("changed_packages", (TIME + 1,)),
    ("list_packages", ()),
    ("list_packages_with_serial", ()),
    ("package_releases", ("Toml_Kit", True)),
    ("release_urls", ("toml-kit", "1.0")),
    ("release_data", ("toml-kit", "2.0")),
    ("release_data", ("toml-kit", "1.0")),
    ("package_roles", ("toml-kit",)),
    ("user_packages", ("amy",)),
    ("browse", (CLASSIFIERS,)),
    ("search", ({"name": "TOML_kit", "summary": "Reads"},)),
    ("search", ({"name": "tom"}, "or")),
]


def documents() -> Iterator[tuple[str, dict[str, Any], dict[str, list[dict[str, Any]]]]]:
    """Name, document and slim releases of three projects."""
    about = info("toml-kit", "2.0", summary="reads TOML files", classifiers=CLASSIFIERS)
    kit = document("toml-kit", "2.0", info={**about, "requires_dist": ["other>=1"]})
    versions = {
        version: [
            file(f"toml_kit-{version}-py3-none-any.whl", yanked=version == "1.0"),
            file(f"toml_kit-{version}.tar.gz"),
        ]
        for version in ("1.0", "1.5", "2.0")
    }
    yield "toml-kit", {**kit, "last_serial": SERIAL, "ownership": ROLES}, versions
    for name in ("other", "tomato"):
        whole = document(name, ownership={"roles": [ROLES["roles"][0]]})
        yield name, whole, {"1.0": [file(f"{name}-1.0.tar.gz")]}


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[ServingLibrary]:
    view = ServingView(tmp_path)
    out = [Outgoing(Topic.CHANGELOG, row.name, encode(row), ()) for row in ROWS]
    for name, whole, versions in documents():
        out.append(metadata(name, whole, serial=whole["last_serial"]))
        latest = whole["info"]["version"]
        out.append(releases(name, slim(name, versions, latest) | {"serial": whole["last_serial"]}))
        out.append(state(name, event=whole["last_serial"], body=whole["last_serial"]))
    take(view, read(out))
    reach(view, SERIAL)
    view.publish(1)
    library = ServingLibrary(tmp_path, view.suspect)
    library.renew()
    yield library
    library.close()
    view.close()


@pytest.fixture
def memory() -> MemoryLibrary:
    library = MemoryLibrary()
    for _, whole, versions in documents():
        library.put(whole, versions)
    library.write(ROWS)
    return library


async def call(library: Library, method: str, parameters: tuple[Any, ...]) -> Any:
    async with client_of(library, xmlrpc_calls.routes(library)) as client:
        answer = await client.post("/pypi", content=dumps(parameters, method))
    try:
        return loads(answer.content)[0][0]
    except Fault as fault:
        return fault.faultCode, fault.faultString


@pytest.mark.parametrize(("method", "parameters"), CALLS)
async def test_calls(
    serving: ServingLibrary, memory: MemoryLibrary, method: str, parameters: tuple[Any, ...]
) -> None:
    """The same values, or the same fault, and never nothing."""
    found = await call(serving, method, parameters)

    assert found
    assert await call(memory, method, parameters) == found


@pytest.mark.parametrize(
    "parameters",
    [
        {"project": "toml-kit"},
        {"project": "toml-kit", "python": "3.13", "platform": "win_amd64"},
        {"project": "toml-kit", "version": "==1.0", "python": "3.9"},
        {"project": "toml-kit", "python": "3.7"},
        {"project": "nobodys"},
    ],
)
async def test_queries(
    serving: ServingLibrary, memory: MemoryLibrary, parameters: dict[str, str]
) -> None:
    """The same answer, to the byte: what a file holds as 0 is false."""
    answers = []
    for library in (serving, memory):
        async with client_of(library, queries.routes(library)) as client:
            answers.append(await client.get("/v1/query", params=parameters))

    assert answers[0].status_code == answers[1].status_code
    assert answers[0].content == answers[1].content
