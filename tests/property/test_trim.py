"""`trim` against its oracle and against itself, on documents nobody would write by hand."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from packaging.version import VERSION_PATTERN

from processors.trim import Trimmed, trim
from processors.versions import ascending, is_version, version_key
from schemas.errors import ForeignMetadata, MalformedMetadata, OversizedBody
from schemas.names import NormalizedName
from tests.support import oracle
from tests.support.documents import body, file

ASKED = NormalizedName("some-project")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
odd_versions = st.sampled_from(
    ["1.8d", "1.5.7.", "1.0.0-final", "2004d", "1.0.2 dev", "unknown", ".9", "", "0.2.4b\n0.2.5b"]
)
near_versions = st.builds(
    "".join,
    st.lists(
        st.sampled_from(["0", "1", "10", ".", "a", "b", "rc", "dev", "post", "-", "+x", "!", "v"])
    ),
)
versions = (
    st.from_regex(rf"(?ix)\A(?:{VERSION_PATTERN})\Z", alphabet=st.characters(max_codepoint=127))
    | near_versions
    | odd_versions
    | texts
)
files = st.builds(
    file,
    st.text("ab-.0", min_size=1, max_size=6),
    yanked=st.booleans(),
    yanked_reason=st.none() | texts,
    size=st.integers(0, 2**63 - 1),
    requires_python=st.none() | texts,
)


def names() -> st.SearchStrategy[str]:
    return st.sampled_from(["some-project", "Some.Project", "SOME__project", "some-.-Project"])


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Of today's shape, with unknown keys now and then, and any version text."""
    releases = draw(st.dictionaries(versions, st.lists(files, max_size=2), max_size=5))
    latest = draw(st.sampled_from(sorted(releases)) | versions if releases else versions)
    document: dict[str, Any] = {
        "info": {
            "name": draw(names()),
            "version": latest,
            "description": draw(st.none() | texts | values),
            "summary": draw(texts),
            "project_urls": draw(st.none() | st.dictionaries(texts, texts, max_size=2)),
        },
        "last_serial": draw(st.integers(0, 2**63 - 1)),
        "releases": releases,
        "urls": releases.get(latest, []),
        "vulnerabilities": [],
    }
    for part in (document, document["info"]):
        if draw(st.booleans()):
            part.update(draw(st.dictionaries(texts.map(lambda key: f"x{key}"), values, max_size=2)))
    return document


def trimmed(raw: bytes) -> Trimmed:
    return trim(raw, ASKED)


def shuffled(value: Any, order: random.Random) -> Any:
    if isinstance(value, list):
        return [shuffled(each, order) for each in value]
    if not isinstance(value, dict):
        return value
    keys = list(value)
    order.shuffle(keys)
    return {key: shuffled(value[key], order) for key in keys}


@given(documents())
def test_trim_equals_the_oracle(document: dict[str, Any]) -> None:
    """Both outputs, as JSON values, order of releases included."""
    result = trimmed(body(document))
    assert json.loads(result.metadata) == oracle.oracle_trim(document)
    slim = json.loads(result.releases)
    assert slim == oracle.oracle_slim(document, ASKED, document["last_serial"])
    assert list(slim["releases"]) == oracle.ascending(list(document["releases"]))


@given(documents())
def test_trimming_twice_is_trimming_once(document: dict[str, Any]) -> None:
    once = trimmed(body(document))
    twice = trimmed(once.metadata)
    assert json.loads(twice.metadata) == json.loads(once.metadata)
    assert twice.display_name == once.display_name
    assert twice.serial == once.serial


@given(documents(), st.randoms(use_true_random=False), st.integers(0, 2**63 - 1))
def test_hash_looks_at_values_only(
    document: dict[str, Any], order: random.Random, serial: int
) -> None:
    """Not at key order, white space, the way of escaping, or the serial."""
    other = shuffled({**document, "last_serial": serial}, order)
    again = json.dumps(other, ensure_ascii=True, indent=order.choice([None, 1, 4])).encode()
    assert trimmed(again).hash == trimmed(body(document)).hash


@given(documents(), st.data())
def test_hash_tells_any_two_outputs_apart(document: dict[str, Any], data: st.DataObject) -> None:
    """Equal hashes if and only if equal metadata and slim form, serial aside."""
    other = data.draw(documents() | st.just({**document, "last_serial": 1}))
    one, two = trimmed(body(document)), trimmed(body(other))

    def seen(result: Trimmed) -> str:
        metadata, slim = json.loads(result.metadata), json.loads(result.releases)
        del metadata["last_serial"], slim["serial"]
        return json.dumps([metadata, slim], sort_keys=True)

    assert (one.hash == two.hash) == (seen(one) == seen(two))


@given(st.binary(max_size=64) | values.map(body) | st.builds(lambda x: body({"info": x}), values))
def test_nothing_but_the_three_errors_comes_out(raw: bytes) -> None:
    try:
        trimmed(raw)
    except (MalformedMetadata, OversizedBody, ForeignMetadata):
        return


@given(documents(), st.data())
def test_a_damaged_body_is_trimmed_or_refused(
    document: dict[str, Any], data: st.DataObject
) -> None:
    """One part is replaced by any value, or one byte by another."""
    path = data.draw(st.sampled_from(["info", "releases", "urls", "last_serial", "file", "byte"]))
    raw = body(document)
    if path == "byte":
        at = data.draw(st.integers(0, len(raw) - 1))
        raw = raw[:at] + data.draw(st.binary(min_size=1, max_size=1)) + raw[at + 1 :]
    elif path == "file":
        raw = body({**document, "releases": {"1.0": [data.draw(values)]}})
    else:
        raw = body({**document, path: data.draw(values)})
    try:
        result = trimmed(raw)
    except (MalformedMetadata, ForeignMetadata):
        return
    json.loads(result.metadata)
    json.loads(result.releases)


@given(st.lists(versions, max_size=8))
@example(["1.0", "1.0.0", "1", "1.0.dev0", "1.0a1.dev1", "1.0+a.1", "1.0+1"])
def test_versions_order_as_the_oracle_orders(texts: list[str]) -> None:
    """The key agrees with packaging on every pair, equality included."""
    assert ascending(texts) == oracle.ascending(texts)
    for left in texts:
        assert is_version(left) == (oracle.parsed(left) is not None)
        for right in texts:
            a, b = version_key(left), version_key(right)
            assert (a > b) - (a < b) == oracle.compare(left, right)
