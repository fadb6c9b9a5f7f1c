"""`pypistream serve` as a process: streams with curl, and resumed while it is killed."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import httpx

from streams.sqlite_log import SqliteLog
from tests.support.changes_world import Journal, row
from tests.support.process import Program, started
from tests.support.served import answers, free_port
from tests.support.sse import frames_of
from tests.support.streams_world import document, publish

ROWS, PAGE = 8_000, 1_000
SECONDS_MAX = 60.0


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


def read_until(url: str, last: int | None, end: int, program: Program | None) -> list[int]:
    """Serials after `last`, up to `end`; `program` is killed when the first thousand has come."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    serials: list[int] = []
    rest = b""
    with (
        httpx.Client(timeout=SECONDS_MAX) as client,
        client.stream("GET", f"{url}/v1/stream/changes?since=0", headers=headers) as stream,
    ):
        try:
            for piece in stream.iter_raw():
                whole, found, rest = (rest + piece).rpartition(b"\n\n")
                serials += [f.value["serial"] for f in frames_of(whole + found) if f.data]
                if program is not None and len(serials) > PAGE:
                    program.kill()
                    program = None
                if serials and serials[-1] == end:
                    break
        except httpx.TransportError:
            pass  # it was killed: what came is what a client has
    return serials


def test_a_stream_resumes_over_a_server_that_is_killed(tmp_path: Path) -> None:
    """`kill -9` while it sends, again and again: together the pieces are every row, once."""
    data, url = tmp_path / "data", f"http://127.0.0.1:{free_port()}"
    asyncio.run(written(data, 1, ROWS))
    serve = ("serve", "--data", str(data), "--http", url.removeprefix("http://"))
    found: list[int] = []
    for life in range(3):
        with started(*serve, cwd=tmp_path) as program:
            program.until(lambda: answers(url), SECONDS_MAX, "answer")
            kill = None if life == 2 else program
            found += read_until(url, found[-1] if found else None, ROWS, kill)
    assert found == list(range(1, ROWS + 1))


def test_streams_with_curl(tmp_path: Path) -> None:
    """The commands of the documentation, and a clean stop while somebody listens."""
    data, url = tmp_path / "data", f"http://127.0.0.1:{free_port()}"
    asyncio.run(written(data, 1, 50))
    serve = ("serve", "--data", str(data), "--http", url.removeprefix("http://"))

    def curl(path: str, *more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["curl", "-sN", *more, f"{url}{path}"],
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
