"""A sink that is killed, or whose disk refuses, at the n-th thing asked of disk or database.

A kill is told by what it leaves: the folder as it is at that moment is copied, and the next life
begins with the copy. What the old life still does to its own folder does not matter any more.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar
from unittest.mock import patch

import duckdb

from sinks.sink import Batch, Published, Reached, Sink, Standing, Vector
from tests.support.faulty_disk import Disk

_connect = duckdb.connect  # not what takes its place while calls are counted
P = ParamSpec("P")
T = TypeVar("T")


class Killed(BaseException):
    """The process that this stands for is not there any more."""


class InlineThreads:
    """Instead of a thread pool: what is submitted is done at once, so that a run repeats itself."""

    def __init__(self, *_: object, **__: object) -> None:
        """Whatever a pool is made with."""

    def submit(self, function: Callable[P, T], *given: P.args, **named: P.kwargs) -> Future[T]:
        """Do it."""
        future: Future[T] = Future()
        try:
            future.set_result(function(*given, **named))
        except BaseException as error:  # noqa: BLE001  # a pool hands over every error, too
            future.set_exception(error)
        return future

    def shutdown(self, **_: object) -> None:
        """Nothing is under way."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """As at `shutdown`."""


class InlineLoopThreads(InlineThreads):
    """The same for callers in an event loop, who learn of it in its next turn."""

    def submit(self, function: Callable[P, T], *given: P.args, **named: P.kwargs) -> Any:
        """Do it. What is returned is the loop's own kind of future, which nobody has to wrap."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        try:
            done = partial(future.set_result, function(*given, **named))
        except BaseException as error:  # noqa: BLE001  # a pool hands over every error, too
            done = partial(future.set_exception, error)
        loop.call_soon(done)
        return future


class Faults:
    """Shared by a sink's lives: what breaks at the next calls. `calls` counts what was asked."""

    def __init__(self, root: Path, *, databases: bool) -> None:
        self.root = root
        self.databases = databases
        self.full = False
        self.dead = False
        self.calls = 0
        self._kill_in: int | None = None
        self._code = 0  # what the call fails with instead of a kill
        self.kills = 0
        self._disk = Disk(0, self._touched)

    def kill_in(self, calls: int) -> None:
        """Kill at that many things asked from now on."""
        self._kill_in = calls

    def fail_in(self, calls: int, code: int) -> None:
        """Have the call after so many fail with that errno, once."""
        self._kill_in, self._code = calls, code

    def heal(self) -> None:
        """Nothing breaks any more."""
        self.full, self._kill_in = False, None

    def revive(self) -> Path:
        """The folder of the next life."""
        self.dead = False
        return self.root

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Have everything that is asked meanwhile counted, and perhaps refused."""
        real = duckdb.connect

        def connect(*given: Any, **named: Any) -> Any:
            self._asked(duckdb.IOException)
            if named == {"read_only": True}:
                return CountingConnection(Reading(*given), lambda: self._asked(duckdb.IOException))
            named["config"] = {**(named.get("config") or {}), "threads": 1}
            return CountingConnection(
                real(*given, **named), lambda: self._asked(duckdb.IOException)
            )

        with ExitStack() as stack:
            if self.databases:
                stack.enter_context(patch.object(duckdb, "connect", connect))
            if self.full or self._kill_in is not None:
                stack.enter_context(self._disk.watched())
            yield

    def _asked(self, kind: type[Exception]) -> None:
        self.calls += 1
        if self._kill_in is None:
            return
        self._kill_in -= 1
        if self._kill_in >= 0:
            return
        self._kill_in = None
        if not self._code:
            self._kill()
        text = os.strerror(self._code)
        raise OSError(self._code, text) if kind is OSError else kind(f"IO Error: {text}")

    def _touched(self) -> None:
        self._asked(OSError)
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _kill(self) -> None:
        self.kills += 1
        left = self.root.with_name(f"life-{self.kills}")
        shutil.copytree(self.root, left, copy_function=shutil.copy)
        self.root, self.dead = left, True
        raise Killed


@cache
def reading_instance() -> duckdb.DuckDBPyConnection:
    """The one that all files are read by: to make an instance takes 12 ms."""
    return _connect(config={"threads": 1})


class Reading:
    """A file as `duckdb.connect(path, read_only=True)` opens it, without an instance of its own."""

    def __init__(self, path: str) -> None:
        self._inner = reading_instance()
        place = path.replace("'", "''")
        self._inner.execute(f"ATTACH '{place}' AS shown (READ_ONLY)")
        self._inner.execute("USE shown")

    def execute(self, *given: Any) -> duckdb.DuckDBPyConnection:
        """A statement; `base.…` is the file's."""
        return self._inner.execute(*given)

    def close(self) -> None:
        """Let the file go."""
        self._inner.execute("USE memory")
        self._inner.execute("DETACH shown")


class CountingConnection:
    """A DuckDB connection whose statements are counted before they are made."""

    def __init__(self, inner: Any, touch: Callable[[], None]) -> None:
        self._inner = inner
        self._touch = touch

    def __getattr__(self, name: str) -> Any:
        if name in {"execute", "begin", "commit", "appender"}:
            self._touch()
        return getattr(self._inner, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._inner.close()


class MortalSink:
    """A `Sink` that hands everything to the real one, under `faults`."""

    def __init__(self, inner: Sink, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults
        self.name, self.topics = inner.name, inner.topics

    def _call(self, function: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        if self._faults.dead:
            raise Killed
        with self._faults.watched():
            return function(*given, **named)

    def standing(self) -> Standing:
        return self._call(self._inner.standing)

    def apply(self, batch: Batch) -> None:
        self._call(self._inner.apply, batch)

    def reached(self, at: Reached) -> None:
        self._call(self._inner.reached, at)

    def publish(self, now_ms: int) -> Published:
        return self._call(self._inner.publish, now_ms)

    def published(self) -> Vector | None:
        return self._call(self._inner.published)

    def reset(self) -> None:
        self._call(self._inner.reset)

    def close(self) -> None:
        self._inner.close()  # of one that was killed: its folder is nobody's any more
