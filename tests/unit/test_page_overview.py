"""What the first page says of the files of a dump."""

from __future__ import annotations

from schemas.manifest import DumpFile, Exceptions, Manifest, Tables
from sinks.http.page.overview import dump_lines


def test_a_table_says_when_it_was_made_itself_and_has_the_address_that_lasts() -> None:
    """Tables are made less often than the rest; by `sha256/` a file goes with the dump after."""
    tables = Tables("2026-01-31T11:00:00Z", (), 7, 0, 7, ("files.parquet",))
    files = {
        "files.parquet": DumpFile(1, "ab", 1, 1, "files-ab.parquet"),
        "state.jsonl.zst": DumpFile(1, "cd", 1, 1),
    }
    manifest = Manifest("2026-01-31T12:00:00Z", "log", (), 9, Exceptions({}), files, tables=tables)
    lines = {line.name: line for line in dump_lines(manifest)}

    assert lines["files.parquet"].generated == "2026-01-31T11:00:00Z"
    assert lines["files.parquet"].immutable_url == "/dumps/full/files-ab.parquet"
    assert lines["state.jsonl.zst"].generated == "2026-01-31T12:00:00Z"
    assert lines["state.jsonl.zst"].immutable_url == "/dumps/sha256/cd/state.jsonl.zst"
