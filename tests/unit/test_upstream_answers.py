"""What an answer means."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from schemas.errors import (
    BrokenBody,
    ForeignMetadata,
    JournalGone,
    UpstreamUnavailable,
)
from schemas.names import normalize
from upstream import answers
from upstream.answers import Head, Reply
from upstream.source import Document, NotFound, NotModified

NOW = 1_700_000_000.0
DEMO = normalize("demo-project")


def reply(status: int, body: bytes = b"", **headers: str) -> Reply:
    return Reply(
        Head(status, {name.replace("_", "-"): text for name, text in headers.items()}), body
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("99999999999999999999", 3600.0),
        (formatdate(NOW + 20, usegmt=True), 21.0),
        (formatdate(NOW - 20, usegmt=True), 0.0),
        (formatdate(NOW + 1e6, usegmt=True), 3600.0),
        ("soon", None),
        ("", None),
        ("-3", None),
        ("3.5", None),
        ("٣", None),
        ("Fri, 99 Foo 2026 25:61:61 GMT", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    """Seconds or a date (rounded up to the second it names), an hour at most; nonsense is none."""
    assert answers.retry_after_seconds(Head(429, {"retry-after": text}), NOW) == seconds


def test_a_date_to_wait_for_is_read_against_upstreams_own_clock() -> None:
    """Ours may be minutes off."""
    headers = {
        "retry-after": formatdate(NOW + 20, usegmt=True),
        "date": formatdate(NOW, usegmt=True),
    }

    assert answers.retry_after_seconds(Head(429, headers), NOW + 5_000) == 21.0


@pytest.mark.parametrize(
    ("head", "seconds"),
    [
        (Head(429), answers.LIMITED_SECONDS),
        (Head(429, {"retry-after": "7"}), 7.0),
        (Head(429, {"retry-after": "soon"}), answers.LIMITED_SECONDS),
        (Head(503, {"retry-after": "7"}), 7.0),
        (Head(503), None),
        (Head(500, {"retry-after": "7"}), None),
        (Head(200, {"retry-after": "7"}), None),
    ],
)
def test_which_answers_ask_everyone_to_wait(head: Head, seconds: float | None) -> None:
    """429 always, 503 if it names a time."""
    assert answers.hold_seconds(head, NOW) == seconds


def test_answers_to_a_document_call() -> None:
    """200, 304 and 404 are answers; a 304 without an ETag sent is none."""
    full = reply(200, b"{}", x_pypi_last_serial="42", etag='"abc"')

    assert answers.document_answer(full, "demo", etag_sent=False) == Document(b"{}", 42, '"abc"')
    unchanged = reply(304, x_pypi_last_serial="42")
    assert answers.document_answer(unchanged, "demo", etag_sent=True) == NotModified(42)
    assert answers.document_answer(reply(404), "demo", etag_sent=True) == NotFound()
    assert answers.document_answer(reply(410), "demo", etag_sent=True) == NotFound()
    with pytest.raises(BrokenBody):
        answers.document_answer(unchanged, "demo", etag_sent=False)


@pytest.mark.parametrize("status", [400, 401, 403, 418, 500, 502, 503, 204, 206])
def test_any_other_status_of_a_document_is_asked_again(status: int) -> None:
    """A refusal too: one document must not stop the program."""
    with pytest.raises(UpstreamUnavailable, match=str(status)):
        answers.document_answer(reply(status), "demo", etag_sent=True)


@pytest.mark.parametrize(
    ("text", "serial"),
    [
        ("1", 1),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), None),
        ("0", None),
        ("-1", None),
        ("", None),
        ("12a", None),
        ("²", None),
        ("9" * 5000, None),
    ],
)
def test_the_serial_header(text: str, serial: int | None) -> None:
    """1 to 2**63 - 1, or none."""
    assert Head(200, {"x-pypi-last-serial": text}).serial == serial


@pytest.mark.parametrize("etag", ["a\r\nHost: evil.example", "é", "\x00", "x" * 257])
def test_an_etag_that_fits_in_no_header_is_none(etag: str) -> None:
    """It may come from a topic."""
    assert answers.usable_etag(etag) == ""


@pytest.mark.parametrize("status", [404, 410, 501])
def test_a_journal_that_is_gone(status: int) -> None:
    """The three ways to say so."""
    with pytest.raises(JournalGone):
        answers.journal_refusal(reply(status))


@pytest.mark.parametrize(
    "refused",
    [
        reply(401),
        reply(403),
        reply(301, location="https://elsewhere.example/"),
        reply(200, b"<methodResponse/>", content_type="text/html; charset=utf-8"),
        reply(200, b"\n <!DOCTYPE html><title>Log in</title>", content_type="text/xml"),
        reply(200, b"<html>"),
    ],
)
def test_a_journal_that_is_none(refused: Reply) -> None:
    """A refusal, a redirect, a page for people: fatal at a first start, else asked again."""
    assert answers.journal_refusal(refused)


def test_a_journal_that_answers() -> None:
    """200 with XML is one; a server error is asked again."""
    assert answers.journal_refusal(reply(200, b"<?xml version='1.0'?>")) is None
    with pytest.raises(UpstreamUnavailable):
        answers.journal_refusal(reply(500, b"<html>"))


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/pypi/b/json", "http://files.example:81/pypi/b/json"),
        ("http://FILES.example:81/x", "http://FILES.example:81/x"),
        ("?hop=1", "http://files.example:81/pypi/a/json?hop=1"),
        ("//files.example:81/y", "http://files.example:81/y"),
    ],
)
def test_redirects_that_are_followed(location: str, target: str) -> None:
    """Same scheme, host and port."""
    assert answers.redirect_target("http://files.example:81/pypi/a/json", location) == target


@pytest.mark.parametrize(
    "location",
    [
        "",
        "https://files.example:81/x",
        "http://files.example/x",
        "http://other.example:81/x",
        "http://files.example:81@evil.example/x",
        "http://user@files.example:81/x",
        "//evil.example:81/x",
        "file:///etc/hostname",
        "http://files.example:bad/x",
        "http://[::1/x",
    ],
)
def test_redirects_that_are_not_followed(location: str) -> None:
    """Anything else could point into the machine's own network."""
    with pytest.raises(UpstreamUnavailable, match="not followed"):
        answers.redirect_target("http://files.example:81/pypi/a/json", location)


def test_the_name_asked_for_is_kept_over_redirects() -> None:
    """Another spelling is the same project; another project is an error that names both."""
    answers.check_redirected_name("http://h/pypi/Demo_Project/json", DEMO)
    answers.check_redirected_name("http://h/mirror/pypi/demo.project/1.0/json?x=1", DEMO)

    with pytest.raises(ForeignMetadata) as caught:
        answers.check_redirected_name("http://h/pypi/other/json", DEMO)
    assert (caught.value.asked, caught.value.got) == ("demo-project", "other")
    with pytest.raises(ForeignMetadata):
        answers.check_redirected_name("http://h/pypi/..%2Fdemo-project/json", DEMO)
    for nowhere in ("http://h/login", "http://h/pypi"):
        with pytest.raises(UpstreamUnavailable):
            answers.check_redirected_name(nowhere, DEMO)


BASE = "https://index.example.org"


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://files.example.org/a/b.whl", "https://files.example.org/a/b.whl.metadata"),
        (f"{BASE}/files/b.whl#sha256=ab", f"{BASE}/files/b.whl.metadata"),
        ("http://files.example.org/b.whl", None),
        ("https://files.example.org:8443/b.whl", None),
        ("https://127.0.0.1/b.whl", None),
        ("https://2130706433/b.whl", None),
        ("https://0x7f.1/b.whl", None),
        ("https://[::1]/b.whl", None),
        ("https://localhost/b.whl", None),
        ("https://printer.local/b.whl", None),
        ("https://metadata.internal/b.whl", None),
        ("https://user@files.example.org/b.whl", None),
        ("https://files.example.org/b.whl?to=x", None),
        ("https://files.example.org/b c.whl", None),
        ("https://files.example.org/b\r\nx.whl", None),
        ("https://files.example.org\\@index.example.org/b.whl", None),
        ("https://files.example.org/" + "x" * 3_000, None),
        ("https://[/b.whl", None),
        ("https://files.example.org:port/b.whl", None),
        ("file:///etc/hostname", None),
        ("b.whl", None),
        ("", None),
    ],
)
def test_where_core_metadata_is_asked_for(url: str, asked: str | None) -> None:
    """Upstream's own origin, or HTTPS to a host with a full name: a page may name any address."""
    assert answers.file_metadata_url(url, BASE) == asked


def test_a_stand_in_without_https_serves_its_own_files() -> None:
    """Same scheme, host and port as the index; another port is another origin."""
    base = "http://127.0.0.1:8000"

    assert answers.file_metadata_url(f"{base}/b.whl", base) == f"{base}/b.whl.metadata"
    assert answers.file_metadata_url("http://127.0.0.1:8001/b.whl", base) is None
    assert not answers.same_origin("http://[", base)
