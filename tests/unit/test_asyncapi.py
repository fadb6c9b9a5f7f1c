"""docs/asyncapi.yaml says what the topics and streams are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

from schemas.published import VALUES
from schemas.records import ChangelogEntry, Kind
from schemas.topics import PREFIX, TOPICS
from scripts.asyncapi import PAGE, main
from sinks.changes.order import Change
from sinks.http.streams.endpoint import Streams, routes
from sinks.http.streams.frames import (
    LIVE,
    LastKnown,
    change_data,
    change_frame,
    document_frame,
    reset_frame,
)
from streams.memory_log import MemoryLog
from tests.support.streams_world import document as published
from tests.support.view_records import read

SHEET: dict[str, Any] = yaml.safe_load(PAGE.read_text(encoding="utf-8"))


def references(value: object) -> Iterator[str]:
    """Every `$ref` in it."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_the_file_is_up_to_date() -> None:
    """Made anew from the types it is the same, character by character."""
    assert main(["--check"]) == 0


def test_every_reference_leads_somewhere() -> None:
    """Within the document, or to a file beside it."""
    found = list(references(SHEET))

    assert len(found) > 40
    for reference in found:
        if reference.startswith("#/"):
            place: Any = SHEET
            for part in reference[2:].split("/"):
                place = place[part]
        else:
            assert (PAGE.parent / reference).is_file(), reference


def test_every_topic_stream_and_schema_is_in_it() -> None:
    """Found by the tables of topics, routes and schemas."""
    addresses = {channel["address"] for channel in SHEET["channels"].values()}
    streams = {getattr(route, "path", "") for route in routes(Streams(MemoryLog(1)))}

    assert addresses == {f"{PREFIX}{topic.value}" for topic in TOPICS} | streams
    files = {Path(reference).name for reference in references(SHEET) if "schemas/" in reference}
    of_records = {each.file for each in VALUES if "jsonl" not in each.stem}
    of_files = {f"{name}.v1.schema.json" for name in ("manifest", "deltas", "full")}
    assert of_records - files == of_files
    for topic, spec in TOPICS.items():
        kafka = SHEET["channels"][topic.value]["bindings"]["kafka"]["topicConfiguration"]
        assert kafka["cleanup.policy"] == [spec.cleanup]


def data_of(frame: bytes) -> Any:
    line = next(each for each in frame.splitlines() if each.startswith(b"data: "))
    return json.loads(line.removeprefix(b"data: "))


def test_events_are_as_described() -> None:
    """Frames as clients get them, held against the document's own schemas."""
    entry = ChangelogEntry(1, "Foo", "1.0", 1_700_000_000, "yank release", Kind.YANK)
    known = (LastKnown("foo-1.0.tar.gz", "1.0", {"sha256": "0" * 64}),)
    change = Change(1, "foo", entry, last=True)
    frames = {
        "change": [
            change_frame(change, change_data(change, None, 0)),
            change_frame(change, change_data(change, known, 3)),
        ],
        "document": [
            document_frame(record, "cursor")
            for record in read([published("foo", 1, "text"), published("foo", 2, None)])
        ],
        "reset": [reset_frame("why"), reset_frame("why", serial=7)],
        "live": [LIVE],
    }

    for message, examples in frames.items():
        payload = SHEET["components"]["messages"][message]["payload"]
        whole = {**payload, "components": SHEET["components"]}
        for frame in examples:
            jsonschema_rs.validator_for(whole).validate(data_of(frame))
    assert {*frames} <= {
        name for channel in SHEET["channels"].values() for name in channel["messages"]
    }
