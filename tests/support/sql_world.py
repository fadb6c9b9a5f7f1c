"""A published snapshot to ask."""

from __future__ import annotations

from pathlib import Path

from tests.support.new_view import new_view
from tests.support.view_records import document, metadata, reach, read, take


def publish(root: Path, projects: int) -> Path:
    """A data directory with a snapshot of projects `p0000`, `p0001`, …; the directory."""
    view = new_view(root)
    rows = [metadata(f"p{i:04}", document(f"p{i:04}", f"{i}.0")) for i in range(projects)]
    take(view, read(rows))
    reach(view)
    view.publish(1_700_000_000_000)
    view.close()
    return root
