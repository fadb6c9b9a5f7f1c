"""`GET /v1/openapi.json`: an OpenAPI 3.1 document of all routes, made of their own types."""

from __future__ import annotations

import inspect
import re
from functools import lru_cache
from http import HTTPStatus
from itertools import chain
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from schemas.codec import encode
from sinks.http.answers import JSON, answer
from sinks.http.openapi_operations import EITHER, OPERATIONS, Operation, Parameter

PATH = "/v1/openapi.json"
VERSION = "3.1.0"
JsonObject = dict[str, Any]


class Problem(msgspec.Struct, frozen=True):
    """What went wrong, and what to do."""

    error: str
    hint: str


def routes(version: str) -> list[BaseRoute]:
    """For the application. `version`: the program's."""

    async def openapi(request: Request) -> Response:
        return answer(request, _encoded(version))

    return [Route(PATH, openapi)]


@lru_cache(1)
def _encoded(version: str) -> bytes:
    return encode(document(version))


def document(version: str) -> JsonObject:
    """The whole document."""
    given = [operation.gives for operation in OPERATIONS if operation.gives is not None]
    several = [each for _, each in EITHER.values()]
    types = list(dict.fromkeys([Problem, *given, *chain(*several)]))
    references, definitions = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    schemas = dict(zip(map(str, types), references, strict=True))
    for definition in definitions.values():
        if "description" in definition:
            definition["description"] = inspect.cleandoc(definition["description"])
    for name, (key, either) in EITHER.items():
        items = [schemas[str(each)] for each in either]
        definitions[name]["properties"][key]["items"] = {"anyOf": items}
    paths: dict[str, JsonObject] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _said(operation, schemas)
    return {
        "openapi": VERSION,
        "info": {
            "title": "pypistream",
            "version": version,
            "summary": "PyPI's changelog, and the latest metadata of every project, live.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": definitions},
    }


def _said(operation: Operation, schemas: dict[str, JsonObject]) -> JsonObject:
    schema = {} if operation.gives is None else {"schema": schemas[str(operation.gives)]}
    answers: JsonObject = {
        "200": {"description": operation.summary, "content": {operation.media: schema}}
    }
    problem = {"content": {JSON: {"schema": schemas[str(Problem)]}}}
    for status in operation.problems:
        moved = status == HTTPStatus.MOVED_PERMANENTLY
        answers[str(status)] = {
            "description": HTTPStatus(status).phrase,
            **({} if moved else problem),
        }
    in_path = [
        Parameter(name, f"The {name}.", {"type": "string"}, "path")
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    found: JsonObject = {
        "tags": [operation.tag],
        "summary": operation.summary,
        "operationId": _id(operation),
        "parameters": [_parameter(each) for each in (*in_path, *operation.parameters)],
        "responses": answers,
    }
    if operation.body:
        found["requestBody"] = {"required": True, "content": {operation.body: {}}}
    return found


def _parameter(parameter: Parameter) -> JsonObject:
    schema = parameter.schema
    if parameter.several:
        schema = {"type": "array", "items": schema}
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.text,
        "required": parameter.place == "path",
        "schema": schema,
    }


def _id(operation: Operation) -> str:
    """A name of its own, for those who make a client of the document."""
    words = re.sub(r"[^a-z0-9]+", "-", operation.path.lower())
    end = "-folder" if operation.path.endswith("/") and len(operation.path) > 1 else ""
    return f"{operation.method.lower()}{words.rstrip('-')}{end}"
