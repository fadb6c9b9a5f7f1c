"""Values and headers on the wire."""

from __future__ import annotations

import json

import pytest

from schemas.codec import Envelope, dataschema, decode, encode, headers, rfc3339
from schemas.errors import LogCorrupt
from schemas.records import Ask, Cut, Kind, Marker, Reason, State, Status
from schemas.topics import Topic

MINIMAL = Envelope(id="7", type="pypistream.state", subject="flask", time=0, dataschema="x")


def test_values_are_compact_json_without_what_is_at_its_default() -> None:
    """A row of `state` is written often: only what differs is in it."""
    state = State(Status.OK, event=7, body=7, name="Flask")

    assert b'{"status":"ok","event":7,"body":7,"name":"Flask"}' == encode(state)


def test_a_newer_writer_is_understood() -> None:
    """A field that this version does not know is passed over."""
    raw = b'{"base":1,"serial":2,"time":3,"of_the_future":{"a":[1]}}'

    assert Marker(1, 2, 3) == decode(raw, Marker)


def test_an_older_writer_is_understood() -> None:
    """A field that did not exist then takes its default."""
    assert Ask("Flask", Reason.SWEEP) == decode(b'{"name":"Flask","reason":"sweep"}', Ask)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b'{"base":1,"serial":2}', id="a field is missing"),
        pytest.param(b'{"base":1,"serial":"2","time":3}', id="text for a number"),
        pytest.param(b'{"base":1,"serial":2,"time":3}\xff', id="rubbish behind it"),
    ],
)
def test_what_cannot_be_read_is_a_corrupt_log(raw: bytes) -> None:
    """The log's own values were written by us: one that does not decode is damage, and fatal."""
    with pytest.raises(LogCorrupt, match="Marker") as caught:
        decode(raw, Marker)

    assert caught.value.hint


def test_the_cloudevents_attributes_come_first() -> None:
    """Binary mode of the Kafka protocol binding: `ce_` and the attribute's name."""
    assert headers(MINIMAL) == (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"7"),
        ("ce_type", b"pypistream.state"),
        ("ce_source", b"pypistream"),
        ("ce_subject", b"flask"),
        ("ce_time", b"1970-01-01T00:00:00Z"),
        ("ce_dataschema", b"x"),
        ("content-type", b"application/json"),
    )


def test_a_record_about_no_project_has_no_subject() -> None:
    """CloudEvents forbids an empty subject."""
    without = Envelope(id="7", type="t", subject="", time=0, dataschema="x")

    assert "ce_subject" not in dict(headers(without))


def test_our_headers_are_text() -> None:
    """Numbers as digits, booleans as words, times as RFC 3339; zero and false are not absent."""
    envelope = Envelope(
        id="7",
        type="t",
        subject="flask",
        time=0,
        dataschema="x",
        event_serial=0,
        serial=2**62,
        stale=False,
        late=True,
        source="json",
        fetched_at=1.5,
        releases_omitted=3,
        reason="removed",
    )
    ours = {name: value.decode() for name, value in headers(envelope)[len(headers(MINIMAL)) :]}

    assert ours == {
        "event-serial": "0",
        "serial": "4611686018427387904",
        "stale": "false",
        "late": "true",
        "source": "json",
        "fetched-at": "1970-01-01T00:00:01.500Z",
        "releases-omitted": "3",
        "reason": "removed",
    }


@pytest.mark.parametrize(
    ("unix_seconds", "expected"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_777_532_160, "2026-04-30T06:56:00Z"),
        (1_777_532_160.25, "2026-04-30T06:56:00.250Z"),
    ],
)
def test_times(unix_seconds: float, expected: str) -> None:
    """Milliseconds only where there are any; always UTC."""
    assert expected == rfc3339(unix_seconds)


def test_the_schema_named_is_the_topics_own() -> None:
    """The header says which file of `schemas/` describes the value."""
    assert dataschema(Topic.DEAD_LETTER) == "dead-letter.v1.schema.json"


def test_json_is_what_any_reader_expects() -> None:
    """Enumerations are their words, tuples are arrays."""
    state = State(Status.PARKED, event=1, event_kind=Kind.NEW_RELEASE)

    assert json.loads(encode(state))["event_kind"] == "new-release"
    assert json.loads(encode(Cut(1, 2, 3, 4, 5))) == {
        "changelog": 1,
        "refetch": 2,
        "metadata": 3,
        "releases": 4,
        "state": 5,
    }
