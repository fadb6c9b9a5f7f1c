"""A view that works until it is killed: `DIR` for ever, `DIR once` to its own sudden end.

It is the DuckDB view, or with `DIR serving` the one that HTTP answers from.

Prints the position after each acknowledged batch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from schemas.topics import Topic
from sinks.duckdb.view import DuckDBView
from sinks.serving.view import ServingView
from sinks.sink import Sink
from streams.log import Record, TopicPartition
from tests.support.view_records import document, entry, metadata, reach, read, take

JOURNAL = TopicPartition(Topic.CHANGELOG, 0)
ROWS = 20  # of a batch
PUBLISH_EVERY = 100
ONCE = 400


def batches(at: int) -> Iterator[tuple[int, list[Record]]]:
    """From that offset on, for ever: journal rows 1, 2, 3, … and for each a document.

    Each batch comes with the offset after it; the documents are those of seven projects in turn.
    """
    while True:
        rows = []
        for number in range(at, at + ROWS):
            name = f"p{number % 7}"
            rows += [entry(name, number + 1), metadata(name, document(name, str(number)))]
        end = at + ROWS
        yield end, read(rows, first=at)
        at = end


def main(view: Sink, last: int | None) -> None:
    """Take batches in up to that offset, and end suddenly; without one for ever."""
    at: int = view.standing().positions.get(JOURNAL, 0)
    for end, records in batches(at):
        take(view, records)
        reach(view, end)
        if end % PUBLISH_EVERY == 0 and last is None:
            view.publish(end)
        sys.stdout.write(f"{end}\n")
        sys.stdout.flush()
        if end == last:
            os._exit(0)  # without closing anything


if __name__ == "__main__":
    folder, mode = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    serving = mode == "serving"
    main(
        ServingView(folder) if serving else DuckDBView.in_directory(folder),
        ONCE if mode == "once" else None,
    )
