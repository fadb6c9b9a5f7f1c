"""A view that works until it is killed: `DIR` for ever, `DIR once` to its own sudden end.

It is the DuckDB view, or with `DIR serving` the one that HTTP answers from.

Prints the position after each acknowledged batch.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from schemas.topics import Topic
from sinks.duckdb.view import DuckDBView
from sinks.serving.view import ServingView
from sinks.sink import Sink
from streams.log import TopicPartition
from tests.support.view_records import document, entry, metadata, reach, read, take

ROWS = 20  # of a batch
PUBLISH_EVERY = 100
ONCE = 400


def main(view: Sink, end: int | None) -> None:
    """Journal rows 1, 2, 3, … and a document of one of seven projects for each."""
    at: int = view.standing().positions.get(TopicPartition(Topic.CHANGELOG, 0), 0)
    while end is None or at < end:
        rows = []
        for number in range(at, at + ROWS):
            name = f"p{number % 7}"
            rows += [entry(name, number + 1), metadata(name, document(name, str(number)))]
        take(view, read(rows, first=at))
        at += ROWS
        reach(view, at)
        if at % PUBLISH_EVERY == 0 and end is None:
            view.publish(at)
        sys.stdout.write(f"{at}\n")
        sys.stdout.flush()
    os._exit(0)  # without closing anything


if __name__ == "__main__":
    folder, mode = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    serving = mode == "serving"
    main(
        ServingView(folder) if serving else DuckDBView.in_directory(folder),
        ONCE if mode == "once" else None,
    )
