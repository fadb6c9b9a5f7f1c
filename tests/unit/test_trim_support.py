"""The reader that stands for Repology fails where Repology would."""

from __future__ import annotations

import json

import pytest

from tests.support import repology
from tests.support.documents import document

INFO = dict.fromkeys(repology.INFO_KEYS)


def dump(*documents: object) -> bytes:
    return b"[\n" + b",\n".join(json.dumps(each).encode() for each in documents) + b"\n]\n"


def test_null_is_an_answer() -> None:
    files = {"1.0": [{"yanked": False, "url": None}], "1.1": []}
    packages = list(repology.read(dump({"info": INFO, "releases": files})))
    assert packages == [repology.RepologyPackage(INFO, [("1.0", False, None)])]
    assert list(repology.read(b"[\n\n]\n")) == []


@pytest.mark.parametrize(
    "broken",
    [
        {"info": INFO},
        {"releases": {}},
        *({"info": {k: None for k in INFO if k != key}, "releases": {}} for key in INFO),
        {"info": INFO, "releases": {"1.0": [{"url": None}]}},
        {"info": INFO, "releases": {"1.0": [{"yanked": False}]}},
    ],
)
def test_a_missing_key_is_an_exception(broken: object) -> None:
    with pytest.raises(KeyError):
        list(repology.read(dump(document("1.0") | {"info": INFO}, broken)))


@pytest.mark.parametrize(
    "text", ["", "{}", "[{}", "[{},]", "[{} {}]", "[{}]\n[]", "[[]]", '[{"a": 1']
)
def test_what_is_no_array_of_objects_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        list(repology.documents(text))
