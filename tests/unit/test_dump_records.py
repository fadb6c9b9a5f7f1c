"""Lines of a dump or a delta as records; which deltas lead on."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from schemas.errors import DeltasMissing, DumpCorrupt, LogMismatch
from schemas.manifest import Delta, DeltaManifest
from schemas.topics import VALUE_BYTES_MAX, Topic
from sinks.dump.delta_reader import behind, delta_manifest, leading_on
from sinks.dump.records import of_delta, of_dump
from streams.log import Outgoing

CREATED = "2026-04-30T07:00:00Z"


def package(name: str, **changes: Any) -> bytes:
    line = {
        "name": name, "serial": 6, "event_serial": 7, "event_time": "2026-04-30T06:56:00Z",
        "stale": True, "source": "json", "fetched_at": "2026-04-30T06:56:03.123Z", **changes,
        "document": {"info": {"name": name}},
    }  # fmt: skip
    return json.dumps(line, separators=(",", ":")).encode()


def releases(name: str) -> bytes:
    return b'{"name":"%b","serial":6,"releases_omitted":2,"document":{"a":1}}' % name.encode()


def state(name: str, **changes: Any) -> bytes:
    line = {"name": name, "display_name": "A.B", "status": "ok", "event": 7, "hash": "h", **changes}
    return json.dumps(line, separators=(",", ":")).encode()


def records(*, packages: list[bytes], slim: list[bytes], states: list[bytes]) -> list[Outgoing]:
    found = of_dump(packages, slim, states, CREATED)
    return [record for project in found for record in project.records]


def headers(record: Outgoing) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}


def test_the_records_of_a_project() -> None:
    """Documents byte for byte, headers as their writer had them, the state last."""
    found = records(packages=[package("a-b", anomalies="x,y")], slim=[releases("a-b")],
                    states=[state("a-b", body=6)])  # fmt: skip

    assert [Topic.METADATA, Topic.RELEASES, Topic.STATE] == [each.topic for each in found]
    assert b'{"info":{"name":"a-b"}}' == found[0].value
    assert b'{"a":1}' == found[1].value
    assert {"status": "ok", "event": 7, "body": 6, "name": "A.B", "hash": "h"} == json.loads(
        found[2].value or b""
    )
    common = {
        "ce_id": "a-b:7:6:h", "ce_time": "2026-04-30T06:56:00Z", "event-serial": "7", "serial": "6",
        "stale": "true", "source": "json", "fetched-at": "2026-04-30T06:56:03.123Z",
        "releases-omitted": "2", "anomalies": "x,y",
    }  # fmt: skip
    for each in found[:2]:
        assert common.items() <= headers(each).items()
        assert f"pypistream.{each.topic.value}" == headers(each)["ce_type"]


def test_what_was_removed_leaves_tombstones() -> None:
    """A name whose state says so; one that was never there leaves none."""
    found = records(
        packages=[], slim=[],
        states=[state("gone", gone=7, body=5, reason="quarantined", status="absent"),
                state("never", status="absent", reason="no-document", gone=7)],
    )  # fmt: skip
    assert [
        (Topic.METADATA, "gone", True), (Topic.RELEASES, "gone", True),
        (Topic.STATE, "gone", False), (Topic.STATE, "never", False),
    ] == [(each.topic, each.key, each.value is None) for each in found]  # fmt: skip
    assert ("quarantined", "7") == (
        headers(found[0])["reason"], headers(found[0])["event-serial"]
    )  # fmt: skip


def test_a_deltas_lines() -> None:
    """Each knows its topic; what is deleted is a tombstone, in any topic."""
    rows = [
        b'{"name":"a","topic":"metadata","deleted":true}',
        b'{"name":"a","topic":"state","status":"absent","event":9,"gone":9,"reason":"removed"}',
        b'{"name":"b","topic":"state","deleted":true}',
        package("c").replace(b'"c",', b'"c","topic":"metadata",', 1),
    ]
    found = [each for project in of_delta(rows, CREATED) for each in project.records]
    assert [
        (Topic.METADATA, "a", True), (Topic.STATE, "a", False), (Topic.STATE, "b", True),
        (Topic.METADATA, "c", False),
    ] == [(each.topic, each.key, each.value is None) for each in found]  # fmt: skip
    assert ("removed", "9") == (headers(found[0])["reason"], headers(found[0])["event-serial"])


@pytest.mark.parametrize(
    ("packages", "states", "why"),
    [
        ([b'{"name":"A.b","serial":1}'], [], "no normalised name"),
        ([b'{"nam'], [], "no normalised name"),
        ([b'{"name":"../x"}'], [], "no normalised name"),
        ([package("b"), package("a")], [], "out of order"),
        ([package("a"), package("a")], [], "twice"),
        ([b'{"name":"a","serial":"x"}'], [], "cannot be read"),
        ([package("a", serial=-1)], [], "no serial"),
        ([package("a", serial=2**63)], [], "no serial|cannot be read"),
        ([package("a")[:-1]], [], "cannot be read"),
        ([], [b'{"name":"a","status":"never"}'], "cannot be read"),
        ([package("a")[:-1] + b"," * (VALUE_BYTES_MAX + 1) + b"}"], [], "cannot be read"),
    ],
)
def test_what_is_refused(packages: list[bytes], states: list[bytes], why: str) -> None:
    """Lines that no dump of ours has, whatever their file's sha256."""
    with pytest.raises(DumpCorrupt, match=why):
        records(packages=packages, slim=[], states=states)


def test_a_document_over_the_limit_is_refused() -> None:
    line = b'{"name":"a","serial":1,"releases_omitted":0,"document":"%b"}' % (
        b"x" * VALUE_BYTES_MAX
    )
    with pytest.raises(DumpCorrupt, match="bytes"):
        records(packages=[], slim=[line], states=[])


@pytest.mark.parametrize("line", [b'{"name":"a"}', b'{"name":"a","topic":"changelog"}'])
def test_a_deltas_line_without_its_topic_is_refused(line: bytes) -> None:
    with pytest.raises(DumpCorrupt, match="no topic"):
        list(of_delta([line], CREATED))


# --- which deltas lead on ---------------------------------------------------------------------


def at(place: int) -> tuple[tuple[int, int, int, int, int]]:
    return ((place, 0, place, place, place),)


def delta(start: int, end: int, file: str = "f") -> Delta:
    return Delta(file, 1, "", 0, 0, CREATED, at(start), at(end), watermark=end)


MANIFEST = DeltaManifest(CREATED, "log", (delta(10, 20), delta(20, 30), delta(35, 40)))


@pytest.mark.parametrize(
    ("place", "ends"), [(10, [20, 30]), (20, [30]), (35, [40]), (40, []), (50, [])]
)
def test_the_deltas_that_lead_on(place: int, ends: list[int]) -> None:
    """Up to a gap; nothing from the end on, and nothing of a list that is older than we are."""
    assert [at(end) for end in ends] == [
        each.end for each in leading_on(MANIFEST, "log", at(place))
    ]


@pytest.mark.parametrize("place", [5, 15, 30, 32])
def test_deltas_that_do_not_lead_on(place: int) -> None:
    """From before the first, from between two, from a gap."""
    with pytest.raises(DeltasMissing, match="do not lead on"):
        leading_on(MANIFEST, "log", at(place))


def test_another_logs_deltas() -> None:
    with pytest.raises(LogMismatch, match="of log log"):
        leading_on(MANIFEST, "other", at(10))


def test_behind_in_any_partition() -> None:
    """A partition without a cut is behind any that has one; another number of them is, too."""
    assert behind((*at(1), *at(9)), (*at(1), *at(10)))
    assert not behind((*at(2), *at(10)), (*at(1), *at(10)))
    assert behind((None, *at(10)), (*at(1), *at(10)))
    assert not behind((*at(1),), (None,))
    assert behind(at(9), (*at(1), *at(1)))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": 2}, "format 2"),
        ({"schema": 2}, "schema version 2"),
        ({"deltas": (delta(1, 2, "../x"),)}, "outside"),
        ({"deltas": (delta(1, 2, ""),)}, "outside"),
        ({"log": 7}, "log"),
    ],
)
def test_a_list_of_deltas_that_is_refused(changes: dict[str, Any], why: str) -> None:
    raw = msgspec.json.encode(replace(MANIFEST, **changes))
    with pytest.raises(DumpCorrupt, match=why):
        delta_manifest(raw, "here")
    assert MANIFEST == delta_manifest(msgspec.json.encode(MANIFEST), "here")


@pytest.mark.parametrize("field", ["attempts", "first_ms", "event", "missing_ms"])
@pytest.mark.parametrize("number", [-1, 2**63, 10**400])
def test_a_state_with_a_number_that_is_none_is_refused(field: str, number: int) -> None:
    """It would stay in the log, and end each worker that has to do with the name."""
    with pytest.raises(DumpCorrupt, match=f"`{field}` is (negative|too large)"):
        records(packages=[], slim=[], states=[state("a", **{field: number})])
