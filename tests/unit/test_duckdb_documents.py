"""A document that is read only as far as its row needs it makes the row of the whole document."""

from __future__ import annotations

import json

import pytest

from sinks.duckdb.documents import decoded
from sinks.duckdb.rows import project_row
from tests.support.view_records import document, metadata, read

UPLOADS = [
    [{"upload_time_iso_8601": "2024-02-29T12:00:00Z", "size": 5}, {"filename": "x"}],
    [{"upload_time_iso_8601": 5}],
    [{"upload_time_iso_8601": "yesterday"}],
    ["no file"],
    {"no": "list"},
    None,
    [],
]


@pytest.mark.parametrize("urls", UPLOADS)
def test_the_row_is_that_of_the_whole_document(urls: object) -> None:
    """Also where a file is none, and its notes say so."""
    odd = document("a", urls=urls, ownership={"organization": 7}, vulnerabilities=[{"id": "V"}, 3])
    [record] = read([metadata("a", odd)])
    assert record.value is not None
    lean, whole = (
        project_row(record, decoded(record.value, files=files), with_releases="all")
        for files in (False, True)
    )
    assert whole == lean


def test_files_are_skipped_only_where_nobody_asks_for_them() -> None:
    raw = json.dumps(document("a")).encode()
    assert decoded(raw, files=True) == json.loads(raw)
    assert "releases" not in str(decoded(raw, files=False))
