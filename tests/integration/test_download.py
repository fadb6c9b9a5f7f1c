"""Another instance's files over HTTP: verified, gone on with, and refused where they are others."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from pypistream.data_dir import DataDir
from pypistream.jobs import bootstrapping
from pypistream.jobs.bootstrap_source import AddressSource, open_source
from pypistream.settings import Settings
from schemas.errors import (
    DumpCorrupt,
    NotPublished,
    UpstreamRefused,
    UpstreamUnavailable,
    UsageError,
)
from schemas.manifest import MANIFEST_FILE
from streams.memory_log import MemoryLog
from tests.support.bootstrap_world import FILES, Clock, Other, Own, files
from tests.support.raw_server import Asked, always, message, raw_server
from upstream import download
from upstream.download import TRIES_MAX, Downloads

BODY = bytes(range(256)) * 4_000
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Folder:
    """Serves a folder with ETag and Range; `before` may do something at each request."""

    root: Path
    before: Callable[[str], object] = bool
    hidden: str = ""
    cut_after: int | None = None
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        path = asked.target.removeprefix("/dumps/")
        self.before(path)
        place = self.root / path
        if not place.is_file() or (self.hidden and self.hidden in path):
            self.asked.append((path, 404))
            writer.write(message(b"", 404))
            return
        raw = place.read_bytes()
        etag = f'"{hashlib.sha256(raw).hexdigest()[:16]}"'
        if asked.headers.get("if-none-match") == etag:
            self.asked.append((path, 304))
            writer.write(message(b"", 304, etag=etag))
            return
        found = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("range", ""))
        start = int(found[1]) if found else 0
        status = 206 if found else 200
        self.asked.append((path, status))
        span = f"bytes {start}-{len(raw) - 1}/{len(raw)}" if found else "none"
        whole = message(raw[start:], status, etag=etag, content_range=span)
        if self.cut_after is not None and path.endswith(".zst"):
            writer.write(whole[: whole.index(b"\r\n\r\n") + 4 + self.cut_after])
            writer.close()
            return
        writer.write(whole)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def quick(url: str) -> Downloads:
    return Downloads(url, retry_seconds=0.01)


async def test_a_file_that_is_cut_off_again_and_again(tmp_path: Path) -> None:
    """Each request goes on where the one before was cut; the whole is verified."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.zst").write_bytes(BODY)
    served = Folder(tmp_path / "served", cut_after=150_000)
    async with raw_server(served) as server:
        downloads = quick(f"{server.url}/dumps")
        await downloads.large("a.zst", tmp_path / "a", len(BODY), SHA256)
        await downloads.large("a.zst", tmp_path / "a", len(BODY), SHA256)  # it is there
        await downloads.close()
    assert BODY == (tmp_path / "a").read_bytes()
    assert [200] + [206] * 6 == [status for _, status in served.asked]
    assert {"a", "served"} == names_in(tmp_path)


@pytest.mark.parametrize("served", [BODY[:-1], BODY + b"x", b"y" + BODY[1:], b""])
async def test_another_file_is_refused(tmp_path: Path, served: bytes) -> None:
    """Shorter, longer, or of the same length: and nothing of it is gone on with."""
    async with raw_server(always(message(served))) as server:
        downloads = quick(server.url)
        with pytest.raises(DumpCorrupt, match="not the file"):
            await downloads.large("a", tmp_path / "a", len(BODY), SHA256)
        await downloads.close()
    assert set() == names_in(tmp_path)


async def test_what_was_begun_of_another_file_is_begun_anew(tmp_path: Path) -> None:
    """A server that knows no ranges sends all of it; one that has less than we hold says so."""
    part = tmp_path / f"a.{SHA256[:16]}.part"
    part.write_bytes(b"x" * 1000)
    async with raw_server(always(message(BODY))) as server:
        downloads = quick(server.url)
        await downloads.large("a", tmp_path / "a", len(BODY), SHA256)
        await downloads.close()
    assert BODY == (tmp_path / "a").read_bytes()
    part.write_bytes(BODY[:1000])
    async with raw_server(always(message(b"", 416))) as server:
        downloads = quick(server.url)
        with pytest.raises(DumpCorrupt, match="not the file"):
            await downloads.large("b", tmp_path / "a.other", len(BODY), SHA256)
        await downloads.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (message(b"", 404), NotPublished),
        (message(b"", 403), UpstreamRefused),
        (message(b"", 503), UpstreamUnavailable),
        (message(b"x", 200, length=5), UpstreamUnavailable),
        (b"no HTTP\r\n\r\n", UpstreamUnavailable),
    ],
)
async def test_what_a_server_may_say(tmp_path: Path, answer: bytes, error: type[Exception]) -> None:
    """Each becomes an error of ours, after some tries where trying may help."""
    async with raw_server(always(answer, close=True)) as server:
        downloads = quick(server.url)
        with pytest.raises(error):
            await downloads.small("a", 1_000)
        small = len(server.asked)
        with pytest.raises(error):
            await downloads.large("a", tmp_path / "a", 5, "ab")
        large = len(server.asked) - small
        await downloads.close()
    # A byte that came is a beginning: the tries are counted from there.
    tries = TRIES_MAX if error is UpstreamUnavailable else 1
    assert (tries, tries + (b"length: 5" in answer)) == (small, large)


async def test_a_server_without_ranges_that_breaks_off_is_given_up(tmp_path: Path) -> None:
    """Longer, shorter, longer: that is no progress, however often it is more than just before."""
    count = 0

    async def answer(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        writer.write(message(BODY[: 20 if count % 2 else 10], 200, length=len(BODY)))
        writer.close()

    async with raw_server(answer) as server:
        downloads = quick(server.url)
        async with asyncio.timeout(60):
            with pytest.raises(UpstreamUnavailable):
                await downloads.large("a", tmp_path / "a", len(BODY), SHA256)
        await downloads.close()
    assert TRIES_MAX + 1 == count


async def test_a_download_that_is_cancelled_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several files at once the first that fails ends the others, wherever they are."""
    opened: list[IO[Any]] = []
    opening = Path.open

    def spied(path: Path, *arguments: Any, **more: Any) -> IO[Any]:
        file: IO[Any] = opening(path, *arguments, **more)
        if path.suffix == ".part":
            opened.append(file)
            loop.call_soon_threadsafe(task.cancel)
        return file

    monkeypatch.setattr(Path, "open", spied)
    loop = asyncio.get_running_loop()
    async with raw_server(always(message(BODY))) as server:
        downloads = quick(server.url)
        task = asyncio.create_task(downloads.large("a", tmp_path / "a", len(BODY), SHA256))
        with pytest.raises(asyncio.CancelledError):
            await task
        await downloads.close()
    assert [True] == [file.closed for file in opened]


async def test_small_files_are_bounded_and_have_etags() -> None:
    """More bytes than allowed are not read on; an unchanged file is not sent."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.headers.get("if-none-match") == '"1"':
            writer.write(message(b"", 304))
        else:
            writer.write(message(b"x" * 100, 200, etag='"1"'))

    async with raw_server(answer) as server:
        downloads = quick(server.url)
        found = await downloads.small("a", 100)
        assert found is not None
        assert (b"x" * 100, '"1"') == found
        assert None is await downloads.small("a", 100, found.etag)
        with pytest.raises(DumpCorrupt, match="over 99 bytes"):
            await downloads.small("a", 99)
        await downloads.close()


async def test_a_small_file_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower that waited for it would follow nothing any more, and say nothing."""
    monkeypatch.setattr(download, "SMALL_SECONDS_MAX", 0.1)

    async def answer(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(message(b"x", 200, length=100))
        await writer.drain()
        await asyncio.sleep(60)

    async with raw_server(answer) as server:
        downloads = quick(server.url)
        async with asyncio.timeout(60):
            with pytest.raises(UpstreamUnavailable, match="not there after"):
                await downloads.small("a", 100)
        await downloads.close()


@pytest.mark.parametrize("hidden", ["", ".versions"])
async def test_a_follower_over_http(tmp_path: Path, hidden: str) -> None:
    """Dump and deltas as from the folder, whether or not the server shows `.versions`."""
    clock = Clock()
    other, own = await _both(tmp_path, clock)
    served = Folder(other.dumps, hidden=hidden)
    async with raw_server(served) as server:
        follower = own.bootstrap(other.dumps)
        url, work = f"{server.url}/dumps", own.root / "state" / "bootstrap"
        follower.source = AddressSource(url, quick(url), work)
        await follower.load(replace_all=False)
        assert files(other.dumps) == await own.dumped()
        assert not work.exists()
        await other.remove("p1")
        await other.publish()
        await follower.look()
        await follower.look()
        assert files(other.dumps) == await own.dumped("again")
        served.asked.clear()
        await follower.look()
        assert [304, 304] == [status for _, status in served.asked]
        await follower.loader.close()
        await follower.source.close()
    other.sink.close()


@pytest.mark.parametrize("status", [404, 403])
async def test_nothing_is_made_for_a_source_without_a_dump(tmp_path: Path, status: int) -> None:
    """The address may be misspelt: the right one finds no log that was begun."""
    data = DataDir(tmp_path / "data")
    async with raw_server(always(message(b"", status))) as server:
        how = bootstrapping.How(server.url, replace=False, follow=True, journal=True)
        with pytest.raises((NotPublished, UpstreamRefused)):
            await bootstrapping._bootstrap(Settings(data=data.root), data, how)

    assert not data.root.exists()


async def test_a_new_dump_while_the_old_one_is_fetched(tmp_path: Path) -> None:
    """Files of two dumps are told by their sha256: the newer one is fetched then."""
    clock = Clock()
    other, _ = await _both(tmp_path, clock)
    first = {name: (other.dumps / name).read_bytes() for name in (*FILES, MANIFEST_FILE)}
    await other.remove("p1")
    await other.publish()
    old = tmp_path / "old"
    old.mkdir()
    for name in FILES:
        (old / name).write_bytes((other.dumps / name).read_bytes())
    (old / MANIFEST_FILE).write_bytes(first[MANIFEST_FILE])
    looks = 0

    def second_look(path: str) -> None:
        nonlocal looks
        looks += path == MANIFEST_FILE
        if looks == 2:
            (old / MANIFEST_FILE).write_bytes((other.dumps / MANIFEST_FILE).read_bytes())

    begun = tmp_path / "work" / "dump" / f"releases.jsonl.zst.{'0' * 16}.part"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"of a dump before both")
    async with raw_server(Folder(old, before=second_look)) as server:
        url = f"{server.url}/dumps"
        source = AddressSource(url, quick(url), tmp_path / "work")
        dump = await source.dump()
        await source.close()
    due = {"packages.jsonl.zst", "releases.jsonl.zst", "state.jsonl.zst", MANIFEST_FILE}
    assert due == names_in(dump.directory)
    dump_files = {name: (dump.directory / name).read_bytes() for name in due}
    assert dump_files == {name: (other.dumps / name).read_bytes() for name in due}
    assert 2 == looks
    other.sink.close()


async def _both(tmp_path: Path, clock: Clock) -> tuple[Other, Own]:
    other = Other(tmp_path / "other", clock=clock)
    await other.found()
    for number in range(5):
        await other.publish_project(f"p{number}")
    await other.publish()
    return other, Own(tmp_path / "own", MemoryLog(1, now_ms=clock), clock)


def test_places_that_are_none(tmp_path: Path) -> None:
    """A path without a dump is a mistake of the caller; with one, three ways lead to it."""
    with pytest.raises(UsageError, match="no dump at"):
        open_source(str(tmp_path), tmp_path)
    (tmp_path / "dumps").mkdir()
    (tmp_path / "dumps" / MANIFEST_FILE).touch()
    for place in (tmp_path, tmp_path / "dumps", tmp_path / "dumps" / MANIFEST_FILE):
        assert str(tmp_path / "dumps") == open_source(str(place), tmp_path).place
    for url in ("http://127.0.0.1:9/dumps", "http://127.0.0.1:9/dumps/manifest.json"):
        assert "http://127.0.0.1:9/dumps" == open_source(url, tmp_path).place
