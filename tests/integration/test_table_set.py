"""The process that makes a dump's tables: whatever it does, the dump is not held up by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sinks.dump import table_set
from sinks.dump.table_set import TableSets
from sinks.sink import Vector

EXPORTS = {
    "says much on stderr": (
        "import sys; sys.stderr.write('x' * 1_000_000 + '\\nthe last line'); sys.exit(3)",
        "the export ended with 3: the last line",
    ),
    "hangs": ("import sys; sys.stdin.read()", "the export ended with -9: "),
}


@pytest.mark.parametrize("what", EXPORTS)
def test_an_export_that_fails_is_told_and_left_out(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told = EXPORTS[what]
    (tmp_path / "an_export.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(table_set, "MODULE", "an_export")
    if what == "hangs":
        monkeypatch.setattr(table_set, "EXPORT_SECONDS_MAX", 0.1)
    snapshot = tmp_path / "pypi.duckdb"
    snapshot.write_bytes(b"any")
    tables = TableSets(snapshot, tmp_path / "tables")
    tables.ask()
    vector = Vector("log", (None,))

    with capture_logs() as events:
        for now_ms in (0, 600_000, 3_600_000):
            assert tables.newest(vector, now_ms) is None

    assert [event["why"] for event in events] == [told, told], "with each dump it would cost much"
