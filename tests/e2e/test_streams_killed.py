"""`pypistream serve` as a process: streams with curl, and resumed while it is killed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from streams.sqlite_log import SqliteLog
from tests.support.changes_world import Journal, row
from tests.support.process import started
from tests.support.served import answers, free_port
from tests.support.sse import frames_of
from tests.support.streams_world import document, publish

ROWS, PAGE, LIVES = 8_000, 1_000, 3
SECONDS_MAX = 240.0


async def written(data: Path, first: int, last: int) -> None:
    """Rows with these serials, and a document, as `run` would have left them."""
    await asyncio.to_thread(data.mkdir, exist_ok=True)
    log = await SqliteLog.open(data / "log.sqlite", 1)
    journal = Journal(log)
    if first == 1:
        await journal.found()
        await publish(log, [document("a", 1, "held"), document("b", 2, None)])
    for start in range(first, last + 1, PAGE):
        stop = min(start + PAGE, last + 1)
        await journal.rows([row(serial, f"p{serial % 500}") for serial in range(start, stop)])
    await log.close()


def read_until(
    url: str, last: int | None, wanted: Callable[[list[int]], bool], then: Callable[[], object]
) -> list[int]:
    """Serials after `last` until those are what is wanted; `then` is done while more may come.

    What was sent and not read by then is not looked at: it is lost with the connection.
    """
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    serials: list[int] = []
    rest, end = b"", time.monotonic() + SECONDS_MAX
    with (
        httpx.Client(timeout=SECONDS_MAX) as client,
        client.stream("GET", f"{url}/v1/stream/changes?since=0", headers=headers) as stream,
    ):
        for piece in stream.iter_raw():
            whole, found, rest = (rest + piece).rpartition(b"\n\n")
            serials += [f.value["serial"] for f in frames_of(whole + found) if f.data]
            if wanted(serials):
                then()
                return serials
            # Heartbeats come for ever: a time-out of reading alone would not end this.
            assert time.monotonic() < end, f"{len(serials)} rows after {last}, then no more"
    raise AssertionError(f"the stream ended after {len(serials)} rows")


def test_a_stream_resumes_over_a_server_that_is_killed(tmp_path: Path) -> None:
    """`kill -9` while it sends, again and again: together the pieces are every row, once."""
    data, url = tmp_path / "data", f"http://127.0.0.1:{free_port()}"
    asyncio.run(written(data, 1, ROWS))
    serve = ("serve", "--data", str(data), "--http", url.removeprefix("http://"))
    found: list[int] = []
    for life in range(LIVES):
        with started(*serve, cwd=tmp_path) as program:
            program.until(lambda: answers(url), SECONDS_MAX, "answer")
            last = found[-1] if found else None
            if life < LIVES - 1:
                found += read_until(url, last, lambda had: len(had) > PAGE, program.kill)
                assert found[-1] < ROWS
            else:
                found += read_until(url, last, lambda had: ROWS in had, program.stop)
    assert found == list(range(1, ROWS + 1))


def test_streams_with_curl(tmp_path: Path) -> None:
    """The commands of the documentation, and a clean stop while somebody listens."""
    data, url = tmp_path / "data", f"http://127.0.0.1:{free_port()}"
    asyncio.run(written(data, 1, 50))
    serve = ("serve", "--data", str(data), "--http", url.removeprefix("http://"))

    def curl(path: str, *more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["curl", "-sN", "--max-time", f"{SECONDS_MAX}", *more, f"{url}{path}"],
            bufsize=0,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    with started(*serve, cwd=tmp_path) as program:
        program.until(lambda: answers(url), SECONDS_MAX, "answer")
        listening = [
            curl("/v1/stream/changes?since=48"),
            curl("/v1/stream/changes?project=p7*", "-H", "Last-Event-ID: 0"),
            curl("/v1/stream/metadata?since=0"),
        ]
        heads = [b"".join(each.stdout.readline() for _ in range(5)) for each in listening]  # type: ignore[union-attr]
        code = program.stop()
        rests = [each.communicate(timeout=SECONDS_MAX)[0] for each in listening]
    changes, filtered, documents = (
        [frame for frame in frames_of(head + rest) if frame.data is not None]
        for head, rest in zip(heads, rests, strict=True)
    )

    assert 0 == code
    assert [49, 50] == [json.loads(str(each.data))["serial"] for each in changes]
    assert [7] == [json.loads(str(each.data))["serial"] for each in filtered]
    assert ["a", "b"] == [each.value["project"] for each in documents if each.event == "message"]
    assert [0, 0, 0] == [each.returncode for each in listening]
