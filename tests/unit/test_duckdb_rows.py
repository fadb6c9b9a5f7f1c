"""Records as rows of the DuckDB view."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from schemas.records import Config, Status
from schemas.topics import Topic
from sinks import release_rows
from sinks.duckdb import progress as duckdb_progress
from sinks.duckdb import rows as duckdb_rows
from sinks.duckdb.project_row import ProjectRow
from sinks.duckdb.rows import staged
from sinks.duckdb.schema import (
    CHANGELOG,
    PROGRESS,
    PROJECT,
    RELEASES,
    STATE,
    TOMBSTONE,
    UNREADABLE,
    Table,
)
from sinks.duckdb.staged import Staged
from sinks.duckdb.status import VIEWS
from streams.log import Outgoing
from tests.support.view_records import (
    CONFIG,
    document,
    entry,
    gone,
    info,
    metadata,
    read,
    releases,
    slim,
    state,
)


def stage(*outgoing: Outgoing, config: Config = CONFIG) -> Staged:
    return staged(read(outgoing), config)


def row(batch: Staged, table: Table, key: str) -> dict[str, Any]:
    text = batch.keyed[table][key]
    assert text is not None
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize(
    ("struct", "table"),
    [
        (ProjectRow, PROJECT),
        (release_rows.ReleaseRow, RELEASES),
        (duckdb_rows.StateRow, STATE),
        (duckdb_rows.TombstoneRow, TOMBSTONE),
        (duckdb_rows.UnreadableRow, UNREADABLE),
        (duckdb_rows.ChangelogRow, CHANGELOG),
        (duckdb_progress.ProgressRow, PROGRESS),
    ],
)
def test_rows_and_tables_name_the_same_columns(struct: type[msgspec.Struct], table: Table) -> None:
    """A field that only one of them knows would be lost without a word."""
    assert set(struct.__struct_fields__) == set(table.columns)


def test_every_promised_view_is_there_and_explained() -> None:
    promised = (
        "projects releases files dependencies classifiers project_urls vulnerabilities roles"
        " changelog removed removed_files anomalies exceptions progress latest wheel_tags"
        " releases_per_month owners_history"
    )

    assert promised.split() == [view.name for view in VIEWS]
    assert all(
        view.comment and all(comment for _, comment in view.columns.values()) for view in VIEWS
    )


def test_a_document_becomes_a_row() -> None:
    given = document("Foo.Bar", "2.0")
    given["info"] |= {
        "author": "UNKNOWN",
        "keywords": ["a", "b"],
        "classifiers": ["Topic :: X"],
        "requires_dist": ["x>=1", "???"],
        "project_urls": {"Home": "https://example.org", "Bad": None},
    }
    given["ownership"] = {"organization": "acme", "roles": [{"role": "Owner", "user": "u"}]}
    given["vulnerabilities"] = [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fixed_in": None}]
    found = row(stage(metadata("foo-bar", given, stale=True)), PROJECT, "foo-bar")

    assert ("Foo.Bar", "2.0", None, "a,b") == (
        found["display_name"],
        found["version"],
        found["author"],
        found["keywords"],
    )
    assert [{"label": "Home", "url": "https://example.org"}] == found["project_urls"]
    assert (["x", None], ["x>=1", "???"]) == (found["dependency"], found["requirement"])
    assert [[], None] == [found["marker"], found["parse_error"][0]]
    assert ("acme", [{"role": "Owner", "user": "u"}]) == (found["organization"], found["roles"])
    assert ("PYSEC-1", ["CVE-1"], None) == tuple(
        found["vulnerabilities"][0][key] for key in ("id", "aliases", "fixed_in")
    )
    assert (7, 9, True, "json") == tuple(
        found[key] for key in ("serial", "event_serial", "stale", "source")
    )
    assert ("2023-11-14T22:13:20", "2023-11-14T22:13:20.500") == (
        found["event_time"],
        found["fetched_at"],
    )
    assert "2024-02-29T12:00:00.123456" == found["uploaded"]
    assert [] == found["anomalies"]


def test_anomalies_come_from_the_header_and_from_types() -> None:
    given = document("a")
    given["info"]["author"] = {"not": "a text"}
    found = row(stage(metadata("a", given, anomalies="deep,odd")), PROJECT, "a")

    assert ["deep", "odd", "type:info.author"] == found["anomalies"]


def test_an_empty_version_is_a_version() -> None:
    assert row(stage(metadata("a", document("a", ""))), PROJECT, "a")["version"] == ""


@pytest.mark.parametrize(
    "value",
    [b"", b"{", b"\xff\xfe", b'{"info":"\\ud800"}', b"[" * 3000 + b"]" * 3000, b"NaN", b"1e999"],
)
def test_what_is_no_json_leaves_a_note_and_no_row(value: bytes) -> None:
    """The stream goes on; the old row would be a claim that is not true any more."""
    batch = stage(metadata("a", value), metadata("b", document("b")))

    assert batch.keyed[PROJECT]["a"] is None
    assert row(batch, UNREADABLE, "metadata:a")["reason"].startswith("unreadable: ")
    assert batch.keyed[PROJECT]["b"] is not None


@pytest.mark.parametrize("value", [[], "text", 5, None, {"info": []}, {"info": {"name": 5}}])
def test_json_of_any_shape_gives_a_row(value: object) -> None:
    batch = stage(metadata("a", value))

    assert row(batch, PROJECT, "a")["display_name"] == "a"


def test_a_readable_record_takes_the_note_away() -> None:
    batch = stage(metadata("a", b"{"), metadata("a", document("a")))

    assert batch.keyed[UNREADABLE] == {"metadata:a": None}
    assert batch.keyed[PROJECT]["a"] is not None


def test_a_tombstone_removes_the_row_and_is_remembered() -> None:
    batch = stage(metadata("a", document("a")), gone("a", "quarantined"))

    assert batch.keyed[PROJECT] == {"a": None}
    assert {"reason": "quarantined", "serial": 11, "time": "2023-11-14T22:13:20"} == row(
        batch, TOMBSTONE, "a"
    )


def test_a_document_ends_a_removal() -> None:
    batch = stage(gone("a"), metadata("a", document("a")))

    assert batch.keyed[TOMBSTONE] == {"a": None}
    assert batch.keyed[PROJECT]["a"] is not None


def test_releases_come_from_their_topic_or_from_the_document() -> None:
    """With `--releases latest` there is no other source, and a tombstone takes them along."""
    latest = Config("log-1", 1, 1, releases="latest")

    assert stage(metadata("a", document("a"))).keyed[RELEASES] == {}
    own = row(stage(metadata("a", document("a")), config=latest), RELEASES, "a")
    assert "a-1.0.tar.gz" == own["filename"]
    assert stage(gone("a"), config=latest).keyed[RELEASES] == {"a": None}
    found = row(stage(releases("a", slim("a", {"1": []}, "1"), releases_omitted=4)), RELEASES, "a")
    assert (4, ["1"]) == (found["omitted"], found["release_version"])
    assert stage(gone("a", topic=Topic.RELEASES)).keyed[RELEASES] == {"a": None}


@pytest.mark.parametrize(
    ("status", "attempts", "settled"),
    [
        (Status.OK, 0, True),
        (Status.ABSENT, 1, False),
        (Status.ABSENT, 2, True),
        (Status.PENDING, 0, False),
        (Status.PARKED, 3, False),
        (Status.STALE, 9, False),
        (Status.DEAD, 9, False),
    ],
)
def test_exceptions_are_what_is_not_settled(status: Status, attempts: int, settled: bool) -> None:
    found = row(stage(state("a", status, attempts=attempts)), STATE, "a")

    assert (status.value, settled) == (found["status"], found["settled"])


def test_times_and_serials_out_of_range_are_null() -> None:
    found = row(stage(state("a", event=2**63, next_ms=2**62, first_ms=-5)), STATE, "a")
    beyond = Outgoing(Topic.STATE, "a", b'{"status":"ok","event":1,"first_ms":1%0400d}' % 0)

    assert row(stage(beyond), STATE, "a")["first_attempt"] is None
    assert (None, None, None) == (
        found["event_serial"],
        found["next_attempt"],
        found["first_attempt"],
    )


def test_journal_rows_are_added_and_markers_are_not() -> None:
    marker = Outgoing(Topic.CHANGELOG, None, b'{"base":0,"serial":5,"time":1}', partition=0)
    batch = stage(entry("Foo_Bar", 5)._replace(key="foo-bar"), marker, entry("b", 3, late=True))

    assert [("foo-bar", 5, False), ("b", 3, True)] == [
        (key, json.loads(text)["serial"], json.loads(text)["late"]) for key, text in batch.added
    ]
    assert json.loads(batch.added[0][1])["display_name"] == "Foo_Bar"


def test_an_unreadable_journal_row_is_noted_by_its_place() -> None:
    batch = stage(Outgoing(Topic.CHANGELOG, "a", b"[]"), entry("a", 5))

    assert 1 == len(batch.added)
    assert "a" == row(batch, UNREADABLE, "changelog:0:0")["name"]


def test_numbers_in_headers_are_bounded() -> None:
    found = row(stage(metadata("a", {"info": info("a")}, serial=2**63)), PROJECT, "a")

    assert found["serial"] is None
