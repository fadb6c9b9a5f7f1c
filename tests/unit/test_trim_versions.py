"""The order of releases."""

from __future__ import annotations

import pytest

from processors.versions import VERSION_CHARACTERS_MAX, ascending, is_version, version_key


def test_the_order_of_pep_440() -> None:
    """The list of PEP 440's own section on ordering, and what surrounds it."""
    ordered = [
        "", "0..1", "unknown", "1.dev0", "1.0.dev456", "1.0a1", "1.0a2.dev456", "1.0a12.dev456",
        "1.0a12", "1.0b1.dev456", "1.0b2", "1.0b2.post345.dev456", "1.0b2.post345", "1.0rc1.dev456",
        "1.0rc1", "1.0", "1.0+abc.5", "1.0+abc.7", "1.0+5", "1.0.post456.dev34", "1.0.post456",
        "1.0.15", "1.1.dev1", "2024.1", "1!0.1",
    ]  # fmt: skip
    assert ascending(reversed(ordered)) == ordered


def test_equal_versions_have_equal_keys_and_a_fixed_order() -> None:
    assert version_key("1.0") == version_key("1.0.0") == version_key("v1") == version_key(" 1.0 ")
    assert ascending(["1.0.0", "1.00", "1", "1.0"]) == ["1", "1.0", "1.0.0", "1.00"]


@pytest.mark.parametrize(
    "text",
    ["", "1" * (VERSION_CHARACTERS_MAX + 1), "1_0", "\u0661.0", "1.0 dev", "1.0\n2.0", "1.+"],
)
def test_what_is_no_version_sorts_below_all_that_are(text: str) -> None:
    assert not is_version(text)
    assert version_key(text) < version_key("0.dev0")


def test_a_version_that_packaging_cannot_read_raises_nothing() -> None:
    """4 301 digits are a plain ValueError there."""
    assert not is_version("1" * 4301)
    assert not is_version("1!" + "1" * 4301 + "x")
