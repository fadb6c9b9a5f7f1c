"""The journal's XML-RPC: what is asked, and what is believed of the answer."""

from __future__ import annotations

import contextlib
import random
import xmlrpc.client
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import JournalGone, PypistreamError, RateLimited, UpstreamUnavailable
from upstream import xmlrpc as journal
from upstream.answers import LIMITED_SECONDS
from upstream.source import JOURNAL_ROWS_MAX, JournalRow

LIMIT = (
    "HTTPTooManyRequests: The action could not be performed because there were too many "
    "requests by the client."
)


def response(value: Any) -> bytes:
    return xmlrpc.client.dumps(
        (value,), methodresponse=True, allow_none=True, encoding="utf-8"
    ).encode("utf-8", "surrogatepass")


def fault(code: int, text: str) -> bytes:
    return xmlrpc.client.dumps(xmlrpc.client.Fault(code, text), methodresponse=True).encode()


def row(serial: int, **changed: Any) -> list[Any]:
    fields = {"name": "demo", "version": "1.0", "time": 1_700_000_000, "action": "new release"}
    return [*(fields | changed).values(), serial]


def in_i8(serial: int) -> bytes:
    """A page of one row; the standard library itself writes no such serial."""
    return response([row(7)]).replace(b"<int>7</int>", b"<i8>%d</i8>" % serial)


@given(st.integers(0, 2**63 - 1))
def test_requests_are_read_by_the_standard_library(serial: int) -> None:
    """Any serial, also above what its own writer takes."""
    params, method = xmlrpc.client.loads(journal.request("changelog_since_serial", serial))

    assert (method, params) == ("changelog_since_serial", (serial,))
    assert xmlrpc.client.loads(journal.request("changelog_last_serial"))[0] == ()


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1),
            st.none() | st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"])),
            st.integers(0, 2**31 - 1),
            st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"])),
            st.integers(11, 2**31 - 1),
        ),
        max_size=20,
        unique_by=lambda row: row[4],
    )
)
def test_rows_come_out_rising_as_they_were_written(rows: list[tuple[Any, ...]]) -> None:
    """Any text, in any order."""
    clean = [tuple(_xml_text(field) for field in row) for row in rows]

    page = journal.parse_page(response([list(row) for row in clean]), 10)

    assert page.rows == [JournalRow(*row) for row in sorted(clean, key=lambda row: row[4])]
    assert (page.bad, page.full) == ([], False)


def _xml_text(field: Any) -> Any:
    # U+FFFE and U+FFFF are no characters in XML; they are taken out with the control characters.
    return field.translate({0xFFFE: None, 0xFFFF: None}) or "x" if isinstance(field, str) else field


def test_rows_read_before_are_left_out_and_doubles_count_once() -> None:
    """Overlapping pages, rows in reverse, the same row twice."""
    page = journal.parse_page(response([row(12), row(11), row(12), row(10), row(9)]), 10)

    assert [found.serial for found in page.rows] == [11, 12]
    assert page.bad == []


def test_two_rows_with_one_serial_are_not_both_believed() -> None:
    """The first stands, the second is evidence."""
    page = journal.parse_page(response([row(11), row(11, name="other")]), 10)

    assert [found.name for found in page.rows] == ["demo"]
    assert [(bad.serial, "other" in bad.excerpt) for bad in page.bad] == [(11, True)]


@pytest.mark.parametrize(
    ("bad", "serial"),
    [
        (row(11)[:4], 0),
        ([*row(11), 1], 0),
        ("row", 0),
        (7, 0),
        ({"name": "demo"}, 0),
        (row(11, name=None), 11),
        (row(11, name=""), 11),
        (row(11, name=5), 11),
        (row(11, name="x" * 65_537), 11),
        (row(11, version=1.5), 11),
        (row(11, version=["1"]), 11),
        (row(11, time="now"), 11),
        (row(11, time=True), 11),
        (row(11, time=-1), 11),
        (row(11, time=1.5), 11),
        (row(11, action=None), 11),
        (row(0), 0),
        (row(-4), 0),
        (row(True), 0),
        ([*row(11)[:4], "11"], 0),
        ([*row(11)[:4], None], 0),
        ([*row(11)[:4], 11.0], 0),
    ],
)
def test_one_bad_row_leaves_the_page_alone(bad: Any, serial: int) -> None:
    """It comes apart, with its serial where one could be read and a short excerpt."""
    page = journal.parse_page(response([row(20), bad, row(21)]), 10)

    assert [found.serial for found in page.rows] == [20, 21]
    assert [found.serial for found in page.bad] == [serial]
    assert page.bad[0].reason
    assert len(page.bad[0].excerpt) <= 200


def test_serials_fit_63_bits() -> None:
    """The largest is read, the next one is not."""
    assert journal.parse_page(in_i8(2**63 - 1), 10).rows[0].serial == 2**63 - 1
    assert journal.parse_page(in_i8(2**63), 10).bad[0].serial == 0


@pytest.mark.parametrize(("count", "full"), [(49_999, False), (50_000, True), (50_001, True)])
def test_a_full_page_says_that_there_may_be_more(count: int, full: bool) -> None:
    """More rows than upstream sends are left for the next page."""
    page = journal.check_rows([row(serial) for serial in range(1, count + 1)], 0)

    assert page.full is full
    assert len(page.rows) == min(count, JOURNAL_ROWS_MAX)


def test_bad_rows_beyond_those_that_are_taken_come_with_them() -> None:
    """Told now, they would say that everything up to them had been read."""
    rows: list[Any] = [row(serial) for serial in range(1, JOURNAL_ROWS_MAX + 101)]
    rows[5], rows[-10] = row(6, name=5), row(JOURNAL_ROWS_MAX + 91, name=5)

    page = journal.check_rows(rows, 0)
    assert [6] == [bad.serial for bad in page.bad]
    rest = journal.check_rows(rows, page.rows[-1].serial)
    assert [6, JOURNAL_ROWS_MAX + 91] == [bad.serial for bad in rest.bad]
    assert JOURNAL_ROWS_MAX + 98 == len(page.rows) + len(rest.rows)


def test_a_page_of_bad_rows_is_full_too() -> None:
    """Whether there is more does not depend on what the rows are worth."""
    assert journal.check_rows([None] * JOURNAL_ROWS_MAX, 0).full


def test_the_last_serial() -> None:
    """One integer, nothing else."""
    assert journal.parse_serial(response(42)) == 42
    for wrong in ("42", True, 4.2, [42], -1):
        with pytest.raises(UpstreamUnavailable):
            journal.parse_serial(response(wrong))
    with pytest.raises(UpstreamUnavailable):
        journal.parse_page(response(42), 0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (LIMIT, LIMITED_SECONDS),
        (f"{LIMIT} Limit may reset in 17 seconds.", 17.0),
        (f"{LIMIT} Limit may reset in 1 second.", 1.0),
        (f"{LIMIT} Limit may reset in 999999999 seconds.", 3600.0),
        (f"{LIMIT} Limit may reset in many seconds.", LIMITED_SECONDS),
    ],
)
def test_a_rate_limit_fault_says_how_long_to_wait(text: str, seconds: float) -> None:
    """An hour at most; without a time, a set one."""
    with pytest.raises(RateLimited) as caught:
        journal.parse_page(fault(-32500, text), 0)

    assert caught.value.retry_after_seconds == seconds


def test_other_faults_are_asked_again_unless_the_method_is_retired() -> None:
    """Upstream wraps every exception as -32500; its words for a dead method are plain."""
    for code, text in ((-32500, "RuntimeError: something broke"), (1, ""), (-32601, "no method")):
        with pytest.raises(UpstreamUnavailable):
            journal.parse_page(fault(code, text), 0)
    with pytest.raises(UpstreamUnavailable, match="fault 1: two lines"):
        journal.parse_page(fault(1, "two\r\nlines"), 0)
    with pytest.raises(JournalGone):
        journal.parse_page(
            fault(-32500, "RuntimeError: PyPI no longer supports the changelog method."), 0
        )


@pytest.mark.parametrize(
    "poison",
    [b"\x08", b"\x00", b"\x1b[2J", b"&#8;", b"&#x8;", b"&#0;", b"\xef\xbf\xbf", b"&#xD800;"],
)
def test_a_forbidden_character_does_not_poison_its_page(poison: bytes) -> None:
    """XML 1.0 cannot hold it: it is taken out, and all rows are read."""
    body = response([row(11, name="PLACE"), row(12)]).replace(b"PLACE", b"de" + poison + b"mo")

    page = journal.parse_page(body, 10)

    assert [found.serial for found in page.rows] == [11, 12]
    assert page.rows[0].name in ("demo", "de[2Jmo")


def test_bytes_that_are_no_text_become_a_name_that_is_none() -> None:
    """What they stood for is not known: the row must not pass for another project's."""
    body = response([row(11, name="PLACE"), row(12)]).replace(b"PLACE", b"de\xff\xfemo")

    assert journal.parse_page(body, 10).rows[0].name == "de\ufffd\ufffdmo"


def test_escapes_that_are_text_stay_as_they_are() -> None:
    """PyPI writes non-ASCII of old actions as `&#NNN;`, which is text here."""
    text = "add source file caf&#233;-&#8;.zip"

    assert journal.parse_page(response([row(11, action=text)]), 0).rows[0].action == text


def nested(depth: int, kind: str) -> bytes:
    start, end = {
        "array": (b"<array><data><value>", b"</value></data></array>"),
        "struct": (
            b"<struct><member><name>a</name><value>",
            b"</value></member></struct>",
        ),
    }[kind]
    inner = start * depth + b"<int>1</int>" + end * depth
    return b"<methodResponse><params><param><value>" + inner + b"</value></param></params>"


@pytest.mark.parametrize("kind", ["array", "struct"])
def test_deep_nesting_is_refused(kind: str) -> None:
    """200 000 levels as much as nine; eight are read."""
    for depth in (9, 200_000):
        with pytest.raises(UpstreamUnavailable, match="nested"):
            journal.parse_value(nested(depth, kind) + b"</methodResponse>")
    journal.parse_value(nested(8, kind) + b"</methodResponse>")


def test_nesting_hidden_from_the_check_does_no_harm() -> None:
    """100 000 levels behind tags in a comment: a value of the wrong shape, nothing worse."""
    deep = nested(100_000, "array") + b"</methodResponse>"
    hidden = deep.replace(b"<array>", b"<array><!--</array>-->").replace(
        b"</array></value></data>", b"<!--<array>--></array></value></data>"
    )

    page = journal.parse_page(hidden, 0)

    assert (page.rows, len(page.bad)) == ([], 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b"<html><body>Maintenance</body></html>",
        b"<?xml version='1.0'?><methodResponse></methodResponse>",
        b"<methodResponse><params></params></methodResponse>",
        response([row(11)])[:-40],
        response([row(11)]) + b"<more/>",
        b"<!DOCTYPE a><methodResponse><params/></methodResponse>",
        b'<!DOCTYPE a [<!ENTITY b "c">]>' + response("PLACE").replace(b"PLACE", b"&b;"),
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x"><methodResponse/>',
        response(1).replace(b"<int>1<", b"<int>one<"),
        response(1).replace(b"<int>1<", b"<int>" + b"9" * 5000 + b"<"),
        response(1).replace(b"int>", b"double>").replace(b">1<", b">x<"),
        response(1).replace(b"int>", b"dateTime.iso8601>"),
        response(1).replace(b"int>", b"base64>"),
        response(1).replace(b"int>", b"boolean>").replace(b">1<", b">2<"),
        response(1).replace(b"int>", b"bigdecimal>").replace(b">1<", b">x<"),
        response(1).replace(b"<int>1</int>", b"<struct><member><value/></member></struct>"),
        b"<fault><value><int>1</int></value></fault>",
        b"<methodResponse><fault><value><string>x</string></value></fault></methodResponse>",
        b"<?xml version='1.0' encoding='no-such'?><methodResponse/>",
        b"\xff\xfe<\x00",
    ],
)
def test_what_is_no_response_is_refused(body: bytes) -> None:
    """In words of ours, whatever the parser says of it."""
    with pytest.raises(UpstreamUnavailable):
        journal.parse_page(body, 0)


def test_damaged_responses_raise_nothing_but_our_errors(seed: int) -> None:
    """Bytes flipped, cut, doubled and swapped for tags in 3000 ways."""
    chance = random.Random(seed)
    good = [
        response([row(11), row(12, version=None)]),
        response(42),
        fault(-32500, LIMIT),
        nested(3, "struct") + b"</methodResponse>",
    ]
    names = (
        b"value int i8 nil/ struct array data member name fault params boolean double base64 "
        b"bigdecimal dateTime.iso8601 ex:nil/ methodName methodResponse"
    ).split()
    tags = [b"&#x0;", *(b"<%s>" % name for name in names), *(b"</%s>" % name for name in names)]
    for _ in range(3000):
        body = bytearray(chance.choice(good))
        for _ in range(chance.randint(1, 4)):
            at, to = sorted(chance.randrange(len(body) + 1) for _ in range(2))
            match chance.randrange(4):
                case 0:
                    body[at:at] = chance.choice(tags)
                case 1:
                    del body[at:to]
                case 2:
                    body[at:at] = body[at:to]
                case _:
                    body[at : at + 1] = bytes([chance.randrange(256)])
        with contextlib.suppress(PypistreamError):
            journal.parse_page(bytes(body), 0)
