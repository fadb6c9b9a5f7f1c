"""Publications of a view that are made in a thread while it takes batches in, as a feed does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from sinks.duckdb.view import DuckDBView
from sinks.sink import Published


@contextmanager
def copied_beside(view: DuckDBView) -> Iterator[Callable[[int], None]]:
    """A function that begins a publication at the given time, after the end of the one before.

    It raises what went wrong with that one. At the end the last one is waited for.
    """
    under_way: list[Future[Published | None]] = []

    def settle() -> None:
        if under_way:
            work = under_way.pop()
            work.exception()
            view.release()
            work.result()

    def begin(now_ms: int) -> None:
        settle()
        under_way.append(pool.submit(view.hold(now_ms).copied))

    with ThreadPoolExecutor(1) as pool:
        try:
            yield begin
        finally:
            settle()
