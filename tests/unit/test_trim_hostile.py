"""Bodies that must be refused, each with its reason, and those that must not."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from processors import hostile
from processors.trim import trim
from schemas.errors import MalformedMetadata
from schemas.names import normalize
from tests.support.documents import body, document, file
from tests.support.oracle import oracle_trim

NAME = normalize("Some.Project")
GOOD = body(document("0.9", "1.0"))


def nested(depth: int, opening: str = "[", closing: str = "]") -> Any:
    return json.loads(opening * depth + ("1" if opening != "[" else "") + closing * depth)


def placed(raw: bytes, where: str) -> bytes:
    """GOOD with the JSON text `raw` in one of the places that a document has."""
    value = document("0.9", "1.0")
    mark = "@mark@"
    if where == "description":
        value["info"]["description"] = mark
    elif where == "summary":
        value["info"]["summary"] = mark
    elif where == "top":
        value["new"] = mark
    elif where == "vulnerability":
        value["vulnerabilities"] = [{"details": mark}]
    elif where == "kept-file":
        value["releases"]["1.0"] = [file("x", new=mark)]
    return body(value).replace(f'"{mark}"'.encode(), raw)


PLACES = ("description", "summary", "top", "vulnerability", "kept-file")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "truncated"),
        (b" \n", "truncated"),
        (GOOD[:-20], "truncated"),
        (b"\xef\xbb\xbf" + GOOD, "bom"),
        (GOOD.decode().encode("utf-16"), "not-utf8"),
        (GOOD + b"{}", "trailing-data"),
        (GOOD + b"\0", "trailing-data"),
        (b"<html><body>502</body></html>", "not-json"),
        (b"{'info': {}}", "not-json"),
        (b"[" * 2000 + b"]" * 2000, "too-deep"),
        (b"[" * 100_000 + b"]" * 100_000, "too-deep"),
        (b"null", "not-a-project-document"),
        (b"[]", "not-a-project-document"),
        (b"{}", "not-a-project-document"),
        (b'{"message": "Not Found"}', "not-a-project-document"),
        (b'{"info": []}', "not-a-project-document"),
        (b'{"info": {}}', "not-a-project-document"),
        (b'{"info": {"name": null}}', "not-a-project-document"),
        (b'{"info": {"name": ["some-project"]}}', "not-a-project-document"),
    ],
)
def test_a_body_that_is_no_document_is_refused_with_its_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedMetadata) as caught:
        trim(raw, NAME)
    assert caught.value.reason == reason


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'"\xff"', "not-utf8"),
        (b'"\xed\xa0\x80"', "not-utf8"),  # a surrogate, encoded
        (b'"\\ud800"', "lone-surrogate"),
        (b'"a\\udc00b"', "lone-surrogate"),
        (b'"\\ud800\\u0041"', "lone-surrogate"),
        (b"NaN", "not-a-number"),
        (b"Infinity", "not-a-number"),
        (b"-Infinity", "not-a-number"),
        (b"1e999", "number-out-of-range"),
        (b"-1.5E+4000", "number-out-of-range"),
        (b"1" * 4301, "number-out-of-range"),
        (b'"a\nb"', "not-json"),
        (b'"a\0b"', "not-json"),
        (b"01", "not-json"),
        (b'"\\x"', "not-json"),
        (b"[" * 65 + b"]" * 65, "too-deep"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "too-deep"),
        (b'[1,{"a":[2],"b":' * 40 + b"1" + b'}," ]}"]' * 40, "too-deep"),
        (b"[" * 2000 + b"]" * 2000, "too-deep"),
    ],
)
def test_hostile_values_are_refused_wherever_they_stand(
    where: str, raw: bytes, reason: str
) -> None:
    """In what is kept and in what is dropped, in known and in unknown keys."""
    with pytest.raises(MalformedMetadata) as caught:
        trim(placed(raw, where), NAME)
    assert caught.value.reason == reason


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize(
    "raw",
    [
        b'"\\ud83d\\ude00"',
        b'"\\\\ud800"',
        b'"\\u0000"',
        b'"[[[[{{{{"',
        b"1.5e308",
        b"18446744073709551616",
        b"9223372036854775807",
        b"1" * 4300,
        b"-0",
        b"[" * 50 + b"]" * 50,
        b"[" + b"[]," * 500 + b"[]]",
        b'{"a":1,"a":2}',
        b"true",
    ],
)
def test_odd_values_pass_and_come_out_equal(where: str, raw: bytes) -> None:
    hostile_body = placed(raw, where)
    result = trim(hostile_body, NAME)
    assert json.loads(result.metadata) == oracle_trim(json.loads(hostile_body))


def test_depth_in_a_file_of_an_older_release_never_comes_out() -> None:
    """It is stepped over unread; 2000 levels are more than the parser itself steps over."""
    value = document("0.9", "1.0")
    value["releases"]["0.9"][0]["new"] = nested(65)
    assert b"[[" not in trim(body(value), NAME).releases
    raw = body(document("0.9", "1.0")).replace(
        b'"comment_text":""', b'"new":' + b"[" * 2000 + b"]" * 2000, 1
    )
    with pytest.raises(MalformedMetadata) as caught:
        trim(raw, NAME)
    assert caught.value.reason == "too-deep"


def test_depth_near_the_parsers_own_limit_is_refused_or_trimmed() -> None:
    """Whatever the stack has left at that moment, no RecursionError comes out."""
    refused = 0
    for depth in range(800, 1100, 3):
        raw = body(document("0.9", "1.0")).replace(
            b'"comment_text":""', b'"new":' + b"[" * depth + b"]" * depth, 1
        )
        try:
            trim(raw, NAME)
        except MalformedMetadata as error:
            assert error.reason == "too-deep"  # noqa: PT017 - both outcomes are right
            refused += 1
    assert refused


def test_duplicate_keys_are_won_by_the_last() -> None:
    raw = GOOD.replace(b'"summary":"A project."', b'"summary":"a","summary":"b"')
    assert json.loads(trim(raw, NAME).metadata)["info"]["summary"] == "b"
    raw = GOOD[:-2] + b',"info":{"name":"some-project","version":"0.9"}}'
    assert set(json.loads(trim(raw, NAME).metadata)["releases"]) == {"0.9", "1.0"}


def test_depth_is_exact() -> None:
    """DEPTH_MAX levels pass, one more does not; brackets in strings are none."""
    value = {"a": nested(hostile.DEPTH_MAX - 1)}
    hostile.refuse_deep(json.dumps(value).encode())
    hostile.refuse_deep(b'{"a":"' + b"[" * 1000 + b'\\"{{"}')
    with pytest.raises(MalformedMetadata):
        hostile.refuse_deep(json.dumps({"a": value}).encode())


def test_a_body_of_nothing_but_brackets_is_refused_quickly() -> None:
    """Decoded, it would need forty times its size."""
    raw = GOOD[:-2] + b',"new":[' + b"[]," * 5_000_000 + b"[]]}"
    begin = time.process_time()
    with pytest.raises(MalformedMetadata) as caught:
        trim(raw, NAME)
    assert caught.value.reason == "too-many-values"
    assert time.process_time() - begin < 5


def test_wide_but_honest_bodies_pass_the_guard() -> None:
    """Five million bytes of files are far from the limit."""
    value = document("0.9", "1.0")
    value["releases"]["0.9"] = [file(f"x-{n}") for n in range(7000)]
    raw = body(value)
    assert len(raw) > hostile.CHECK_VALUES_BYTES
    assert len(json.loads(trim(raw, NAME).releases)["releases"]["0.9"]) == 7000
