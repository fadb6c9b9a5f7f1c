"""The OpenAPI document and the service say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from sinks.http.documents import PREFIX, SUFFIX
from sinks.http.openapi import PATH, document
from sinks.http.resolver.query import PARAMETERS
from tests.support.memory_library import MemoryLibrary
from tests.support.service_world import asking, routes_of, service
from tests.support.sql_world import publish
from tests.support.view_records import document as project
from tests.support.view_records import file

SHEET = document("1.0")


@pytest.fixture
def library() -> MemoryLibrary:
    library = MemoryLibrary()
    library.put(
        project("foo", requires_dist=["bar[x]>=1; python_version > '3'", "not a requirement"]),
        {"0.9": [file("foo-0.9.tar.gz")], "1.0": [file("foo-1.0-py3-none-any.whl")]},
    )
    library.put(project("bar"))
    return library


def test_every_route_is_described_and_every_description_served(
    tmp_path: Path, library: MemoryLibrary
) -> None:
    """Found by the routes themselves; the hot path of documents is none of them."""
    served = {*routes_of(service(tmp_path, library)), ("GET", f"{PREFIX}{{name}}{SUFFIX}")}
    described = {
        (method.upper(), path) for path, methods in SHEET["paths"].items() for method in methods
    }

    assert served == described


def test_names_are_given_once_and_every_path_names_its_parts() -> None:
    operations = [
        (path, each) for path, methods in SHEET["paths"].items() for each in methods.values()
    ]
    ids = [each["operationId"] for _, each in operations]

    assert len(set(ids)) == len(ids)
    for path, each in operations:
        in_path = [p["name"] for p in each["parameters"] if p["in"] == "path"]
        assert in_path == re.findall(r"{(\w+)}", path)
        named = [(p["in"], p["name"]) for p in each["parameters"]]
        assert len(set(named)) == len(named)


def test_the_resolvers_parameters_are_all_there() -> None:
    described = SHEET["paths"]["/v1/query"]["get"]["parameters"]

    assert PARAMETERS == {each["name"] for each in described}


def check(path: str, method: str, status: int, value: Any) -> None:
    """The value is as described."""
    answers = SHEET["paths"][path][method]["responses"]
    schema = answers[str(status)]["content"]["application/json"]["schema"]
    whole = {**schema, "components": SHEET["components"]}
    errors = [
        f"{list(error.instance_path)}: {error.message}"
        for error in jsonschema_rs.validator_for(whole).iter_errors(value)
    ]

    assert errors == [], path


@pytest.mark.parametrize(
    "path",
    [
        path.replace("{name}", "foo")
        for path, methods in SHEET["paths"].items()
        if path.startswith("/v1/") and {"400"} <= set(methods.get("get", {}).get("responses", ()))
    ],
)
async def test_a_parameter_that_there_is_not_is_refused_with_those_there_are(
    path: str, tmp_path: Path, library: MemoryLibrary
) -> None:
    """Who misspells one gets no answer to another question; and all of the document are known."""
    described = SHEET["paths"][path.replace("/foo", "/{name}")]["get"]["parameters"]
    known = sorted(each["name"] for each in described if each["in"] == "query")
    with asking(service(tmp_path, library).app()) as client:
        refused = await client.get(path, params={"projekt_": "foo"})

    said = refused.json()
    assert [400, "no parameter 'projekt_'"] == [refused.status_code, said["error"]]
    assert said["hint"].endswith(f"there are {', '.join(known)}" if known else "with one")
    assert ("project" in known) == said["hint"].startswith("did you mean 'project'? ")


@pytest.mark.parametrize(
    "address",
    [
        *("/v1/projects?limit=1&limit=2", "/v1/projects?q=foo&q=bar"),
        "/v1/projects/bar/reverse-dependencies?after=a&after=b",
        *("/v1/changes?limit=1&limit=2", "/v1/changes.atom?archive=250&archive=500"),
        "/v1/sql?q=SELECT+1&q=SELECT+2",
    ],
)
async def test_a_parameter_that_is_there_twice_is_refused(
    address: str, tmp_path: Path, library: MemoryLibrary
) -> None:
    """Which of the two was meant nobody knows."""
    with asking(service(tmp_path, library).app()) as client:
        refused = await client.get(address)

    name = address.partition("?")[2].partition("=")[0]
    assert [400, f"{name} is given twice"] == [refused.status_code, refused.json()["error"]]


async def test_answers_are_as_described(tmp_path: Path, library: MemoryLibrary) -> None:
    """Real ones, good and bad, held against the document's own schemas."""
    publish(tmp_path, 1)
    asked = {
        "/pypi/{name}/json": ("/pypi/foo/json", "/pypi/missing/json"),
        "/pypi/{name}/{version}/json": (
            *("/pypi/foo/1.0/json", "/pypi/foo/0.9/json", "/pypi/foo/7/json"),
        ),
        "/v1/projects": ("/v1/projects?limit=1", "/v1/projects?q=foo", "/v1/projects?limit=0"),
        "/v1/projects/{name}": ("/v1/projects/foo", "/v1/projects/missing"),
        "/v1/projects/{name}/reverse-dependencies": (
            "/v1/projects/bar/reverse-dependencies",
            "/v1/projects/bar/reverse-dependencies?limit=0",
        ),
        "/v1/query": ("/v1/query?project=foo&python=3.13", "/v1/query", "/v1/query?project=none"),
        "/v1/sql": ("/v1/sql?q=SELECT+1,+[2]", "/v1/sql", "/v1/sql?q=DROP+TABLE+x"),
        "/v1/changes": ("/v1/changes?limit=0", "/v1/changes"),
        "/v1/status": ("/v1/status",),
        "/healthz": ("/healthz",),
        PATH: (PATH,),
    }
    found = set()
    with asking(service(tmp_path, library).app()) as client:
        for path, addresses in asked.items():
            for address in addresses:
                answer = await client.get(address)
                check(path, "get", answer.status_code, answer.json())
                found.add((path, answer.status_code))
        body = {"queries": [{"project": "foo"}, {"project": "none"}, 7]}
        answer = await client.post("/v1/query", json=body)
        check("/v1/query", "post", answer.status_code, answer.json())
        sheet = (await client.get(PATH)).json()

    assert {("/v1/query", 200), ("/v1/query", 400), ("/v1/query", 404), ("/v1/sql", 200)} <= found
    assert {("/pypi/{name}/json", 404), ("/v1/projects/{name}", 200)} <= found
    assert [len(answer.json()["answers"]), sheet["openapi"]] == [3, "3.1.0"]


def test_it_is_an_openapi_document() -> None:
    """Every reference leads somewhere, and every schema is one of JSON Schema 2020-12."""
    text = str(SHEET)
    names = set(re.findall(r"#/components/schemas/([\w.]+)", text))

    assert names <= set(SHEET["components"]["schemas"])
    for name, schema in SHEET["components"]["schemas"].items():
        jsonschema_rs.meta.validate(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
        )
        assert schema.get("description") or schema.get("type") != "object", name
