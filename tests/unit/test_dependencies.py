"""Requirements taken apart."""

from __future__ import annotations

import pytest

from sinks.dependencies import Dependency, parse


def test_all_parts_of_a_requirement() -> None:
    """Names are normalised, specifiers and extras sorted, the extra is found in the marker."""
    text = "Foo_Bar[b, A]>=1.0,<2; python_version < '3.9' and extra == 'Dev'"
    expected = Dependency(
        text,
        dependency="foo-bar",
        specifier="<2,>=1.0",
        extras=("A", "b"),
        marker='python_version < "3.9" and extra == "dev"',
        extra="dev",
    )

    assert expected == parse(text)


def test_a_direct_reference() -> None:
    """The address is kept apart."""
    parsed = parse("pip @ https://example.org/pip.zip ; extra == 'x'")

    assert ("pip", "", "https://example.org/pip.zip", "x") == (
        parsed.dependency,
        parsed.specifier,
        parsed.url,
        parsed.extra,
    )


def test_the_old_index_wrote_parentheses() -> None:
    """`name (>=1.0)` is a requirement."""
    parsed = parse("pytz (>=2011.1,<3)")

    assert ("pytz", "<3,>=2011.1") == (parsed.dependency, parsed.specifier)


@pytest.mark.parametrize(
    "text",
    [
        "pytz (>dev)",
        "setuptools (>=18.5decorator)",
        "",
        "-",
        "a;",
        "a; nonsense",
        "a" + "(" * 500,
        "a>=" + "9" * 5000,
        "a @ ",
        "\u212a>=1",
        "a>=1\n",
        "x" * 5000,
        "a; extra == 'x' and " + "(" * 10 + "os_name == 'x'",
    ],
)
def test_what_is_no_requirement_is_kept_as_text(text: str) -> None:
    """Nothing raises, nothing is lost, no part is made up; why is said."""
    parsed = parse(text)

    assert parsed.parse_error
    assert Dependency(text, parse_error=parsed.parse_error) == parsed
