"""What clients send: any text is understood or refused, and nothing else happens."""

from __future__ import annotations

import contextlib
from datetime import datetime
from fnmatch import fnmatchcase

from hypothesis import example, given
from hypothesis import strategies as st

from schemas.errors import UsageError
from schemas.filters import project_glob
from schemas.names import normalize
from schemas.records import SERIAL_MAX, Kind
from sinks.http.streams.cursor import (
    CURSOR_CHARACTERS_MAX,
    PARTITIONS_MAX,
    BadCursor,
    Cursor,
    cursor_of,
    text_of,
)
from sinks.http.streams.selection import Selection, selection, serial_of, since_of

TEXTS = (
    st.text() | st.text("0123456789-+:TZ. eE_") | st.binary().map(lambda raw: raw.decode("latin-1"))
)
NUMBERS = st.integers(0, SERIAL_MAX)
CURSORS = st.builds(
    Cursor,
    log_id=st.text("0123456789abcdef", min_size=32, max_size=32),
    as_of=st.integers(0, 2**40),
    positions=st.lists(st.integers(0, 2**34), max_size=PARTITIONS_MAX).map(tuple),
)
NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True)
GLOBS = st.text("abcXYZ019-_.*?[]!", min_size=1, max_size=30)


@given(CURSORS)
def test_a_cursor_is_short_and_comes_back(cursor: Cursor) -> None:
    """Whatever the offsets of a log that people have; in characters that need no escape."""
    text = text_of(cursor)

    assert cursor == cursor_of(text)
    assert len(text) <= CURSOR_CHARACTERS_MAX
    assert text.replace("-", "").replace("_", "").isalnum()
    assert text.isascii()


@given(TEXTS)
@example("A" * CURSOR_CHARACTERS_MAX)
@example("k" * 10_000)
def test_any_text_is_a_cursor_or_none(text: str) -> None:
    """BadCursor, nothing else; what is one says so of itself."""
    with contextlib.suppress(BadCursor):
        cursor = cursor_of(text)
        assert cursor == cursor_of(text_of(cursor))


@given(CURSORS, st.data())
def test_a_damaged_cursor_is_another_or_none(cursor: Cursor, data: st.DataObject) -> None:
    """A character changed, left out or added: refused, or a cursor of sound numbers."""
    text = text_of(cursor)
    at = data.draw(st.integers(0, len(text) - 1))
    by = data.draw(st.sampled_from(["", "A", "-", "_", "=", "9z"]))
    with contextlib.suppress(BadCursor):
        found = cursor_of(text[:at] + by + text[at + 1 :])
        assert all(0 <= number <= SERIAL_MAX for number in (found.as_of, *found.positions))


@given(TEXTS)
@example("9" * 20)
@example("0001-01-01T00:00:00+23:59")
@example("9999-12-31T23:59:59-23:59")
def test_any_text_is_a_serial_a_time_or_refused(text: str) -> None:
    """UsageError, nothing else."""
    with contextlib.suppress(UsageError):
        since = since_of(text)
        if isinstance(since, datetime):
            assert since.timestamp() >= 0
        else:
            assert 0 <= since <= SERIAL_MAX
    with contextlib.suppress(UsageError):
        assert str(serial_of(text)) == (text.lstrip("0") or "0")


@given(NUMBERS)
def test_every_serial_is_understood(serial: int) -> None:
    """Up to 19 digits."""
    assert serial == since_of(str(serial)) == serial_of(str(serial))


@given(st.dictionaries(st.sampled_from(["project", "kind"]), st.lists(TEXTS | GLOBS, max_size=4)))
def test_any_filter_is_understood_or_refused(values: dict[str, list[str]]) -> None:
    """UsageError, nothing else; and what is understood can be asked about any name."""
    with contextlib.suppress(UsageError):
        selected = selection(values)
        selected.admits("a" * 200, Kind.YANK.value)
        assert selected == selection(values)
        assert hash(selected) == hash(selection(values))


@given(st.lists(GLOBS, min_size=1, max_size=4), NAMES)
def test_globs_mean_what_they_mean_everywhere(globs: list[str], name: str) -> None:
    """The same as in `follow --project` and the log's own filter."""
    key = normalize(name)
    selected = Selection(tuple(project_glob(glob) for glob in globs))

    assert selected.admits(key, "") == any(fnmatchcase(key, project_glob(g)) for g in globs)
