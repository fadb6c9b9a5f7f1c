"""What upstream wrote must not steer a terminal."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypistream.terminal import ReaderGone, Stdout, escaped, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ascii, ümlaut, 日本語, 🐍", "plain ascii, ümlaut, 日本語, 🐍"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\r\nb\tc\0", "a\\x0d\\x0ab\\x09c\\x00"),
        ("\x7f\x9b31m", "\\x7f\\x9b31m"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\u2066a\u2069", "\\u2066a\\u2069"),
        ("pay\u200bpal\ufeff", "pay\\u200bpal\\ufeff"),
        ("a\u2028b", "a\\u2028b"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_control_characters_are_shown(text: str, shown: str) -> None:
    """Escapes, line ends, bidi controls, zero width, lone surrogates, tags; nothing else."""
    assert escaped(text) == shown


@given(st.text())
def test_nothing_harmful_is_left(text: str) -> None:
    """Whatever the text: no control or format character, and it can be written as UTF-8."""
    shown = escaped(text)

    assert {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"} == set()
    assert shown.encode().decode() == shown
    assert escaped(shown) == shown


def test_shortened_says_that_it_cut() -> None:
    """At most so many characters, the mark included."""
    assert [shortened("abcd", n) for n in (4, 3)] == ["abcd", "ab…"]


def test_writing_to_nobody_is_no_error_of_ours() -> None:
    """A closed pipe is seen before writing and while writing."""
    reading, writing = os.pipe()
    stdout = Stdout(writing)
    stdout.check_reader()
    assert stdout.write(b"seen") == 4
    os.close(reading)

    with pytest.raises(ReaderGone):
        stdout.check_reader()
    with pytest.raises(ReaderGone):
        stdout.write(b"unseen")
    os.close(writing)
