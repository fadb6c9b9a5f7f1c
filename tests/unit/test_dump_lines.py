"""Records as lines, and the drop-in's documents."""

from __future__ import annotations

import json

import pytest

from schemas.errors import LogCorrupt
from schemas.topics import Topic
from sinks.dump.lines import (
    bare,
    change_of,
    change_of_held,
    document_of,
    drop_in,
    exception_of,
    gone_line,
    held,
    latest_line,
    name_of,
    package_of,
)
from tests.support.dump_world import compact, document, record


def test_a_package_line_says_what_its_headers_say() -> None:
    value = document("sample")
    name, line = change_of(record(Topic.METADATA, "sample", value))

    assert "sample" == name
    assert line is not None
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert {
        "name": "sample",
        "serial": 6,
        "event_serial": 7,
        "event_time": None,
        "stale": True,
        "source": "json",
        "fetched_at": "2026-01-01T00:00:00Z",
        "document": json.loads(value),
    } == json.loads(line)
    assert "sample" == name_of(line)
    assert value == document_of(line)


def test_headers_that_are_missing_are_null() -> None:
    _, line = change_of(record(Topic.METADATA, "a", b"{}")._replace(headers=()))

    assert line is not None
    assert json.loads(line) == {
        "name": "a", "serial": None, "event_serial": None, "event_time": None, "stale": False,
        "source": None, "fetched_at": None, "document": {},
    }  # fmt: skip


def test_a_document_is_found_although_a_header_imitates_the_key() -> None:
    forged = record(Topic.METADATA, "a", b'{"x":1}')._replace(
        headers=(("source", b'","document":{},"'), ("serial", b"1"))
    )
    _, line = change_of(forged)

    assert line is not None
    assert b'{"x":1}' == document_of(line)


def test_a_releases_line_says_how_many_were_omitted() -> None:
    omitted = record(Topic.RELEASES, "a", b"{}")._replace(headers=(("releases-omitted", b"3"),))

    assert change_of(omitted) == (
        "a",
        b'{"name":"a","serial":null,"releases_omitted":3,"document":{}}\n',
    )


def test_a_state_line_keeps_unknown_fields_and_both_names() -> None:
    value = b'{"status":"dead","event":3,"name":"A.B","from_a_later_version":[1]}'
    _, line = change_of(record(Topic.STATE, "a-b", value))

    assert line == (
        b'{"name":"a-b","display_name":"A.B","status":"dead","event":3,"from_a_later_version":[1]}\n'
    )


def test_a_value_with_newlines_becomes_one_line() -> None:
    _, line = change_of(record(Topic.METADATA, "a", b'{\n "x": "\\n",\n "y": 1.50\n}\n'))

    assert line is not None
    assert b'{"x":"\\n","y":1.50}' == document_of(line)


def test_a_tombstone_is_a_removal_and_no_line_is_like_its_placeholder() -> None:
    assert ("a", None) == change_of(record(Topic.METADATA, "a", None))
    for topic in (Topic.METADATA, Topic.RELEASES):
        assert change_of(record(topic, "a", b"{}"))[1] != gone_line("a")


@pytest.mark.parametrize(
    "broken",
    [
        record(Topic.METADATA, "a", b"{}")._replace(key=None),
        record(Topic.CHANGELOG, "a", b"{}"),
        record(Topic.STATE, "a", b"[]"),
        record(Topic.METADATA, "a", b"{}")._replace(headers=(("serial", b"six"),)),
    ],
    ids=["no-key", "other-topic", "no-state", "no-number"],
)
def test_what_is_no_record_of_ours_is_refused(broken: object) -> None:
    with pytest.raises(LogCorrupt):
        change_of(broken)  # type: ignore[arg-type]  # parametrize forgets the type


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ({"status": "ok", "event": 1}, None),
        ({"status": "absent", "event": 1, "attempts": 2}, None),
        ({"status": "absent", "event": 1, "attempts": 1}, "absent"),
        ({"status": "parked", "event": 1}, "parked"),
        ({"status": "dead", "event": 1, "reason": '"status":"ok" ?'}, "dead"),
    ],
)
def test_exceptions_are_what_the_watermark_does_not_speak_for(
    state: dict[str, object], word: str | None
) -> None:
    _, line = change_of(record(Topic.STATE, "a", compact(state)))

    assert line is not None
    assert word == exception_of(line)


def test_a_complete_document_goes_into_the_drop_in_byte_for_byte() -> None:
    value = document("sample")

    assert drop_in(value) is value


def test_missing_keys_are_added_and_everything_else_is_left_as_it_is() -> None:
    """Numbers, escapes and unknown keys keep their very spelling."""
    value = (
        b'{"info":{"name":"a","odd":1e999,"s":"\\ud83d\\ude00","summary":"s"},'
        b'"releases":{"1\xc3\xa9":[{"url":"u","size":18446744073709551616},{}],"2":[]},"x":[1.0]}'
    )
    completed = drop_in(value)

    assert completed is not None
    assert completed == (
        b'{"info":{"name":"a","odd":1e999,"s":"\\ud83d\\ude00","summary":"s","project_url":null,'
        b'"home_page":null,"author_email":null,"project_urls":null},'
        b'"releases":{"1\xc3\xa9":[{"url":"u","size":18446744073709551616,"yanked":false},'
        b'{"yanked":false,"url":null}],"2":[]},"x":[1.0]}'
    )
    assert drop_in(completed) is completed


def test_a_document_without_releases_gets_none() -> None:
    completed = drop_in(b'{"info":{}}')

    assert completed is not None
    assert {} == json.loads(completed)["releases"]


@pytest.mark.parametrize(
    "value", [b"[]", b"{}", b'{"info":null}', b'{"info":{},"releases":{"1":null}}', b"nonsense"]
)
def test_a_document_of_another_shape_stays_out_of_the_drop_in(value: bytes) -> None:
    assert drop_in(value) is None


@pytest.mark.parametrize(
    ("document", "serial", "line"),
    [
        (b'{"info":{"version":"1.0"}}', b"6", b"foo,1.0,6\n"),
        (b'{"info":{"version":"1,\\"0"}}', None, b'foo,"1,""0",\n'),
        (b'{"info":{"version":"1\\n0"}}', b"6", b"foo,,6\n"),
        (b'{"info":{"version":7}}', b"6", b"foo,,6\n"),
        (b'{"info":null}', b"6", b"foo,,6\n"),
        (b'{"info":{}}', b"6", b"foo,,6\n"),
        (b'{"info":[]}', b"6", b"foo,,6\n"),
        (b'{"info":{"version":" 1 "}}', b"6", b'foo," 1 ",6\n'),
    ],
)
def test_the_latest_version_as_csv(document: bytes, serial: bytes | None, line: bytes) -> None:
    """What is no text of one line is left empty; quotes as RFC 4180 has them."""
    headers = () if serial is None else (("serial", serial),)
    whole = change_of(record(Topic.METADATA, "foo", document)._replace(headers=headers))[1]
    assert whole is not None

    assert line == latest_line(whole)
    assert (whole, drop_in(document_of(whole)), line) == package_of(whole)[:3]
    assert (whole, drop_in(document_of(whole)), line) == package_of(held(whole))[:3]


def packages_line(value: bytes) -> bytes:
    line = change_of(record(Topic.METADATA, "sample", value))[1]
    assert line is not None
    return line


@pytest.mark.parametrize("version", ['"1.0"', "7", '"1\\n0"', '{"a":[1]}', '"\\u0000{"', "null"])
def test_one_look_or_a_note_finds_what_two_looks_do(version: str) -> None:
    """Of a complete document, too, whatever its version is."""
    value = document("sample").replace(b'"version":"1.0"', f'"version":{version}'.encode())
    line = packages_line(value)
    noted = held(line)

    assert noted.endswith(line)
    assert line != noted
    assert (line, value, latest_line(line), False) == package_of(line) == package_of(noted)
    assert line == bare(noted)
    assert line == bare(line)
    assert ("sample", noted) == change_of_held(noted, len(noted) - len(line))


def test_a_note_has_what_stands_for_a_document_that_lacks_keys() -> None:
    line = packages_line(b'{"info":{"version":"1"}}')
    noted = held(line)

    assert package_of(line) == package_of(noted)
    assert package_of(noted).changed
    assert line == bare(noted)
    assert ("sample", noted) == change_of_held(noted, len(noted) - len(line))


@pytest.mark.parametrize("value", [b'{"info":null}', b"nonsense"])
def test_a_document_that_the_drop_in_leaves_out_gets_no_note(value: bytes) -> None:
    line = packages_line(value)

    assert held(line) is line


def test_a_tombstone_waits_as_a_line_that_no_record_leaves() -> None:
    assert ("sample", None) == change_of_held(gone_line("sample"), 0)
