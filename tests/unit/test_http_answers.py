"""Entity tags, encodings and problems: the rules that all answers share."""

from __future__ import annotations

import gzip

import orjson
import pytest
import zstandard

from schemas.errors import (
    DiskFull,
    InvalidName,
    NotPublished,
    PypistreamError,
    RateLimited,
    UsageError,
    ViewCorrupt,
)
from sinks.http.answers import (
    encoded,
    encoding_for,
    etag_of,
    matches,
    prefers_page,
    problem_of,
)


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("", ""),
        ("identity", ""),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("deflate, br", ""),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("zstd;q=0, gzip;q=0", ""),
        ("gzip;q=0.1, identity;q=0.9", ""),
        ("*", "gzip"),
        ("*;q=0", ""),
        ("gzip;q=nonsense", ""),
        ("gzip ; q=1.0 , zstd ; q=0.9", "gzip"),
        ("gzip;q=7", "gzip"),
    ],
)
def test_the_encoding_is_the_clients_choice(accept: str, encoding: str) -> None:
    """RFC 9110, 12.5.3: weights, a star, and what is refused by a weight of 0."""
    assert encoding == encoding_for(accept)


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/html", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/json, text/html;q=0.9", False),
        ("text/html;q=0.5, application/*;q=0.6", False),
        ("text/html;q=0", False),
    ],
)
def test_a_page_is_for_who_would_rather_have_one(accept: str, page: bool) -> None:
    """RFC 9110, 12.5.1: browsers name HTML first; curl and libraries take anything."""
    assert page == prefers_page(accept)


@pytest.mark.parametrize(
    ("asked", "same"),
    [
        ("", False),
        ('W/"7-abc"', True),
        ('"7-abc"', True),
        ('"7-abd"', False),
        ('"x", W/"7-abc"', True),
        ("*", True),
        ("7-abc", False),
        ('W/"7-abc', False),
    ],
)
def test_tags_are_compared_weakly(asked: str, same: bool) -> None:
    """RFC 9110, 13.1.2."""
    assert same == matches(asked, 'W/"7-abc"')


def test_encodings_are_what_they_say() -> None:
    body = b'{"info": null}' * 100

    assert body == gzip.decompress(encoded(body, "gzip"))
    assert body == zstandard.decompress(encoded(body, "zstd"))
    assert etag_of(body) != etag_of(body + b" ")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("limit=0", hint="1 to 10"), 400),
        (InvalidName("'' is not a project name"), 400),
        (NotPublished("nothing yet"), 404),
        (ViewCorrupt("/srv/secret/serving.sqlite: malformed"), 503),
        (DiskFull("/srv/secret: full"), 503),
        (RateLimited("slower", retry_after_seconds=17.2), 503),
    ],
)
def test_an_error_of_ours_is_a_problem_for_clients(error: PypistreamError, status: int) -> None:
    """JSON with what and why; nothing of where things lie on this machine."""
    answer = problem_of(error)
    told = orjson.loads(bytes(answer.body))

    assert status == answer.status_code
    assert {"error", "hint"} == set(told)
    assert b"secret" not in bytes(answer.body)
    if status == 503:
        assert int(answer.headers["retry-after"]) >= 1
    if isinstance(error, RateLimited):
        assert "17" == answer.headers["retry-after"]
