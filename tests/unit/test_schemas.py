"""The published JSON Schemas say what the types say, and their examples keep to them."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import jsonschema_rs
import pytest

from schemas import codec, examples, generate
from schemas.codec import Envelope
from schemas.published import HEADERS, VALUES
from schemas.topics import Topic
from streams.log import Outgoing
from tests.support.schema_check import FOLDER, assert_valid, validator

FILES = sorted(path.name for path in FOLDER.glob("*.schema.json"))


def read(file: str) -> dict[str, object]:
    """A committed schema."""
    schema = json.loads((FOLDER / file).read_text(encoding="utf-8"))
    assert isinstance(schema, dict)
    return schema


def test_no_drift(capsys: pytest.CaptureFixture[str]) -> None:
    """The committed files are what the types generate now."""
    assert generate.main(["--check"]) == 0, capsys.readouterr().err


def test_drift_is_seen_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A changed, a missing and a left-over file are each named; writing mends all three."""
    for file in FILES:
        shutil.copy(FOLDER / file, tmp_path)
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    (tmp_path / "state.v1.schema.json").write_text("{}")
    (tmp_path / "marker.v1.schema.json").unlink()
    (tmp_path / "left-over.v1.schema.json").write_text("{}")

    assert generate.main(["--check"]) == 1
    named = capsys.readouterr().err
    assert all(word in named for word in ("state.v1", "marker.v1", "left-over.v1"))
    assert len(named.splitlines()) == 3
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


@pytest.mark.parametrize("file", FILES)
def test_examples_are_valid(file: str) -> None:
    """Each file is valid JSON Schema 2020-12, stands alone, and its examples keep to it."""
    schema = read(file)
    found = schema["examples"]

    jsonschema_rs.meta.validate(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == file
    assert isinstance(found, list)
    assert found
    for example in found:
        validator(file).validate(example)


@pytest.mark.parametrize("file", FILES)
def test_each_schema_refuses_something(file: str) -> None:
    """Without any one of its required keys an example is refused: no schema accepts everything."""
    first = read(file)["examples"]
    assert isinstance(first, list)
    instance = first[0]

    assert not validator(file).is_valid([])
    for key in instance:
        broken = copy.deepcopy(instance)
        broken[key] = {"of another": ["type"]}
        if not validator(file).is_valid(broken):
            return
    pytest.fail(f"{file} accepts any value of every key")


def test_every_topic_has_both_schemas() -> None:
    """Value and headers of each topic are described."""
    for topic in Topic:
        assert codec.dataschema(topic) in FILES
        assert f"{topic.value}.headers.v1.schema.json" in FILES


def test_the_files_are_those_of_the_tables() -> None:
    """Nothing is published that the tables do not name."""
    assert sorted([p.file for p in VALUES] + [p.file for p in HEADERS]) == FILES


@pytest.mark.parametrize("value", ["text", None, [], {}, 7, True])
def test_a_documents_keys_may_have_any_type(value: object) -> None:
    """PyPI may change a key's type tomorrow; what is passed through then is still valid."""
    document = json.loads(codec.encode(examples.METADATA))
    for key in document.keys() - {"info"}:
        assert validator("metadata.v1.schema.json").is_valid({**document, key: value})
    for key in document["info"].keys() - {"name"}:
        info = {**document["info"], key: value}
        assert validator("metadata.v1.schema.json").is_valid({**document, "info": info})


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({}, id="no info"),
        pytest.param({"info": None}, id="info is no object"),
        pytest.param({"info": {}}, id="no name"),
        pytest.param({"info": {"name": 7}}, id="the name is no text"),
        pytest.param({"info": {"name": "a", "description": ""}}, id="a description"),
    ],
)
def test_what_trim_promises_of_a_document(document: object) -> None:
    """There is an `info` with a name and without the description."""
    assert not validator("metadata.v1.schema.json").is_valid(document)


def a_record(**changes: object) -> Outgoing:
    """A valid record of `state`, with changed headers."""
    envelope = Envelope(
        id="1", type="pypistream.state", subject="flask", time=0, dataschema="state.v1.schema.json"
    )
    headers = {**dict(codec.headers(envelope)), **changes}
    pairs = tuple((name, value) for name, value in headers.items() if isinstance(value, bytes))
    return Outgoing(Topic.STATE, "flask", codec.encode(examples.STATE), pairs)


def test_a_valid_record_passes() -> None:
    """The check that other tests rest on accepts what is right, a tombstone too."""
    assert_valid(a_record())
    assert_valid(a_record()._replace(value=None))


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(a_record(ce_time=b"yesterday"), id="a time that is none"),
        pytest.param(a_record(ce_id=None), id="no id"),
        pytest.param(a_record(stale=b"yes"), id="a boolean that is none"),
        pytest.param(a_record(serial=b"-1"), id="a serial that is none"),
        pytest.param(a_record(ce_dataschema=b"metadata.v1.schema.json"), id="another schema"),
        pytest.param(a_record()._replace(value=b'{"status":"fine","event":1}'), id="status"),
        pytest.param(a_record()._replace(value=b'{"status":"ok"}'), id="no event"),
        pytest.param(a_record()._replace(headers=()), id="no headers"),
    ],
)
def test_an_invalid_record_fails(record: Outgoing) -> None:
    """And it refuses what is wrong, whichever part it is."""
    with pytest.raises(AssertionError, match="refuses"):
        assert_valid(record)
