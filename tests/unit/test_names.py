"""Project names."""

from __future__ import annotations

import pytest

from schemas.errors import InvalidName
from schemas.names import NAME_CHARACTERS_MAX, normalize


@pytest.mark.parametrize(
    ("display_name", "expected"),
    [
        ("Flask", "flask"),
        ("zope.interface", "zope-interface"),
        ("a__b--c..d", "a-b-c-d"),
        ("A-_.b", "a-b"),
        ("0", "0"),
        ("17MonIP", "17monip"),
        ("x" * NAME_CHARACTERS_MAX, "x" * NAME_CHARACTERS_MAX),
    ],
)
def test_normal_form(display_name: str, expected: str) -> None:
    """PEP 503: lower case, and each run of separators becomes one hyphen."""
    assert expected == normalize(display_name)


@pytest.mark.parametrize(
    "display_name",
    [
        pytest.param("", id="empty"),
        pytest.param("-a", id="starts with a separator"),
        pytest.param("a.", id="ends with a separator"),
        pytest.param("a b", id="blank"),
        pytest.param("a\n", id="trailing newline"),
        pytest.param("a/../b", id="path"),
        pytest.param("ünïcode", id="not ASCII"),
        pytest.param("\u212aelvin", id="KELVIN SIGN, which lower() makes a k"),
        pytest.param("\u017fsafe", id="LONG S, which upper() makes an S"),
        pytest.param("a\x00b", id="NUL"),
        pytest.param("x" * (NAME_CHARACTERS_MAX + 1), id="too long"),
    ],
)
def test_what_is_no_name_is_refused(display_name: str) -> None:
    """Nothing that PEP 508 does not allow becomes a key, a URL or a file name."""
    with pytest.raises(InvalidName, match="not a project name"):
        normalize(display_name)


def test_a_refusal_quotes_a_bounded_part() -> None:
    """A hostile row cannot fill the log file."""
    with pytest.raises(InvalidName) as caught:
        normalize("!" * 1_000_000)

    assert len(str(caught.value)) < NAME_CHARACTERS_MAX + 100
