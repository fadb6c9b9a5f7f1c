"""Writes docs/asyncapi.yaml, the AsyncAPI 3 document of topics and streams, from what they are.

With --check it only compares.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import msgspec
import yaml

from schemas.generate import null_last
from schemas.published import HEADERS, VALUES, PublishedHeaders
from schemas.topics import PREFIX, RECORD_BYTES_MAX, TOPICS, Topic
from scripts.pages import write_or_check
from sinks.http.openapi_operations import OPERATIONS, SSE, Operation
from sinks.http.streams.frames import ChangeData, DocumentData

PAGE = Path(__file__).parent.parent / "docs" / "asyncapi.yaml"
FORMAT = "application/schema+json;version=draft-2020-12"
HEAD = "# Made by scripts/asyncapi.py from schemas/ and sinks/http/: change those, then run it.\n"
ABOUT = (
    "PyPI's changelog as an event log, and the latest metadata of every project beside it. "
    "Topics are keyed by the normalised project name; those that are compacted hold the last "
    "record per key, and a null is a tombstone. Over HTTP the same comes as server-sent events."
)

Json = dict[str, Any]
STREAMED: dict[str, tuple[str, type[msgspec.Struct]]] = {
    "/v1/stream/changes": ("change", ChangeData),
    "/v1/stream/metadata": ("document", DocumentData),
}
TITLES = {published.stem: published.title for published in VALUES}
RESET: Json = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "serial": {"type": "integer"}},
    "required": ["reason"],
}


def document() -> Json:
    """The whole document."""
    channels = {published.topic.value: _topic(published) for published in HEADERS}
    streams = [operation for operation in OPERATIONS if operation.media == SSE]
    channels |= {_name(operation): _stream(operation) for operation in streams}
    types = [data for _, data in STREAMED.values()]
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        null_last(schema)
        schema["description"] = inspect.cleandoc(schema.get("description", ""))
    messages = {stem: _record(published, stem) for published in HEADERS for stem in published.stems}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "pypistream",
            "version": "1",
            "description": ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {"host": "kafka.example.org:9092", "protocol": "kafka"},
            "http": {"host": "pypistream.example.org", "protocol": "http"},
        },
        "channels": channels,
        "operations": {
            f"send-{name}": {"action": "send", "channel": {"$ref": f"#/channels/{name}"}}
            for name in channels
        },
        "components": {"messages": messages | _events(), "schemas": schemas},
    }


def _topic(published: PublishedHeaders) -> Json:
    spec = TOPICS[published.topic]
    kept = {"retention.ms": spec.retention_ms, "delete.retention.ms": spec.tombstone_ms}
    configuration = {
        "cleanup.policy": [spec.cleanup],
        **{name: value for name, value in kept.items() if value is not None},
        "max.message.bytes": RECORD_BYTES_MAX,
    }
    return {
        "address": f"{PREFIX}{published.topic.value}",
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {s: {"$ref": f"#/components/messages/{s}"} for s in published.stems},
        "bindings": {"kafka": {"topicConfiguration": configuration, "bindingVersion": "0.5.0"}},
    }


def _record(published: PublishedHeaders, stem: str) -> Json:
    key = {"type": ["string", "null"] if published.topic is Topic.DEAD_LETTER else "string"}
    return {
        "title": TITLES[stem],
        "contentType": "application/json",
        "headers": _file(published.file),
        "payload": _file(f"{stem}.v1.schema.json"),
        "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
    }


def _file(name: str) -> Json:
    return {"schemaFormat": FORMAT, "schema": {"$ref": f"../schemas/{name}"}}


def _name(operation: Operation) -> str:
    return operation.path.removeprefix("/v1/").replace("/", "-")


def _stream(operation: Operation) -> Json:
    message, _ = STREAMED[operation.path]
    events = [message, "reset", *(["live"] if message == "document" else [])]
    query = {each.name: each.schema for each in operation.parameters if each.place == "query"}
    binding = {
        "method": operation.method,
        "query": {"type": "object", "properties": query},
        "bindingVersion": "0.3.0",
    }
    return {
        "address": operation.path,
        "title": operation.summary,
        "servers": [{"$ref": "#/servers/http"}],
        "messages": {each: {"$ref": f"#/components/messages/{each}"} for each in events},
        "bindings": {"http": binding},
    }


def _events() -> Json:
    found: Json = {
        message: {
            "title": f"The data of a {message}'s event",
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{data.__name__}"},
        }
        for message, data in STREAMED.values()
    }
    return {
        **found,
        "reset": {
            "title": "`event: reset`: what a client holds is not to be trusted, all comes anew",
            "payload": RESET,
        },
        "live": {
            "title": "`event: live`: the present state is whole, changes follow",
            "payload": {"type": "object"},
        },
    }


def text() -> str:
    """The file's."""
    said: str = yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=100)
    return HEAD + said


def main(arguments: list[str]) -> int:
    """Write the file, or check it."""
    return write_or_check(PAGE, text(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
