"""Reading what strangers wrote."""

from __future__ import annotations

import pytest

from sinks.softly import Fields, moment, moment_of


def test_values_of_the_right_type_are_taken_as_they_are() -> None:
    notes: list[str] = []
    fields = Fields(
        {"a": "text", "b": True, "c": 5, "d": ["x", "y"], "e": [{"a": "z"}], "f": {"a": "w"}},
        "",
        notes,
    )

    assert "text" == fields.text("a")
    assert fields.flag("b") is True
    assert 5 == fields.number("c")
    assert ["x", "y"] == fields.texts("d")
    assert ["z"] == [each.text("a") for each in fields.children("e")]
    assert "w" == fields.child("f").text("a")
    assert [] == notes


@pytest.mark.parametrize("nothing", [None, "", "UNKNOWN"])
def test_the_three_spellings_of_nothing_are_one(nothing: str | None) -> None:
    assert Fields({"a": nothing}, "", []).text("a") is None


def test_what_is_missing_is_no_anomaly() -> None:
    notes: list[str] = []
    fields = Fields(None, "", notes)

    assert (None, None, None, None) == (
        fields.text("a"),
        fields.flag("a"),
        fields.number("a"),
        fields.texts("a"),
    )
    assert [] == fields.children("a")
    assert [] == notes


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("text", 5),
        ("text", ["a"]),
        ("text", False),
        ("flag", "true"),
        ("flag", 1),
        ("number", True),
        ("number", -1),
        ("number", 2**63),
        ("number", 1.5),
        ("number", "5"),
        ("time", "yesterday"),
        ("time", "2024-02-30T00:00:00Z"),
        ("time", "0000-01-01T00:00:00"),
        ("time", "infinity"),
        ("time", 5),
    ],
)
def test_another_type_is_none_and_noted_once(method: str, value: object) -> None:
    notes: list[str] = []
    fields = Fields({"a": value}, "info.", notes)

    assert getattr(fields, method)("a") is None
    assert getattr(fields, method)("a") is None
    assert ["type:info.a"] == notes


def test_elements_of_another_type_are_left_out_and_noted() -> None:
    notes: list[str] = []

    assert ["x"] == Fields({"a": ["x", 5, None]}, "", notes).texts("a")
    assert [] == Fields({"b": "x"}, "", notes).texts("b")
    assert [] == Fields({"c": [1]}, "", notes).children("c")
    assert ["type:a", "type:b", "type:c"] == notes


def test_a_document_that_is_no_object_is_noted() -> None:
    notes: list[str] = []
    Fields([1], "", notes)
    Fields("x", "info.", notes)

    assert ["type:document", "type:info"] == notes


def test_moments_have_no_zone() -> None:
    assert "2024-02-29T12:00:00.5" == moment_of("2024-02-29T12:00:00.5Z")
    assert "2023-11-14T22:13:20.500000" == moment(1_700_000_000.5)
    assert moment(-1) is None
    assert moment(1e30) is None


def test_notes_are_bounded() -> None:
    """A document with a thousand oddities does not fill the table with them."""
    notes: list[str] = []
    fields = Fields({f"{i}" + "x" * 200: 5 for i in range(1000)}, "", notes)
    for number in range(1000):
        fields.text(f"{number}" + "x" * 200)

    assert 50 == len(notes)
    assert 100 == max(map(len, notes))
