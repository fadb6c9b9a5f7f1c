"""How many rows stand together in the DuckDB file: many of what fills it, few of what follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.records import Status
from sinks.duckdb.packed import Packer
from sinks.duckdb.schema import FEW_ROW_GROUP_ROWS, ROW_GROUP_ROWS, STATE
from sinks.duckdb.staged import unpacked
from sinks.duckdb.view import DuckDBView
from sinks.sink import Batch
from tests.support.new_view import new_view
from tests.support.view_records import CONFIG, live, positions, query, read, state

FILLED, FOLLOWED = ROW_GROUP_ROWS // 2, FEW_ROW_GROUP_ROWS + 1
assert FILLED > FEW_ROW_GROUP_ROWS

SIZES = (
    "SELECT max(count) AS rows FROM pragma_storage_info('base.state')"
    " WHERE column_name = 'name' AND segment_type = 'VARCHAR' GROUP BY row_group_id ORDER BY 1 DESC"
)


@pytest.fixture
def view(tmp_path: Path) -> DuckDBView:
    return new_view(tmp_path)


def fill(view: DuckDBView, aside: Path, count: int) -> None:
    """With rows that another process would have made."""
    records = read(state(f"p{number}") for number in range(count))
    aside.mkdir()
    packer = Packer(CONFIG, aside)
    assert packer.add(records)
    ready = unpacked(packer.packed())
    assert list(ready.lines) == [STATE]
    view.apply(Batch(CONFIG, [], positions(records), ready=ready))


def sizes(view: DuckDBView, root: Path) -> list[int]:
    view.close()
    return [row["rows"] for row in query(live(root), SIZES)]


def test_what_fills_it_stands_together_and_what_follows_in_small_groups(
    view: DuckDBView, tmp_path: Path
) -> None:
    """The file is opened otherwise in between, and no row is lost by that."""
    fill(view, tmp_path / "rows", FILLED)
    changed = read((state(f"p{n}", Status.ABSENT) for n in range(FOLLOWED)), first=FILLED)
    view.apply(Batch(CONFIG, changed, positions(changed)))

    found = sizes(view, tmp_path)
    assert FILLED == found[0]
    assert FOLLOWED == sum(found[1:])
    assert FEW_ROW_GROUP_ROWS == max(found[1:])
    counted = query(live(tmp_path), "SELECT status, count(*) AS rows FROM base.state GROUP BY 1")
    assert {"absent": FOLLOWED, "ok": FILLED - FOLLOWED} == {
        row["status"]: row["rows"] for row in counted
    }
