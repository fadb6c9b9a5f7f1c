"""Writes `schemas/*.schema.json` (JSON Schema 2020-12) from the types, or with --check compares.

Each file is self-contained: no reference leads out of it. `$id` is the file's name, as in the
header `ce_dataschema`.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import get_type_hints

import msgspec

from schemas.codec import CE_SOURCE, Envelope, encode, headers
from schemas.published import HEADERS, VALUES, Published, PublishedHeaders

FOLDER = Path(__file__).parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Json = dict[str, object]

_CLOUDEVENTS: Json = {
    "ce_specversion": {"const": "1.0"},
    "ce_id": {"type": "string", "minLength": 1},
    "ce_source": {"const": CE_SOURCE},
    "ce_subject": {"type": "string", "description": "The project's normalised name."},
    "ce_time": {"type": "string", "format": "date-time"},
    "content-type": {"const": "application/json"},
}
_BY_TYPE: dict[object, Json] = {
    int | None: {"type": "string", "pattern": "^[0-9]+$"},
    bool | None: {"enum": ["true", "false"]},
    float | None: {"type": "string", "format": "date-time"},
    str | None: {"type": "string", "minLength": 1},
}


def schemas() -> dict[str, Json]:
    """Every published schema by file name."""
    return {p.file: value_schema(p) for p in VALUES} | {p.file: header_schema(p) for p in HEADERS}


def value_schema(published: Published) -> Json:
    """Schema of a value: one type, or any of several."""
    types = [type(example) for example in published.examples]
    distinct = list(dict.fromkeys(types))
    references, definitions = msgspec.json.schema_components(
        distinct, ref_template="#/$defs/{name}"
    )
    for definition in definitions.values():
        if "description" in definition:
            definition["description"] = inspect.cleandoc(definition["description"])
        null_last(definition)
    if "Metadata" in definitions:
        _loosen_metadata(definitions)
    body = references[0] if len(references) == 1 else {"anyOf": list(references)}
    return {
        "$schema": DIALECT,
        "$id": published.file,
        "title": published.title,
        **body,
        "examples": [json.loads(encode(example)) for example in published.examples],
        "$defs": definitions,
    }


def null_last(schema: object) -> None:
    """Put the alternatives of each `anyOf` in one order; msgspec's differs between versions."""
    if isinstance(schema, dict):
        if isinstance(schema.get("anyOf"), list):
            schema["anyOf"].sort(key=lambda alternative: alternative == {"type": "null"})
        for value in schema.values():
            null_last(value)
    elif isinstance(schema, list):
        for value in schema:
            null_last(value)


def _loosen_metadata(definitions: dict[str, Json]) -> None:
    """Require of PyPI's document only what `trim` promises; its usual shape remains as annotation.

    `anyOf` with true accepts everything, and a reader still finds today's keys and types.
    """
    usual = definitions.pop("Metadata")
    definitions["UsualMetadata"] = {**usual, "title": "UsualMetadata"}
    definitions["Metadata"] = {
        "title": "Metadata",
        "description": "A document as PyPI made it. What is required here is promised; "
        "UsualMetadata is what nearly all documents look like.",
        "type": "object",
        "properties": {
            "info": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "description": False},
                "required": ["name"],
            }
        },
        "required": ["info"],
        "anyOf": [{"$ref": "#/$defs/UsualMetadata"}, True],
    }


def header_schema(published: PublishedHeaders) -> Json:
    """Schema of a topic's headers: CloudEvents 1.0 in binary mode, and ours from `Envelope`."""
    files = [f"{stem}.v1.schema.json" for stem in published.stems]
    properties: Json = {
        **_CLOUDEVENTS,
        "ce_type": {"type": "string", "pattern": published.types},
        "ce_dataschema": {"enum": files},
    }
    hints = get_type_hints(Envelope)
    for field in msgspec.structs.fields(Envelope):
        if field.default is None:
            properties[field.name.replace("_", "-")] = _BY_TYPE[hints[field.name]]
    required = sorted((*_CLOUDEVENTS.keys() - {"ce_subject"}, "ce_type", "ce_dataschema"))
    whole: Json = {"type": "object", "properties": properties, "required": required}
    body: Json = {"anyOf": [{"type": "object", "maxProperties": 0}, whole]}
    return {
        "$schema": DIALECT,
        "$id": published.file,
        "title": f"Headers of the topic {published.topic.value}, as an object of names and texts",
        **(body if published.bare else whole),
        "examples": [_headers_example(published)],
    }


def _headers_example(published: PublishedHeaders) -> Json:
    envelope = Envelope(
        id="36584184",
        type=published.example_type,
        subject="sample-project",
        time=1_777_532_160,
        dataschema=f"{published.stems[0]}.v1.schema.json",
        event_serial=36_584_184,
    )
    return {name: value.decode() for name, value in headers(envelope)}


def text_of(schema: Json) -> str:
    """The file's text: indented, in the order it was built, with a newline at the end."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the files that differ, or with --check name them and return 1."""
    wanted = {name: text_of(schema) for name, schema in schemas().items()}
    present = {p.name: p.read_text(encoding="utf-8") for p in FOLDER.glob("*.schema.json")}
    differing = sorted(n for n in wanted | present if wanted.get(n) != present.get(n))
    if "--check" in arguments:
        for name in differing:
            print(f"schemas/{name} is not what the types say: make schemas", file=sys.stderr)
        return 1 if differing else 0
    for name in differing:
        if name in wanted:
            (FOLDER / name).write_text(wanted[name], encoding="utf-8")
        else:
            (FOLDER / name).unlink()
        print(f"schemas/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
